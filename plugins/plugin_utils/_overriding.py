# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""Templates of a user, in place of those of the roles."""

from __future__ import annotations

import os
from typing import Any, Dict, Mapping

from ansible import constants

from ..module_utils._errors import Refused
from ..module_utils._text import show
from ._rendering import STOCK, Table, Templates, Text
from ._tables import folder_of, rows, stock
from ._templating import Templating


class Own:
    """The templates that a user has for one role, by ROLE/NAME."""

    def __init__(self, action: Any, role: str, variables: Mapping[str, Any]) -> None:
        self._role, self._templating = role, Templating(action)
        self._folder = self._of_play(action)
        self._paths: Dict[str, str] = {}
        self.templates: Dict[str, str] = {}
        for name in [row["src"] for row in rows(role) if "src" in row]:
            self._take("%s/%s" % (role, name))
        for entry in variables["files"] if role == "vm_config" else []:
            if "template" in entry:
                self._take_named(entry["template"])
        self._take_what_they_reach()

    @staticmethod
    def _of_play(action: Any) -> str:
        folder = action.text("vmconfig_templates")
        if not folder:
            return ""
        # Beside the playbook, or, as that may be one of this collection, where the user is.
        paths = list(dict.fromkeys([action._loader.path_dwim(folder), os.path.abspath(os.path.expanduser(folder))]))
        path = next((each for each in paths if os.path.isdir(each)), None)
        if path is None:
            raise Refused("vmconfig_templates is %s; expected a directory on the controller, with ROLE/NAME.j2 in it. There is no %s" % (
                show(folder), " and no ".join(map(show, paths))))
        return path

    def _take(self, name: str) -> bool:
        path = os.path.join(self._folder, name)
        if not self._folder or ".." in name.split("/") or not os.path.isfile(path):
            return False
        self._put(name, path)
        return True

    def _take_named(self, template: str) -> None:
        name = "%s/%s" % (self._role, template)
        if not self._take(name) and name not in stock():
            self._put(name, self._templating.found(template))

    def _put(self, name: str, path: str) -> None:
        self._paths[name] = path
        self.templates[name] = self._templating.source(path)

    def _take_what_they_reach(self) -> None:
        waiting = list(self.templates)
        while waiting:
            for other in Templates(stock(), self.templates).referenced(waiting.pop()):
                if other and not other.startswith(STOCK) and other not in self.templates and self._take(other):
                    waiting.append(other)

    def text(self, templates: Templates) -> Text:
        """Renders by Jinja alone; by Ansible a template of the user that needs it."""
        def text(name: str, found: Mapping[str, Any]) -> str:
            if name not in self.templates or not templates.objections(name, set(found)):
                return templates.text(name, found)
            return self._templating.text(name, self._paths[name], None, _readable(found), [self._folder, self._folder_of_stock()])
        return text

    @staticmethod
    def _folder_of_stock() -> str:
        """Where Ansible finds the roles' own templates by the names that they have here."""
        folder = os.path.join(constants.DEFAULT_LOCAL_TMP, "templates")
        role_folders = os.path.join(folder, STOCK)
        os.makedirs(role_folders, 0o700, exist_ok=True)
        for role in {name.partition("/")[0] for name in stock()}:
            if not os.path.lexists(os.path.join(role_folders, role)):
                os.symlink(folder_of(role), os.path.join(role_folders, role))
        return folder

    def refuse_what_a_start_has_not(self, table: Table, templates: Templates, names: Mapping[str, Any]) -> None:
        """At a start there is Jinja alone, so what needs Ansible is refused when the play runs."""
        for name, offered in table.used(names):
            objections = templates.objections(name, offered) if name in self.templates else []
            if objections:
                raise Refused("%s: at a start there are only Jinja's own filters and tests, and the names that the README of the role %s lists. Take it "
                              "out, or set vmconfig_apply to now" % ("; ".join(map(str, objections)), self._role))


def _readable(names: Mapping[str, Any]) -> Dict[str, Any]:
    """The same, of types that Ansible's templates may look into."""
    return {**names, "machine": names["machine"]._asdict()}
