# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The host name of a qube."""

from __future__ import annotations

from typing import Any, Dict, Mapping

from .._machine import Machine
from .variables import TEXT, Variable

VARIABLES = {"name": Variable(TEXT, ("name",), "name")}


def values(config: Mapping[str, Any]) -> Dict[str, Any]:
    """The role's variables, from the ``config`` of keys_info."""
    return {"name": config.get("name", "")}


def names(variables: Mapping[str, Any], config: Mapping[str, Any], machine: Machine) -> Dict[str, Any]:
    """``hosts``: what ``/etc/hosts`` is to be, which the machine is asked for; empty where there is none, or no name."""
    return {"hosts": variables.get("hosts", "")}
