# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The files of the time zone."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping

from .base import File, Machine

# To the stock agent this name protects all of the zone. Who protects /etc/localtime means it too, which the caller sees to.
_PROTECTED_BY = "/etc/timezone"


def wanted(config: Mapping[str, Any]) -> Dict[str, Any]:
    """The role's variables, from the ``config`` of keys_info."""
    return {"zone": config.get("vm_config", {}).get("timezone", config.get("timezone", ""))}


def files(values: Mapping[str, Any], family: str, machine: Machine) -> List[File]:
    """What the role writes on such a machine."""
    zone = values["zone"]
    if not zone:
        return []
    return [
        File("/etc/localtime", link="../usr/share/zoneinfo/" + zone, protected_by=_PROTECTED_BY, agent=True),
        File("/etc/timezone", timezone(zone), protected_by=_PROTECTED_BY, agent=True),
    ]


def timezone(zone: str) -> str:
    """What Debian keeps beside the link."""
    return zone + "\n"


TEXTS = {"timezone": timezone}
