# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The uplink: the files from which a machine sets it at its start, and what ``ip`` has to set on one that runs."""

from __future__ import annotations

import ipaddress
import json
import re
from typing import Any, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional

from .base import MANAGED, File, Machine
from .variables import FLAG, NUMBER, TEXT, Variable, shown

INTERFACE = "eth0"
GATEWAY_MAC = "fe:ff:ff:ff:ff:ff"
"""The link address of every netvm's side, as Xen's scripts set it."""
GROUP = 1
"""The link group that the firewall of Qubes knows the uplink by."""
PROTOCOL = 81
"""Marks the routes that we set, with the address in force as their source: what they tell of an earlier address is ours to remove."""

_MAIN, _FOREVER = "254", 2**32 - 1
_NAME = re.compile("([A-Za-z0-9_][A-Za-z0-9_.-]{0,14})?")
# What the kernel takes where no metric is given.
_METRIC = {4: 0, 6: 1024}
_ANYWHERE = {4: "0.0.0.0/0", 6: "::/0"}


class Net(NamedTuple):
    """What one version of IP has."""

    version: int
    ip: str
    prefix: int
    gateway: str

    @property
    def linked(self) -> bool:
        """Whether the gateway needs a route of its own. To an address of the link there is always one."""
        return not ipaddress.ip_address(self.gateway).is_link_local or self.version == 4


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
    return "".join(["%s\n" % sentence for sentence in [*named, *[sentence for net in nets(values) for sentence in _problems(net)]]])


def _problems(net: Net) -> Iterator[str]:
    if not net.gateway:
        yield "there is the address %s and no gateway for it" % net.ip
        return
    for name, text in (("address", net.ip), ("gateway", net.gateway)):
        address = ipaddress.ip_address(text)
        mapped = net.version == 6 and ipaddress.IPv6Address(text).ipv4_mapped is not None
        if address.is_multicast or address.is_unspecified or address.is_loopback or mapped or address in ipaddress.ip_network("0.0.0.0/8"):
            yield "%s is no %s that an interface can have" % (text, name)
        elif text == "255.255.255.255":
            yield "%s is everyone's address" % text
    if net.ip == net.gateway:
        yield "%s is the address and its gateway" % net.ip
    if not 0 < net.prefix <= (32 if net.version == 4 else 128):
        yield "%s cannot have a prefix of %d bits" % (net.ip, net.prefix)


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


def _by_name(values: Mapping[str, Any]) -> str:
    """The interface's name where it is known by that, else empty: then it is the one with the MAC address."""
    return values["interface"] or ("" if values["mac"] else INTERFACE)


def network(values: Mapping[str, Any]) -> str:
    """See systemd.network(5). Who has an interface's MAC address and is of another type, such as a VLAN on it, is not the interface."""
    name = _by_name(values)
    sections = [
        ["[Match]", *(["Name=" + name] if name else ["MACAddress=" + values["mac"], "Type=ether"])],
        ["[Link]", "Group=%d" % GROUP],
        ["[Network]", "IPv6AcceptRA=no"],
    ]
    for net in nets(values):
        sections.append(["[Address]", "Address=%s/%d" % (net.ip, net.prefix), *(["DuplicateAddressDetection=none"] if net.version == 6 else [])])
        if values["neighbours"]:
            sections.append(["[Neighbor]", "Address=" + net.gateway, "LinkLayerAddress=" + GATEWAY_MAC])
        mark = ["PreferredSource=" + net.ip, "Protocol=%d" % PROTOCOL]
        if net.linked:
            sections.append(["[Route]", "Destination=" + _host(net.gateway), *(["Scope=link"] if net.version == 4 else []), *mark])
        if values["default_route"]:
            sections.append(["[Route]", "Gateway=" + net.gateway, "GatewayOnLink=yes", *mark])
    return _lines(sections)


def nmconnection(values: Mapping[str, Any]) -> str:
    """See nm-settings-keyfile(5). It has no place for the link group, which is set by ``rules``, nor for the neighbour."""
    name = _by_name(values)
    sections = [
        ["[connection]", "id=qubes-uplink", "uuid=5c7a3d38-5f0e-5a52-9d1b-2a4f6c1e7b80", "type=ethernet", *(["interface-name=" + name] if name else [])],
        ["[ethernet]", *([] if name else ["mac-address=" + values["mac"].upper()])],
    ]
    found = {net.version: net for net in nets(values)}
    for version, title in ((4, "[ipv4]"), (6, "[ipv6]")):
        net = found.get(version)
        sections.append([title, *(_nm_settings(net, values["default_route"]) if net else ["method=" + ("disabled" if version == 4 else "link-local")])])
    return _lines(sections)


def _nm_settings(net: Net, default_route: bool) -> List[str]:
    lines = ["method=manual", "address1=%s/%d" % (net.ip, net.prefix)]
    if net.linked:
        lines.append("route1=" + _host(net.gateway))
    lines += ["gateway=" + net.gateway] if default_route else ["never-default=true"]
    return lines + ["may-fail=false"]


