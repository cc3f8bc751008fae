# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""What one role has to do with what renders at each start."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Mapping, Optional, Set

from ..module_utils._errors import Refused
from ..module_utils._filespec import File
from ..module_utils._machine import is_volatile
from ..module_utils._role import names, role
from ..module_utils._text import show
from ..module_utils._values.every import ROLES
from . import _starting
from ._bundle import renderer
from ._rendering import Table, Templates
from ._tables import ROOT, rows, stock

_ABSENT = "absent"


class EachStart:
    """Which roles are rendered at each start from now on; ``mine`` is the one that is run, if any."""

    def __init__(self, action: Any, mine: Optional[str], apply: str) -> None:
        self._action, self._mine = action, mine
        seen = action.seen
        volatile = is_volatile(seen.found["config"])
        # In a qube that loses /etc, a hook of the agent in what it keeps.
        self._hook = seen.machine.agent and volatile
        # What a qube that loses /usr has there is its template's.
        own = bool(action.destdir) or not volatile or self._hook
        self._said = _said(seen.place, self._hook)
        boot = _named(action.variable("vmconfig_boot"))
        starts = apply in ("boot", "both") and boot != {_ABSENT}
        wanted = set(self._said) | ({mine} if mine and starts else set())
        leaving = self._out_of_the_play() | ({mine} if mine and not starts and apply != "always" else set())
        if boot is not None:
            leaving |= wanted - boot
        self._staying = wanted - leaving
        self._leaving = set(self._said) & leaving
        self._touched = own and (starts or bool(self._leaving) or (not self._staying and self._is_installed()))
        self.goes_on = mine in self._staying
        self.by_unit = self.goes_on and not self._hook and not seen.machine.leaves

    def _is_installed(self) -> bool:
        return any(path in self._action.seen.place["states"] for path in _starting.installed_at(self._hook))

    def _out_of_the_play(self) -> Set[str]:
        """Those that this play had in its ``roles`` before, and has no longer."""
        here = self._action.roles_of_play() | set(self._action.noted()) | {self._mine or ""}
        return {name for name, part in self._said.items() if part["play"] == self._action.play_name() and name not in here}

    def files(self, mine: Any, templates: Mapping[str, str]) -> List[File]:
        """What is to be there for it."""
        if not self._touched:
            return []
        if not self._staying:
            return _starting.nothing(self._hook) + self._left_behind()
        parts: Dict[str, Mapping[str, Any]] = {name: self._said[name] for name in self._staying if name in self._said}
        if self.goes_on and self._mine:
            parts[self._mine] = self._part(mine, templates)._asdict()
        older = _starting.below(self._hook) + "/__main__.py" in self._action.seen.place["states"]
        return _starting.files(self._hook, parts, renderer(), _starter(self._hook), older) + self._left_behind()

    def _part(self, mine: Any, templates: Mapping[str, str]) -> _starting.Part:
        action = self._action
        play = action.play_name() if self._mine in action.roles_of_play() else None
        return _starting.Part(action.seen.machine.family, action.take_over, mine.given, action.managed, templates, play)

    def _left_behind(self) -> List[File]:
        """What was installed with the renderer for a role that is no longer rendered at a start, and that nothing else needs."""
        found = self._action.seen.found
        files = []
        for name in sorted(self._leaving):
            part = self._said[name]
            then = role(name, found, part["variables"])
            if then.refusals or not any(row.get("with_start") for row in rows(name)):
                continue
            table = Table(name, rows(name), Templates(stock(), part["templates"]))
            machine = self._action.seen.machine
            with_it, without = [
                {file.dest for file in table.files(
                    names(name, then.variables, found["config"], machine._replace(starts=starts), part["managed"]), with_start=True)}
                for starts in (True, False)]
            files += [File(dest, absent=True) for dest in sorted(with_it - without)]
        return files


def _said(place: Mapping[str, Any], hook: bool) -> Dict[str, Dict[str, Any]]:
    """What is installed says of each role; nothing where it cannot be read, for the play says it anew."""
    try:
        return _starting.parsed(place["texts"].get(_starting.said_at(hook), ""))
    except ValueError:
        return {}


def _named(value: Any) -> Optional[Set[str]]:
    """What ``vmconfig_boot`` names, None where it is not set."""
    if value in (None, ""):
        return None
    named = [each.strip() for each in value.split(",") if each.strip()] if isinstance(value, str) else value
    if not isinstance(named, list) or not all(isinstance(each, str) for each in named):
        raise Refused("vmconfig_boot is %s; expected absent, or those of the roles %s that are to be rendered at each start" % (
            show(value), ", ".join(sorted(ROLES))))
    roles = {each[len("qubes.vmconfig."):] if each.startswith("qubes.vmconfig.") else each for each in named}
    if isinstance(value, str) and roles != {_ABSENT} and not roles <= set(ROLES):
        raise Refused("vmconfig_boot is %s; expected absent, or those of the roles %s that are to be rendered at each start" % (
            show(value), ", ".join(sorted(ROLES))))
    return roles


def _starter(hook: bool) -> str:
    with open(os.path.join(ROOT, "roles", "boot", "files", "qubes-vmconfig." + ("rc" if hook else "service")), encoding="utf-8") as stream:
        return stream.read()
