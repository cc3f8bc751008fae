# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The files of the resolvers."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Sequence

from .base import File, Machine


def wanted(config: Mapping[str, Any]) -> Dict[str, Any]:
    """The role's variables, from the ``config`` of keys_info."""
    return {
        "servers": config.get("network", {}).get("dns", []),
        "disabled": config.get("services", {}).get("disable-dns-server", False),
    }


def files(values: Mapping[str, Any], family: str, machine: Machine) -> List[File]:
    """What the role writes on such a machine."""
    if not values["servers"]:
        return []
    servers = [] if values["disabled"] else values["servers"]
    return [File("/etc/resolv.conf", resolv_conf(servers), protected_by="/etc/resolv.conf", agent=True)]


def resolv_conf(servers: Sequence[str]) -> str:
    """See resolv.conf(5)."""
    return "".join(["nameserver %s\n" % server for server in servers])


TEXTS = {"resolv.conf": resolv_conf}
