# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The files that a user declares, each the text of one key."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping

from .base import File, Machine

MARK = "@qubes-vmconfig-value@"
"""Stands for the value where a template was rendered before there was one."""


def wanted(config: Mapping[str, Any]) -> Dict[str, Any]:
    """The role's variables, from the ``config`` of keys_info."""
    return {"files": []}


def files(values: Mapping[str, Any], family: str, machine: Machine) -> List[File]:
    """What the role writes on such a machine.

    Each entry has what the key holds as ``value``, if it is there, and where it has a template as ``form`` what that makes of ``MARK``.
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
