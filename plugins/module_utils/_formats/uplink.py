# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The uplink: what the keys want of it, and the files from which a machine sets it at its start."""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Dict, Iterable, Iterator, List, Mapping, NamedTuple

from .base import MANAGED, File, Machine
from .variables import FLAG, NUMBER, TEXT, Variable, shown

INTERFACE = "eth0"
GATEWAY_MAC = "fe:ff:ff:ff:ff:ff"
"""The link address of every netvm's side, as Xen's scripts set it."""
GROUP = 1
"""The link group that the firewall of Qubes knows the uplink by."""
PROTOCOL = 81
"""Marks the routes that we set, with the address in force as their source: what they tell of an earlier address is ours to remove."""

_NAME = re.compile("([A-Za-z0-9_][A-Za-z0-9_.-]{0,14})?")
ANYWHERE = {4: "0.0.0.0/0", 6: "::/0"}


class Net(NamedTuple):
    """What one version of IP has. Without a gateway it has an address, and neither a route nor a neighbour."""

    version: int
    ip: str
    prefix: int
    gateway: str

    @property
    def linked(self) -> bool:
        """Whether the gateway needs a route of its own. To an address of the link there is always one."""
        return bool(self.gateway) and (self.version == 4 or not ipaddress.ip_address(self.gateway).is_link_local)

    def neighbour(self, values: Mapping[str, Any]) -> bool:
        """Whether the gateway's link address is set."""
        return bool(self.gateway) and values["neighbours"]

    def default_route(self, values: Mapping[str, Any]) -> bool:
        """Whether there is to be a default route."""
        return bool(self.gateway) and values["default_route"]


# -- what is wanted --

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


def wanted(config: Mapping[str, Any]) -> Dict[str, Any]:
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


def nets(values: Mapping[str, Any]) -> List[Net]:
    """What is to be set, in the spelling that ``ip`` has for it."""
    found = []
    for version, suffix in ((4, ""), (6, "6")):
        if values["ip" + suffix]:
            ip, gateway = (str(ipaddress.ip_address(values[name + suffix])) if values[name + suffix] else "" for name in ("ip", "gateway"))
            found.append(Net(version, ip, values["prefix" + suffix], gateway))
    return found


def problems(values: Mapping[str, Any]) -> str:
    """Why addresses that are well formed cannot be set, a line each: it is all or nothing, so this is asked first."""
    named = [] if _NAME.fullmatch(values["interface"]) else ["uplink_interface: the value %s is refused: expected the name of an interface, such as eth0" %
                                                             shown(values["interface"])]
    return "".join(["%s\n" % sentence for sentence in [*named, *[sentence for net in nets(values) for sentence in _problems(net, values)]]])


def _problems(net: Net, values: Mapping[str, Any]) -> Iterator[str]:
    # The agent fails half-way then. An IPv6 address without a gateway is usual: the qube has the feature ipv6, and its netvm has not.
    if not net.gateway and net.version == 4 and values["default_route"]:
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


# -- the files from which it is set at the start --


def files(values: Mapping[str, Any], family: str, machine: Machine) -> List[File]:
    """What the role writes on such a machine."""
    if not nets(values) or problems(values):
        return []
    if machine.networkd:
        return [_file("/etc/systemd/network/10-qubes-uplink.network", network(values))]
    if machine.network_manager:
        return [_file("/etc/NetworkManager/system-connections/qubes-uplink.nmconnection", nmconnection(values), "0600"),
                _file("/etc/udev/rules.d/81-qubes-uplink.rules", rules(values))]
    if machine.ifupdown and family == "Debian":
        return [_file("/etc/network/interfaces.d/qubes-uplink", interfaces(values))]
    return []


def _file(dest: str, text: str, mode: str = "0644") -> File:
    return File(dest, MANAGED + text, mode=mode, protected_by=dest, agent=True)


def _lines(sections: Iterable[Iterable[str]]) -> str:
    return "\n".join(["".join([line + "\n" for line in section]) for section in sections])


def by_name(values: Mapping[str, Any]) -> str:
    """The interface's name where it is known by that, else empty: then it is the one with the MAC address."""
    return values["interface"] or ("" if values["mac"] else INTERFACE)


