# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""What a netvm does with the DNS queries of its clients, and that it forwards at all."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, NamedTuple

from .._machine import Machine
from .variables import FLAG, TEXTS, Variable

_SERVES = ("NetVM", "ProxyVM")
_FORWARDS = ("qubes-netvm-network", "qubes-service/qubes-network")
VARIABLES = {
    "addresses": Variable(
        TEXTS, ("qubes-netvm-network", "qubes-netvm-gateway", "qubes-netvm-primary-dns", "qubes-netvm-secondary-dns"), "qubes-netvm-primary-dns"),
    "upstreams": Variable(TEXTS, (), "qubes-primary-dns"),
    "default_upstreams": Variable(TEXTS, ("qubes-primary-dns", "qubes-secondary-dns", "qubes-gateway"), "qubes-primary-dns"),
    "disabled": Variable(FLAG, ("qubes-service/disable-dns-server",)),
    "forward": Variable(FLAG, _FORWARDS),
    "forward6": Variable(FLAG, (*_FORWARDS, "qubes-netvm-gateway6")),
}


class Rule(NamedTuple):
    """Where the queries for one address go; dropped where that is empty."""

    address: str
    protocol: str
    upstream: str


def values(config: Mapping[str, Any]) -> Dict[str, Any]:
    """The role's variables, from the ``config`` of keys_info."""
    netvm, services = config.get("netvm", {}), config.get("services", {})
    serves = bool(netvm.get("network"))
    forwards = serves and services.get("qubes-network", config.get("vm_type") in _SERVES)
    return {
        "addresses": netvm.get("dns", []) if serves else [],
        # What the machine itself uses, which on one that does not run is what its keys say.
        "upstreams": [],
        "default_upstreams": config.get("network", {}).get("dns", []),
        "disabled": services.get("disable-dns-server", False),
        "forward": forwards,
        "forward6": forwards and "gateway6" in netvm,
    }


def rules(variables: Mapping[str, Any]) -> List[Rule]:
    """The rules in their order."""
    if variables["disabled"]:
        return []
    upstreams = list(dict.fromkeys(variables["upstreams"] or variables["default_upstreams"])) or [""]
    return [Rule(address, protocol, upstreams[place % len(upstreams)])
            for place, address in enumerate(variables["addresses"]) for protocol in ("udp", "tcp")]


def settings(variables: Mapping[str, Any]) -> List[str]:
    """The settings of the kernel that have to be 1."""
    known = (("forward", "net.ipv4.ip_forward"), ("forward6", "net.ipv6.conf.all.forwarding"))
    return [setting for variable, setting in known if variables["forward"] and variables[variable]]


def names(variables: Mapping[str, Any], config: Mapping[str, Any], machine: Machine) -> Dict[str, Any]:
    """``rules``: what each has, as ``Rule``. ``settings``: as above."""
    return {"rules": [rule._asdict() for rule in rules(variables)], "settings": settings(variables)}
