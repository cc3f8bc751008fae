# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The uplink of a qube: its addresses, gateways and routes."""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple

from .._machine import Machine
from .variables import FLAG, NUMBER, TEXT, Variable, shown

INTERFACE = "eth0"
GATEWAY_MAC = "fe:ff:ff:ff:ff:ff"
"""The link address of every netvm's side, as Xen's scripts set it."""
GROUP = 1
"""The link group that the firewall of Qubes knows the uplink by."""
PROTOCOL = 81
"""Marks the routes that we set, with the address in force as their source: what they tell of an earlier address is ours to remove."""

_NAME = re.compile("([A-Za-z0-9_][A-Za-z0-9_.-]{0,14})?")
_ANYWHERE = {4: "0.0.0.0/0", 6: "::/0"}


class Net(NamedTuple):
    """What one version of IP has. Without a gateway it has an address, and neither a route nor a neighbour."""

    version: int
    ip: str
    prefix: int
    gateway: str
    # The gateway as a network of one address, and the network of all; each with its prefix.
    host: str
    anywhere: str
    # Whether the gateway needs a route of its own. To an address of the link there is always one.
    linked: bool
    # Whether the gateway's link address is set, and whether there is to be a default route.
    neighbour: bool
    default_route: bool


_OWN = "net-config/*"
VARIABLES = {
    "interface": Variable(TEXT),
    "mac": Variable(TEXT, ("qubes-mac",), "qubes-mac"),
    "ip": Variable(TEXT, ("qubes-ip", _OWN), "qubes-ip"),
    "prefix": Variable(NUMBER, ("qubes-netmask", _OWN)),
    "gateway": Variable(TEXT, ("qubes-gateway", _OWN), "qubes-gateway"),
    "ip6": Variable(TEXT, ("qubes-ip6", _OWN), "qubes-ip6"),
    "prefix6": Variable(NUMBER, ("qubes-netmask6", _OWN)),
    "gateway6": Variable(TEXT, ("qubes-gateway6", _OWN), "qubes-gateway6"),
    "neighbours": Variable(FLAG, (_OWN,)),
    "default_route": Variable(FLAG, ("qubes-service/disable-default-route",)),
}


def values(config: Mapping[str, Any]) -> Dict[str, Any]:
    """The role's variables, from the ``config`` of keys_info."""
    network = config.get("network", {})
    mac = network.get("mac", "")
    own = _net_config(config, mac)
    # As the agent: a set of its own for the interface is taken whole, and its releases without qubes-mac set /32 whatever the netmask.
    if "ip" in own:
        found, prefix = own, _prefix(own.get("netmask", "255.255.255.255"))
    else:
        found, prefix = network, network.get("prefix", 32) if mac else 32
    return {
        "interface": "",
        "mac": mac,
        "ip": found.get("ip", ""),
        "prefix": prefix,
        "gateway": found.get("gateway", ""),
        "ip6": found.get("ip6", ""),
        "prefix6": found.get("netmask6", 128),
        "gateway6": found.get("gateway6", ""),
        "neighbours": "custom" not in own,
        "default_route": not config.get("services", {}).get("disable-default-route", False),
    }


def _net_config(config: Mapping[str, Any], mac: str) -> Mapping[str, Any]:
    of_macs = {name.lower(): found for name, found in config.get("net_config", {}).items()}
    return of_macs.get(mac.lower(), {}) if mac else {}


def _prefix(netmask: str) -> int:
    return bin(int(ipaddress.IPv4Address(netmask))).count("1")


def problems(variables: Mapping[str, Any]) -> List[str]:
    """Why addresses that are well formed cannot be set: it is all or nothing, so this is asked first."""
    named = [] if _NAME.fullmatch(variables["interface"]) else ["uplink_interface: the value %s is refused: expected the name of an interface, such as eth0" %
                                                                shown(variables["interface"])]
    return named + [sentence for net in nets(variables) for sentence in _problems(net, variables["default_route"])]


def _problems(net: Net, default_route: bool) -> Iterator[str]:
    # The agent fails half-way then. An IPv6 address without a gateway is usual: the qube has the feature ipv6, and its netvm has not.
    if not net.gateway and net.version == 4 and default_route:
        yield "there is the address %s and no gateway for it; the service disable-default-route is for an uplink without one" % net.ip
    for name, text in (("address", net.ip), ("gateway", net.gateway)):
        if text:
            yield from _unfit(name, text)
    if net.ip == net.gateway:
        yield "%s is the address and its gateway" % net.ip
    if not 0 < net.prefix <= (32 if net.version == 4 else 128):
        yield "%s cannot have a prefix of %d bits" % (net.ip, net.prefix)


def _unfit(name: str, text: str) -> Iterator[str]:
    address = ipaddress.ip_address(text)
    mapped = isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None
    if address.is_multicast or address.is_unspecified or address.is_loopback or mapped or address in ipaddress.ip_network("0.0.0.0/8"):
        yield "%s is no %s that an interface can have" % (text, name)
    elif text == "255.255.255.255":
        yield "%s is everyone's address" % text


def nets(variables: Mapping[str, Any]) -> List[Net]:
    """What is to be set, in the spelling that ``ip`` has for it."""
    return [_net(version, variables, suffix) for version, suffix in ((4, ""), (6, "6")) if variables["ip" + suffix]]


def _net(version: int, variables: Mapping[str, Any], suffix: str) -> Net:
    ip = str(ipaddress.ip_address(variables["ip" + suffix]))
    via = ipaddress.ip_address(variables["gateway" + suffix]) if variables["gateway" + suffix] else None
    gateway = str(via) if via else ""
    return Net(
        version, ip, variables["prefix" + suffix], gateway,
        host="%s/%d" % (gateway, via.max_prefixlen) if via else "",
        anywhere=_ANYWHERE[version],
        linked=via is not None and (version == 4 or not via.is_link_local),
        neighbour=via is not None and variables["neighbours"],
        default_route=via is not None and variables["default_route"],
    )


def by_name(variables: Mapping[str, Any]) -> str:
    """The interface's name where it is known by that, else empty: then it is the one with the MAC address."""
    return variables["interface"] or ("" if variables["mac"] else INTERFACE)


def names(variables: Mapping[str, Any], config: Mapping[str, Any], machine: Machine) -> Dict[str, Any]:
    """``nets``: what each version of IP has, as ``Net``. ``by_name``: as above. And what Qubes has the same for all."""
    return {"nets": [net._asdict() for net in nets(variables)], "by_name": by_name(variables),
            "gateway_mac": GATEWAY_MAC, "link_group": GROUP, "route_protocol": PROTOCOL}