def rules(values: Mapping[str, Any]) -> str:
    """See udev(7). A VLAN and its like have the address too, and a type of device."""
    name = _by_name(values)
    which = 'KERNEL=="%s"' % name if name else 'ATTR{address}=="%s", ATTR{type}=="1", ENV{DEVTYPE}==""' % values["mac"].lower()
    return 'ACTION=="add|change", SUBSYSTEM=="net", %s, ATTR{netdev_group}="%d"\n' % (which, GROUP)


def interfaces(values: Mapping[str, Any]) -> str:
    """See interfaces(5)."""
    name = _by_name(values)
    sections = [["auto " + (name or "mac/%s=qubes-uplink" % values["mac"].lower())]]
    for net in nets(values):
        lines = ["iface %s inet%s static" % (name or "qubes-uplink", "" if net.version == 4 else "6"), "    address %s/%d" % (net.ip, net.prefix)]
        lines += ["    dad-attempts 0", "    accept_ra 0"] if net.version == 6 else []
        lines += ["    up ip " + command for command in ['link set dev "$IFACE" group %d' % GROUP, *_commands(net, '"$IFACE"', values)]]
        sections.append(lines)
    return _lines(sections)


def _commands(net: Net, device: str, values: Mapping[str, Any]) -> Iterator[str]:
    if values["neighbours"]:
        yield _neighbour(net, device)
    if net.linked:
        yield _link_route(net, device, True)
    if values["default_route"]:
        yield _default_route(net, device, True)


def _neighbour(net: Net, device: str) -> str:
    return "neighbour replace %s dev %s lladdr %s nud permanent" % (net.gateway, device, GATEWAY_MAC)


def _link_route(net: Net, device: str, source: bool) -> str:
    return "route replace %s dev %s%s%s" % (_host(net.gateway), device, " scope link" if net.version == 4 else "", _mark(net, source))


def _default_route(net: Net, device: str, source: bool) -> str:
    return "route replace %s via %s dev %s onlink%s" % (_ANYWHERE[net.version], net.gateway, device, _mark(net, source))


def _mark(net: Net, source: bool) -> str:
    return "%s proto %d" % (" src " + net.ip if source else "", PROTOCOL)


def _host(address: str) -> str:
    return "%s/%d" % (address, ipaddress.ip_address(address).max_prefixlen)


# -- what has to be set at once --


class State(NamedTuple):
    """What ``ip -N -json -details -batch -`` printed for STATE."""

    links: List[Dict[str, Any]]
    routes: List[Dict[str, Any]]
    neighbours: List[Dict[str, Any]]


STATE = "address show\nroute show table all\nneighbour show nud permanent\n"
"""What one command is asked, of both versions of IP."""


def parsed(text: str) -> State:
    """The state; links have a name, neighbours a state, and what is left are routes of the main table."""
    entries = [entry for line in text.splitlines() if line.strip() for entry in json.loads(line)]
    links = [entry for entry in entries if "ifname" in entry]
    neighbours = [entry for entry in entries if "state" in entry and "dst" in entry]
    routes = [entry for entry in entries if entry.get("type") == "1" and entry.get("table", _MAIN) == _MAIN and "dst" in entry]
    return State(links, routes, neighbours)


def device(values: Mapping[str, Any], state: str) -> str:
    """The interface's name; empty where there is none, or more than one that it could be."""
    return _device(values, parsed(state))


def _device(values: Mapping[str, Any], state: State) -> str:
    names = {link["ifname"] for link in state.links}
    name = _by_name(values)
    if name:
        return name if name in names else ""
    same = {link["ifname"] for link in state.links if link.get("address", "").lower() == values["mac"].lower()}
    if INTERFACE in same or not same:
        return INTERFACE if INTERFACE in names else ""
    return same.pop() if len(same) == 1 else ""


def batch(values: Mapping[str, Any], state: str) -> str:
    """What ``ip -batch -`` has to do, a line each; empty where all is as wanted. What is new comes before what is old goes."""
    found = parsed(state)
    name = _device(values, found)
    if not name:
        return ""
    link = next(link for link in found.links if link["ifname"] == name)
    # A link that is down takes no routes.
    added, removed = list(_link_commands(link, name)), []
    for net in nets(values):
        uplink = _Uplink(net, link, found)
        added += uplink.missing(values)
        removed += uplink.stale(values)
    return "".join([line + "\n" for line in added + removed])


def _link_commands(link: Mapping[str, Any], name: str) -> Iterator[str]:
    if link.get("group") != str(GROUP):
        yield "link set dev %s group %d" % (name, GROUP)
    if "UP" not in link["flags"]:
        yield "link set dev %s up" % name


