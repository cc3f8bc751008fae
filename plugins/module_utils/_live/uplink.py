# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The uplink of a machine that runs: what ``ip`` says there is, and what it still has to set."""

from __future__ import annotations

import json
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional

from .._errors import Refused
from .._files import read_file
from .._text import show
from .._values.uplink import GATEWAY_MAC, GROUP, INTERFACE, PROTOCOL, Net, by_name, nets
from .programs import refused, run

_MAIN, _FOREVER = "254", 2**32 - 1
# What the kernel takes where no metric is given.
_METRIC = {4: 0, 6: 1024}
# What one command is asked, of both versions of IP.
_ASKED = "address show\nroute show table all\nneighbour show nud permanent\n"
_IPV6 = "/proc/sys/net/ipv6/conf/%s/disable_ipv6"
_NO_PROGRAM = "it has no program ip, so the interface is as it was; its files are for the next start. Install iproute2, and run this again"
_NOTHING_SET = "Nothing was set; uplink_interface names the interface"


class Missing(NamedTuple):
    """The interface, empty where none is to be set; the lines that ``ip`` has to do; and why it does not do all that is wanted."""

    interface: str
    commands: List[str]
    left: str


class State(NamedTuple):
    """What ``ip`` says there is."""

    links: List[Dict[str, Any]]
    routes: List[Dict[str, Any]]
    neighbours: List[Dict[str, Any]]


def missing(variables: Mapping[str, Any]) -> Missing:
    """What is not as the variables of the role say. ``Refused`` where it is not clear which interface is meant."""
    if not variables["ip"] and not variables["ip6"]:
        return Missing("", [], "")
    ran = run("ip", ["-N", "-json", "-details", "-batch", "-"], _ASKED)
    if ran is None:
        return Missing("", [], _NO_PROGRAM)
    if ran.status:
        raise refused("ip", ran)
    state = parsed(ran.output)
    name = device(variables, state)
    if not name:
        raise Refused("%s. %s" % (_unclear(variables), _NOTHING_SET))
    ipv6 = has_ipv6(name)
    left = "" if ipv6 or not variables["ip6"] else "%s has IPv6 switched off (net.ipv6.conf.%s.disable_ipv6), so %s is not set" % (
        name, name, variables["ip6"])
    return Missing(name, batch(variables, state, name, ipv6), left)


def set_all(commands: List[str]) -> None:
    """Has ``ip`` do it, in one process, because the connection that this came by may go through the interface."""
    ran = run("ip", ["-batch", "-"], "".join([line + "\n" for line in commands]))
    if ran is None or ran.status:
        raise refused("ip", ran) if ran else Refused(_NO_PROGRAM)


def _unclear(variables: Mapping[str, Any]) -> str:
    if variables["interface"]:
        return "there is no interface %s" % show(variables["interface"])
    if variables["mac"]:
        return "no interface, or more than one, has the MAC address %s, and there is no %s" % (variables["mac"], INTERFACE)
    return "there is no %s" % INTERFACE


def has_ipv6(name: str) -> bool:
    """Whether an interface has IPv6; a kernel without it has no such setting."""
    try:
        return read_file(_IPV6 % name, 64).strip() == b"0"
    except OSError:
        return False


def parsed(text: str) -> State:
    """The state; links have a name, neighbours a state, and what is left are routes of the main table."""
    entries = [entry for line in text.split("\n") if line.strip() for entry in json.loads(line)]
    links = [entry for entry in entries if "ifname" in entry]
    neighbours = [entry for entry in entries if "state" in entry and "dst" in entry]
    routes = [entry for entry in entries if entry.get("type") == "1" and entry.get("table", _MAIN) == _MAIN and "dst" in entry]
    return State(links, routes, neighbours)


def device(variables: Mapping[str, Any], state: State) -> str:
    """The interface's name; empty where there is none, or more than one that it could be."""
    names = {link["ifname"] for link in state.links}
    name = by_name(variables)
    if name:
        return name if name in names else ""
    same = {link["ifname"] for link in state.links if link.get("address", "").lower() == variables["mac"].lower()}
    if INTERFACE in same or not same:
        return INTERFACE if INTERFACE in names else ""
    return same.pop() if len(same) == 1 else ""


def batch(variables: Mapping[str, Any], state: State, name: str, ipv6: bool) -> List[str]:
    """What ``ip -batch -`` has to do on the interface of that name. What is new comes before what is old goes.

    Nothing of IPv6, where the interface has it switched off: all before it would be set, and nothing after it.
    """
    link = next(link for link in state.links if link["ifname"] == name)
    # A link that is down takes no routes.
    added, removed = list(_link_commands(link, name)), []
    for net in [net for net in nets(variables) if net.version == 4 or ipv6]:
        uplink = _Uplink(net, link, state)
        added += uplink.missing()
        removed += uplink.stale(variables["neighbours"])
    return added + removed


def diff(name: str, commands: List[str]) -> Dict[str, str]:
    """What the commands take away, and what they bring, as ``--diff`` shows it."""
    found: Dict[bool, List[str]] = {False: [], True: []}
    for command in commands:
        kind, verb, rest = command.split(" ", 2)
        found[verb == "del"].append("%s %s\n" % (kind, rest))
    return {"before_header": "interface " + name, "after_header": "interface " + name, "before": "".join(found[True]), "after": "".join(found[False])}


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

    def missing(self) -> Iterator[str]:
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
        source = "" if good and good[0].get("tentative") else " src " + net.ip
        known = {"dst": net.gateway, "lladdr": GATEWAY_MAC}
        if net.neighbour and not any(known.items() <= entry.items() for entry in self.neighbours):
            yield "neighbour replace %s dev %s lladdr %s nud permanent" % (net.gateway, name, GATEWAY_MAC)
        if net.linked and not any(self._ours(route) and route["dst"] == net.gateway and "gateway" not in route for route in self.routes):
            yield "route replace %s dev %s%s%s proto %d" % (net.host, name, " scope link" if net.version == 4 else "", source, PROTOCOL)
        if net.default_route and self._default_is_missing():
            yield "route replace %s via %s dev %s onlink%s proto %d" % (net.anywhere, net.gateway, name, source, PROTOCOL)

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

    def stale(self, neighbours: bool) -> Iterator[str]:
        """What is left of an earlier uplink: what our routes name. Of a route that was replaced nothing is left."""
        net, name = self.net, self.name
        marked = [route for route in self.routes if route.get("protocol") == str(PROTOCOL)]
        sources = {route["prefsrc"] for route in marked if "prefsrc" in route} - {net.ip}
        replaced = net.default_route and self._default_is_missing()
        for route in self.routes:
            if route["dst"] == "default" and "gateway" in route:
                unwanted = not net.default_route and route.get("gateway") == net.gateway
                if unwanted or route in marked and not replaced and (not net.default_route or route.get("gateway") != net.gateway):
                    yield "route del %s via %s dev %s%s" % (net.anywhere, route["gateway"], name, _metric(route))
            elif route in marked and "gateway" not in route and route["dst"] != net.gateway:
                yield "route del %s dev %s%s" % (route["dst"], name, _metric(route))
        gateways = {route.get("gateway", route["dst"]) for route in marked} - {net.gateway, "default"}
        for entry in self.neighbours:
            unwanted = not neighbours and entry["dst"] == net.gateway
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
