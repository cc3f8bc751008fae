# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""What one role has to do with what renders at each start."""

from __future__ import annotations

import os
from typing import Any, Container, Dict, List, Mapping, Optional, Set

from ..module_utils._errors import Refused
from ..module_utils._filespec import File
from ..module_utils._machine import is_volatile
from ..module_utils._text import show
from ..module_utils._values.every import ROLES
from . import _starting
from ._bundle import renderer
from ._tables import ROOT, rows

_ABSENT = "absent"


class EachStart:
    """Which roles are rendered at each start from now on; ``mine`` is the one that is run, if any."""

    def __init__(self, action: Any, mine: Optional[str], apply: str) -> None:
        self._action, self._mine = action, mine
        self._now = apply != "boot"
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

    def files(self, mine: Any, templates: Mapping[str, str], written: Container[str]) -> List[File]:
        """What is to be there for it, beside the files of the role that are ``written`` now."""
        if not self._touched:
            return []
        if not self._staying:
            return _starting.nothing(self._hook) + self._left_behind(written)
        parts: Dict[str, Mapping[str, Any]] = {name: self._said[name] for name in self._staying if name in self._said}
        if self.goes_on and self._mine:
            parts[self._mine] = self._part(mine, templates)._asdict()
        older = _starting.below(self._hook) + "/__main__.py" in self._action.seen.place["states"]
        return _starting.files(self._hook, parts, renderer(), _starter(self._hook), older) + self._left_behind(written)

    def _part(self, mine: Any, templates: Mapping[str, str]) -> _starting.Part:
        action = self._action
        play = action.play_name() if self._mine in action.roles_of_play() else None
        return _starting.Part(action.seen.machine.family, action.take_over, mine.given, action.managed, templates, play)

    def _left_behind(self, written: Container[str]) -> List[File]:
        """What was installed with the renderer for a role that is no longer rendered at a start: it goes, unless the role's other files stand."""
        states, files = self._action.seen.place["states"], []
        for name in sorted(self._leaving):
            with_it = [row["dest"] for row in rows(name) if row.get("with_start")]
            stands = any(row["dest"] in states for row in rows(name) if row["dest"] not in with_it)
            if not stands or (name == self._mine and self._now):
                files += [File(dest, absent=True) for dest in with_it if dest not in written]
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