class _Uplink:
    """One version of IP on the interface, as it is and as it is wanted."""

    def __init__(self, net: Net, link: Mapping[str, Any], state: State) -> None:
        self.net, self.name = net, link["ifname"]
        family = "inet" if net.version == 4 else "inet6"
        # An address with a peer is of another kind.
        self.addresses = [entry for entry in link.get("addr_info", []) if entry["family"] == family and "address" not in entry and "local" in entry]
        routes = [route for route in state.routes if _version(route) == net.version]
        self.routes = [route for route in routes if route.get("dev") == self.name]
        self.elsewhere = [route for route in routes if route.get("dev") != self.name and route["dst"] == "default"]
        self.neighbours = [entry for entry in state.neighbours if entry.get("dev") == self.name]

    def missing(self, values: Mapping[str, Any]) -> Iterator[str]:
        """What has to be added, or put in the place of what is there."""
        net, name = self.net, self.name
        there = [entry for entry in self.addresses if entry["local"] == net.ip]
        good = [entry for entry in there if entry["prefixlen"] == net.prefix and entry.get("valid_life_time", _FOREVER) == _FOREVER]
        if not good:
            # IPv6 keeps the prefix of an address that is there.
            if net.version == 6:
                yield from ["address del %s/%d dev %s" % (net.ip, entry["prefixlen"], name) for entry in there if entry["prefixlen"] != net.prefix]
            yield "address replace %s/%d dev %s%s" % (net.ip, net.prefix, name, " nodad" if net.version == 6 else "")
        # An address that is still being tried out is no source.
        source = not (good and good[0].get("tentative"))
        neighbour = {"dst": net.gateway, "lladdr": GATEWAY_MAC}
        if values["neighbours"] and not any(neighbour.items() <= entry.items() for entry in self.neighbours):
            yield _neighbour(net, name)
        if net.linked and not any(self._ours(route) and route["dst"] == net.gateway and "gateway" not in route for route in self.routes):
            yield _link_route(net, name, source)
        if values["default_route"] and self._default_is_missing():
            yield _default_route(net, name, source)

    def _default_is_missing(self) -> bool:
        """Whether the default route is another than ours. One through another interface is another tool's decision, and stays."""
        usual = _METRIC[self.net.version]
        if any(route.get("metric", 0) <= usual for route in self.elsewhere):
            return False
        here = sorted([route for route in self.routes if route["dst"] == "default"], key=lambda route: route.get("metric", 0))
        return not (here and self._ours(here[0]) and here[0].get("gateway") == self.net.gateway
                    and ("onlink" in here[0].get("flags", []) or here[0].get("metric", 0) != usual))

    def _ours(self, route: Mapping[str, Any]) -> bool:
        return route.get("prefsrc", self.net.ip) == self.net.ip

    def stale(self, values: Mapping[str, Any]) -> Iterator[str]:
        """What is left of an earlier uplink: what our routes name. Of a route that was replaced nothing is left."""
        net, name = self.net, self.name
        marked = [route for route in self.routes if route.get("protocol") == str(PROTOCOL)]
        sources = {route["prefsrc"] for route in marked if "prefsrc" in route} - {net.ip}
        replaced = values["default_route"] and self._default_is_missing()
        for route in self.routes:
            if route["dst"] == "default" and "gateway" in route:
                unwanted = not values["default_route"] and route.get("gateway") == net.gateway
                if unwanted or route in marked and not replaced and (not values["default_route"] or route.get("gateway") != net.gateway):
                    yield "route del %s via %s dev %s%s" % (_ANYWHERE[net.version], route["gateway"], name, _metric(route))
            elif route in marked and "gateway" not in route and route["dst"] != net.gateway:
                yield "route del %s dev %s%s" % (route["dst"], name, _metric(route))
        gateways = {route.get("gateway", route["dst"]) for route in marked} - {net.gateway, "default"}
        for entry in self.neighbours:
            unwanted = not values["neighbours"] and entry["dst"] == net.gateway
            if entry.get("lladdr") == GATEWAY_MAC and (unwanted or entry["dst"] in gateways):
                yield "neighbour del %s dev %s" % (entry["dst"], name)
        for entry in self.addresses:
            other_prefix = entry["local"] == net.ip and entry["prefixlen"] != net.prefix and net.version == 4
            if entry["local"] in sources or other_prefix:
                yield "address del %s/%d dev %s" % (entry["local"], entry["prefixlen"], name)


def _version(route: Mapping[str, Any]) -> Optional[int]:
    for text in (route["dst"], route.get("gateway", ""), route.get("prefsrc", "")):
        if ":" in text:
            return 6
        if "." in text:
            return 4
    # A default route without a gateway tells nothing of its version but its metric, which IPv6 always has.
    return 6 if "pref" in route else 4


def _metric(route: Mapping[str, Any]) -> str:
    return " metric %d" % route["metric"] if "metric" in route else ""


TEXTS = {
    "uplink.network": network,
    "uplink.nmconnection": nmconnection,
    "uplink.rules": rules,
    "uplink.interfaces": interfaces,
    "uplink.device": device,
    "uplink.batch": batch,
}
