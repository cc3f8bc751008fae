# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The resolvers of a qube."""

from __future__ import annotations

from typing import Any, Dict, Mapping

from .._machine import Machine
from .variables import FLAG, TEXTS, Variable

VARIABLES = {
    "servers": Variable(TEXTS, ("qubes-primary-dns", "qubes-secondary-dns", "qubes-gateway"), "qubes-primary-dns"),
    "disabled": Variable(FLAG, ("qubes-service/disable-dns-server",)),
    "network_manager": Variable(FLAG, ("qubes-service/network-manager",)),
}


def values(config: Mapping[str, Any]) -> Dict[str, Any]:
    """The role's variables, from the ``config`` of keys_info."""
    services = config.get("services", {})
    return {
        "servers": config.get("network", {}).get("dns", []),
        "disabled": services.get("disable-dns-server", False),
        # On in a NetVM, where no key says otherwise.
        "network_manager": services.get("network-manager", config.get("vm_type") == "NetVM"),
    }


def names(variables: Mapping[str, Any], config: Mapping[str, Any], machine: Machine) -> Dict[str, Any]:
    """``asked``: the servers that are asked. ``service``: who is told of them, which depends on the service that handles DNS there."""
    manages = variables["network_manager"] and machine.network_manager
    return {"asked": [] if variables["disabled"] else variables["servers"],
            "service": "NetworkManager" if manages else "systemd-resolved" if machine.resolved else ""}
