# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The time zone of a qube."""

from __future__ import annotations

from typing import Any, Dict, Mapping

from .variables import TEXT, Variable

VARIABLES = {"zone": Variable(TEXT, ("vm-config/timezone", "qubes-timezone"), "qubes-timezone")}


def values(config: Mapping[str, Any]) -> Dict[str, Any]:
    """The role's variables, from the ``config`` of keys_info."""
    return {"zone": config.get("vm_config", {}).get("timezone", config.get("timezone", ""))}