def network(values: Mapping[str, Any]) -> str:
    """See systemd.network(5). Who has an interface's MAC address and is of another type, such as a VLAN on it, is not the interface."""
    name = by_name(values)
    sections = [
        ["[Match]", *(["Name=" + name] if name else ["MACAddress=" + values["mac"], "Type=ether"])],
        ["[Link]", "Group=%d" % GROUP],
        ["[Network]", "IPv6AcceptRA=no"],
    ]
    for net in nets(values):
        sections.append(["[Address]", "Address=%s/%d" % (net.ip, net.prefix), *(["DuplicateAddressDetection=none"] if net.version == 6 else [])])
        if net.neighbour(values):
            sections.append(["[Neighbor]", "Address=" + net.gateway, "LinkLayerAddress=" + GATEWAY_MAC])
        mark = ["PreferredSource=" + net.ip, "Protocol=%d" % PROTOCOL]
        if net.linked:
            sections.append(["[Route]", "Destination=" + _host(net.gateway), *(["Scope=link"] if net.version == 4 else []), *mark])
        if net.default_route(values):
            sections.append(["[Route]", "Gateway=" + net.gateway, "GatewayOnLink=yes", *mark])
    return _lines(sections)


def nmconnection(values: Mapping[str, Any]) -> str:
    """See nm-settings-keyfile(5). It has no place for the link group, which is set by ``rules``, nor for the neighbour."""
    name = by_name(values)
    sections = [
        ["[connection]", "id=qubes-uplink", "uuid=5c7a3d38-5f0e-5a52-9d1b-2a4f6c1e7b80", "type=ethernet", *(["interface-name=" + name] if name else [])],
        ["[ethernet]", *([] if name else ["mac-address=" + values["mac"].upper()])],
    ]
    found = {net.version: net for net in nets(values)}
    for version, title in ((4, "[ipv4]"), (6, "[ipv6]")):
        net = found.get(version)
        sections.append([title, *(_nm_settings(net, values) if net else ["method=" + ("disabled" if version == 4 else "link-local")])])
    return _lines(sections)


def _nm_settings(net: Net, values: Mapping[str, Any]) -> List[str]:
    lines = ["method=manual", "address1=%s/%d" % (net.ip, net.prefix)]
    if net.linked:
        lines.append("route1=" + _host(net.gateway))
    lines.append("gateway=" + net.gateway if net.default_route(values) else "never-default=true")
    return lines + ["may-fail=false"]


def rules(values: Mapping[str, Any]) -> str:
    """See udev(7). A VLAN and its like have the address too, and a type of device."""
    name = by_name(values)
    which = 'KERNEL=="%s"' % name if name else 'ATTR{address}=="%s", ATTR{type}=="1", ENV{DEVTYPE}==""' % values["mac"].lower()
    return 'ACTION=="add|change", SUBSYSTEM=="net", %s, ATTR{netdev_group}="%d"\n' % (which, GROUP)


def interfaces(values: Mapping[str, Any]) -> str:
    """See interfaces(5)."""
    name = by_name(values)
    sections = [["auto " + (name or "mac/%s=qubes-uplink" % values["mac"].lower())]]
    for net in nets(values):
        lines = ["iface %s inet%s static" % (name or "qubes-uplink", "" if net.version == 4 else "6"), "    address %s/%d" % (net.ip, net.prefix)]
        lines += ["    dad-attempts 0", "    accept_ra 0"] if net.version == 6 else []
        lines += ["    up ip " + command for command in ['link set dev "$IFACE" group %d' % GROUP, *_commands(net, '"$IFACE"', values)]]
        sections.append(lines)
    return _lines(sections)


def _commands(net: Net, device: str, values: Mapping[str, Any]) -> Iterator[str]:
    if net.neighbour(values):
        yield neighbour(net, device)
    if net.linked:
        yield link_route(net, device, True)
    if net.default_route(values):
        yield default_route(net, device, True)


def neighbour(net: Net, device: str) -> str:
    """The gateway's link address, for ``ip``."""
    return "neighbour replace %s dev %s lladdr %s nud permanent" % (net.gateway, device, GATEWAY_MAC)


def link_route(net: Net, device: str, source: bool) -> str:
    """The route to the gateway; with its source, where that is not an address that is still being tried out."""
    return "route replace %s dev %s%s%s" % (_host(net.gateway), device, " scope link" if net.version == 4 else "", _mark(net, source))


def default_route(net: Net, device: str, source: bool) -> str:
    """The route through the gateway, likewise."""
    return "route replace %s via %s dev %s onlink%s" % (ANYWHERE[net.version], net.gateway, device, _mark(net, source))


def _mark(net: Net, source: bool) -> str:
    return "%s proto %d" % (" src " + net.ip if source else "", PROTOCOL)


def _host(address: str) -> str:
    return "%s/%d" % (address, ipaddress.ip_address(address).max_prefixlen)


TEXTS = {"uplink.network": network, "uplink.nmconnection": nmconnection, "uplink.rules": rules, "uplink.interfaces": interfaces}
