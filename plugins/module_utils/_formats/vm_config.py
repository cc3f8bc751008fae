# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The files that a user declares, each the text of one key."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Mapping

from .base import File, Machine
from .variables import ENTRIES, Variable, shown

MARK = "@qubes-vmconfig-value@"
"""Stands for the value where a template was rendered before there was one."""

VARIABLES = {"files": Variable(ENTRIES)}

_EXPECTED = {
    "name": (r"[A-Za-z][A-Za-z0-9_.-]{0,51}", "a name of at most 52 letters, digits and _ . - that starts with a letter"),
    "dest": (r"(/(?!\.{1,2}(/|$))[^/\x00-\x1f]+)+", "an absolute path without . and .. in it"),
    "mode": (r"[0-7]{3,4}", 'octal digits in quotes, such as "0640"'),
    "owner": (r"[A-Za-z0-9_][A-Za-z0-9_.-]*", "a name"),
    "group": (r"[A-Za-z0-9_][A-Za-z0-9_.-]*", "a name"),
    "absent": (r"keep|remove", "keep or remove"),
}


def wanted(config: Mapping[str, Any]) -> Dict[str, Any]:
    """The role's variables, from the ``config`` of keys_info."""
    return {"files": []}


def keys(values: Mapping[str, Any]) -> List[str]:
    """The keys that the files are made of."""
    return ["vm-config/" + entry["name"] for entry in values["files"]]


def complete(values: Mapping[str, Any], config: Mapping[str, Any]) -> Dict[str, Any]:
    """The same, with what each key holds as ``value``, where it is there."""
    texts = config.get("vm_config", {})
    return {"files": [{**entry, **({"value": texts[entry["name"]]} if entry["name"] in texts else {})} for entry in values["files"]]}


def problems(values: Mapping[str, Any]) -> str:
    """All that is wrong with the variables, a line each."""
    found = ["the %s %s is refused: expected %s" % (name, shown(entry[name]), expected)
             for entry in values["files"] for name, (pattern, expected) in _EXPECTED.items() if name in entry and not re.fullmatch(pattern, entry[name])]
    found += ["the template of %s is refused: it does not have value as it is, so it cannot be filled in at each start" % shown(entry["dest"])
              for entry in values["files"] if MARK not in entry.get("form", MARK)]
    if len({entry["dest"] for entry in values["files"]}) != len(values["files"]):
        found.append("two entries have the same dest")
    return "".join(["vm_config_files: %s\n" % problem for problem in found])


def files(values: Mapping[str, Any], family: str, machine: Machine) -> List[File]:
    """What the role writes on such a machine.

    An entry with a template has as ``form`` what that makes of ``MARK``.
    """
    found = []
    for entry in values["files"]:
        value = entry.get("value")
        if value is None and entry.get("absent", "keep") != "remove":
            continue
        found.append(File(entry["dest"], None if value is None else _filled(entry, value), mode=entry.get("mode", "0644"), protected_by=entry["dest"],
                          owner=entry.get("owner", ""), group=entry.get("group", ""), absent=value is None))
    return found


def _filled(entry: Mapping[str, Any], value: str) -> str:
    return entry["form"].replace(MARK, value) if "form" in entry else text(value)


def text(value: str) -> str:
    """The value as lines: the last one ends too."""
    return value if not value or value.endswith("\n") else value + "\n"


TEXTS = {"vm-config": text}
