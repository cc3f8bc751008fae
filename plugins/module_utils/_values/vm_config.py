# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The files that a user declares, each the text of one key."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Mapping

from .._machine import Machine
from .variables import ENTRIES, Variable, shown

VARIABLES = {"files": Variable(ENTRIES)}

_EXPECTED = {
    "name": (r"[A-Za-z][A-Za-z0-9_.-]{0,51}", "a name of at most 52 letters, digits and _ . - that starts with a letter"),
    "dest": (r"(/(?!\.{1,2}(/|$))[^/\x00-\x1f]+)+", "an absolute path without . and .. in it"),
    "mode": (r"[0-7]{3,4}", 'octal digits in quotes, such as "0640"'),
    "owner": (r"[A-Za-z0-9_][A-Za-z0-9_.-]*", "a name"),
    "group": (r"[A-Za-z0-9_][A-Za-z0-9_.-]*", "a name"),
    "absent": (r"keep|remove", "keep or remove"),
}
_OTHERWISE = {"template": "file.j2", "mode": "0644", "owner": "", "group": "", "absent": "keep"}


def values(config: Mapping[str, Any]) -> Dict[str, Any]:
    """The role's variables, from the ``config`` of keys_info."""
    return {"files": []}


def keys(variables: Mapping[str, Any]) -> List[str]:
    """The keys that the files are made of."""
    return ["vm-config/" + entry["name"] for entry in variables["files"]]


def problems(variables: Mapping[str, Any]) -> List[str]:
    """All that is wrong with the variables, a sentence each."""
    found = ["the %s %s is refused: expected %s" % (name, shown(entry[name]), expected)
             for entry in variables["files"] for name, (pattern, expected) in _EXPECTED.items() if name in entry and not re.fullmatch(pattern, entry[name])]
    if len({entry["dest"] for entry in variables["files"]}) != len(variables["files"]):
        found.append("two entries have the same dest")
    return ["vm_config_files: %s" % problem for problem in found]


def names(variables: Mapping[str, Any], config: Mapping[str, Any], machine: Machine) -> Dict[str, Any]:
    """``entries``: each of ``files`` whole, with the text of its key as ``value``, empty where the key is ``missing``."""
    texts = config.get("vm_config", {})
    return {"entries": [{**_OTHERWISE, **entry, "value": texts.get(entry["name"], ""), "missing": entry["name"] not in texts}
                        for entry in variables["files"]]}
