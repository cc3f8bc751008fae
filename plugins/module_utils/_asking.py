# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""What only the machine itself can say of a role's values: whether it has a zone, what a keyboard comes to there, and what its
``/etc/hosts`` says.

A play asks through a module, a start asks the same function.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional

from . import _hosts, _zoneinfo
from ._text import cut, escape, show
from ._xkb.keyboard import asked as keyboard_asked


class Question(NamedTuple):
    """A module with its options, and what that module calls: it returns the module's result."""

    module: str
    options: Dict[str, Any]
    ask: Callable[[], Mapping[str, Any]]


class Answer(NamedTuple):
    """What the machine adds to the variables, why they must not be used, and what to know, a sentence each."""

    names: Dict[str, Any]
    refusals: List[str]
    notes: List[str]


def question(role: str, variables: Mapping[str, Any], root: str, family: str) -> Optional[Question]:
    """What is to be asked below ``root``; None where the role need not ask."""
    if role == "timezone" and variables["zone"]:
        options = {"zone": variables["zone"], "root": root, "family": family}
        return Question("zone_info", options, lambda: {"objection": _zoneinfo.objection(root, variables["zone"], family)})
    if role == "xkb" and (variables["layout"] or variables["keymap"]):
        options = {**{name: variables[name] for name in ("model", "layout", "variant", "options", "keymap")}, "destdir": root, "family": family}
        return Question("xkb_keymap", options, lambda: keyboard_asked(variables, root, family))
    if role == "hostname" and variables["name"]:
        options = {"name": variables["name"], "root": root, "family": family}
        return Question("hosts_info", options, lambda: {"text": _hosts.hosts(root, variables["name"], family)})
    return None


def answer(role: str, variables: Mapping[str, Any], result: Mapping[str, Any]) -> Answer:
    """What the result means."""
    if role == "hostname":
        return Answer({"hosts": result["text"]}, [], [])
    reason = result["objection"] if role == "timezone" else result["refusal"]
    value = variables["zone"] if role == "timezone" else variables["keymap"] or "+".join([variables[name] for name in ("layout", "variant", "options")])
    refusals = ["the value %s is refused: %s" % (show(value), cut(escape(reason)))] if reason else []
    names = {} if role == "timezone" else {name: result[name] for name in ("model", "layout", "variant", "options", "keymap", "console")}
    return Answer(names, refusals, [] if role == "timezone" else list(result["notes"]))
