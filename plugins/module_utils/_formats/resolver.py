# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The files of the resolvers."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Sequence

from .base import MANAGED, File, Machine
from .variables import FLAG, TEXTS, Variable

NETWORK_MANAGER_CONF = "/etc/NetworkManager/conf.d/qubes-dns.conf"
RESOLVED_CONF = "/etc/systemd/resolved.conf.d/qubes-dns.conf"

VARIABLES = {
    "servers": Variable(TEXTS, ("qubes-primary-dns", "qubes-secondary-dns", "qubes-gateway"), "qubes-primary-dns"),
    "disabled": Variable(FLAG, ("qubes-service/disable-dns-server",)),
    "network_manager": Variable(FLAG, ("qubes-service/network-manager",)),
}


def wanted(config: Mapping[str, Any]) -> Dict[str, Any]:
    """The role's variables, from the ``config`` of keys_info."""
    services = config.get("services", {})
    return {
        "servers": config.get("network", {}).get("dns", []),
        "disabled": services.get("disable-dns-server", False),
        # On in a NetVM, where no key says otherwise.
        "network_manager": services.get("network-manager", config.get("vm_type") == "NetVM"),
    }


def files(values: Mapping[str, Any], family: str, machine: Machine) -> List[File]:
    """What the role writes on such a machine."""
    if not values["servers"]:
        return []
    servers = [] if values["disabled"] else values["servers"]
    # What the agent tells resolved and NetworkManager at runtime is its own, as a file of it would be.
    if values["network_manager"] and machine.network_manager:
        return [File(NETWORK_MANAGER_CONF, MANAGED + network_manager_conf(servers), protected_by=NETWORK_MANAGER_CONF, agent=True)]
    found = [File("/etc/resolv.conf", resolv_conf(servers), protected_by="/etc/resolv.conf", agent=True)]
    if machine.resolved:
        found.append(File(RESOLVED_CONF, MANAGED + resolved_conf(servers), protected_by=RESOLVED_CONF, agent=True))
    return found


def resolv_conf(servers: Sequence[str]) -> str:
    """See resolv.conf(5)."""
    return "".join(["nameserver %s\n" % server for server in servers])


def resolved_conf(servers: Sequence[str]) -> str:
    """See resolved.conf(5). An empty list drops what stood before; no other server is asked for want of one."""
    return "[Resolve]\nDNS=\n" + ("DNS=%s\n" % " ".join(servers) if servers else "") + "FallbackDNS=\n"


def network_manager_conf(servers: Sequence[str]) -> str:
    """See NetworkManager.conf(5). A section without servers would not count, so there is none."""
    return "[global-dns-domain-*]\nservers=%s\n" % ",".join(servers) if servers else "# No servers.\n"


TEXTS = {"resolv.conf": resolv_conf, "resolved.conf": resolved_conf, "network-manager.conf": network_manager_conf}
