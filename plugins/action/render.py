# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any, Dict, Optional, Sequence

from ansible_collections.qubes.vmconfig.plugins.module_utils._errors import Refused
from ansible_collections.qubes.vmconfig.plugins.module_utils._filespec import File
from ansible_collections.qubes.vmconfig.plugins.module_utils._text import show
from ansible_collections.qubes.vmconfig.plugins.module_utils._values.every import ROLES
from ansible_collections.qubes.vmconfig.plugins.plugin_utils._comparing import differs, entry, expected, is_protected
from ansible_collections.qubes.vmconfig.plugins.plugin_utils._each_start import EachStart
from ansible_collections.qubes.vmconfig.plugins.plugin_utils._overriding import Own
from ansible_collections.qubes.vmconfig.plugins.plugin_utils._rendering import Table, Templates
from ansible_collections.qubes.vmconfig.plugins.plugin_utils._role_action import RoleAction
from ansible_collections.qubes.vmconfig.plugins.plugin_utils._tables import rows, stock
from ansible_collections.qubes.vmconfig.plugins.plugin_utils._templating import Templating

APPLIES = ("now", "boot", "both")
# What the target needs to know of the qube.
OF_CONFIG = ("type", "vm_type", "persistence", "updateable")


class ActionModule(RoleAction):
    """Renders the templates, and has the module write what differs."""

    def work(self) -> Dict[str, Any]:
        name, given = self._task.args.get("role"), self._task.args.get("files") or []
        if name is not None and (not isinstance(name, str) or name not in ROLES):
            raise Refused("there is no role %s; the roles are %s" % (show(name), ", ".join(sorted(ROLES))))
        if not isinstance(given, list):
            raise Refused("render: files has to be a list")
        apply = self._apply()
        self.begin(None if name else self._config())
        if apply in ("now", "both"):
            self.refuse_in_a_template()
        # Files alone are none of what renders at each start.
        start = EachStart(self, name, apply) if name or not given else None
        mine = self.role(name) if name else None
        files, own = self._of_role(name, mine, start, apply) if name else ([], None)
        rendered = [] if apply == "boot" else [Templating(self).rendered(each) for each in given]
        of_start = start.files(mine, own and own.templates, [file.dest for file in files]) if start else []
        result = self._settled(files, rendered, of_start)
        if name:
            self.note(name, result["changed_files"], result["left_to_agent"])
            result["names"] = {each: value for each, value in mine.names.items() if each not in ("config", "machine", "ansible_managed")}
        more = (mine.notes if mine else []) + ([] if apply == "boot" or not name else self.remarks(apply))
        return {**result, "changed": self.counted(result["changed"]), "warnings": [*result.get("warnings", []), *more]}

    def _config(self) -> Optional[Dict[str, Any]]:
        """What the task itself says of the qube."""
        config = self._task.args.get("config")
        if config is not None and not isinstance(config, dict):
            raise Refused("render: config is %s; expected a dictionary" % show(config))
        return config

    def _apply(self) -> str:
        apply = self._task.args.get("apply")
        if apply == "always":
            return apply
        apply = apply or self.text("vmconfig_apply", "now")
        if apply not in APPLIES:
            raise Refused("vmconfig_apply is %s; expected one of %s" % (show(apply), ", ".join(APPLIES)))
        return apply

    def _of_role(self, name: str, mine: Any, start: EachStart, apply: str) -> Any:
        """The role's files that are to be there now, and the templates of the user."""
        own = Own(self, name, mine.variables)
        templates = Templates(stock(), own.templates)
        names = {**mine.names, "machine": self.seen.machine._replace(starts=start.by_unit)}
        table = Table(name, rows(name), templates, own.text(templates))
        if start.goes_on:
            own.refuse_what_a_start_has_not(table, templates, names)
        # Where a hook renders, systemd has looked for units long before.
        return table.files(names, with_start=apply == "boot") if apply != "boot" or start.by_unit else [], own

    def _settled(self, files: Sequence[File], given: Sequence[Any], of_start: Sequence[File]) -> Dict[str, Any]:
        """What became of the files, of which the host is reached only for those that differ."""
        every, place = [*files, *of_start], self.seen.place
        dests = [file.dest for file in every]
        twice = sorted({dest for dest in dests if dests.count(dest) > 1})
        if twice:
            raise Refused("%s: two of the files have this dest" % ", ".join(map(show, twice)))
        if not given and not any(differs(file, place, self.take_over) for file in every):
            return {"changed": False, "changed_files": [], "left_to_agent": [], "protected": [file.dest for file in files if is_protected(file, place)]}
        config = {name: value for name, value in self.seen.found["config"].items() if name in OF_CONFIG}
        result = self.execute("render", files=[*map(entry, every), *given], destdir=self.destdir, take_over=self.take_over, config=config)
        # The texts of all files, which nobody asked to see.
        result.pop("invocation", None)
        # The next role installs nothing for each start that this one would have installed.
        self._remember(every if not self._task.check_mode else of_start, result["changed_files"])
        return result

    def _remember(self, files: Sequence[File], changed: Sequence[str]) -> None:
        place, made = self.seen.place, {file.dest: file for file in files if file.dest in changed}
        unknown = {dest for dest in changed if dest not in made} if not self._task.check_mode else set()
        if made or unknown:
            states = {**place["states"], **{dest: expected(file) for dest, file in made.items()}}
            texts = {**place["texts"], **{dest: file.text or "" for dest, file in made.items() if dest.endswith(".json")}}
            self.remember({"states": {path: state for path, state in states.items() if state["kind"]}, "texts": texts,
                           "unknown": sorted(unknown.union(place["unknown"]) - set(made))})
