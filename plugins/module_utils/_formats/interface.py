# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The uplink of a machine that runs: what ``ip`` still has to set, from what it says there is."""

from __future__ import annotations

import json
import re
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional

from .uplink import ANYWHERE, GATEWAY_MAC, GROUP, INTERFACE, PROTOCOL, Net, by_name, default_route, link_route, neighbour, nets

_MAIN, _FOREVER = "254", 2**32 - 1
# What the kernel takes where no metric is given.
_METRIC = {4: 0, 6: 1024}


class State(NamedTuple):
    """What ``ip -N -json -details -batch -`` printed for STATE."""

    links: List[Dict[str, Any]]
    routes: List[Dict[str, Any]]
    neighbours: List[Dict[str, Any]]


STATE = "address show\nroute show table all\nneighbour show nud permanent\n"
"""What one command is asked, of both versions of IP."""


def parsed(text: str) -> State:
    """The state; links have a name, neighbours a state, and what is left are routes of the main table."""
    entries = [entry for line in text.split("\n") if line.strip() for entry in json.loads(line)]
    links = [entry for entry in entries if "ifname" in entry]
    neighbours = [entry for entry in entries if "state" in entry and "dst" in entry]
    routes = [entry for entry in entries if entry.get("type") == "1" and entry.get("table", _MAIN) == _MAIN and "dst" in entry]
    return State(links, routes, neighbours)


def device(values: Mapping[str, Any], state: str) -> str:
    """The interface's name; empty where there is none, or more than one that it could be."""
    return _device(values, parsed(state))


def _device(values: Mapping[str, Any], state: State) -> str:
    names = {link["ifname"] for link in state.links}
    name = by_name(values)
    if name:
        return name if name in names else ""
    same = {link["ifname"] for link in state.links if link.get("address", "").lower() == values["mac"].lower()}
    if INTERFACE in same or not same:
        return INTERFACE if INTERFACE in names else ""
    return same.pop() if len(same) == 1 else ""


IPV6, IPV6_OFF = "/proc/sys/net/ipv6/conf", "disable_ipv6"
"""Where the kernel says of each interface whether it has IPv6."""


def left_out(values: Mapping[str, Any], state: str, ipv6: str) -> str:
    """Why the IPv6 address is not set, from what ``grep -rs '' IPV6 --include=IPV6_OFF`` printed; empty where it is."""
    name = device(values, state)
    if not name or not values["ip6"] or _has_ipv6(name, ipv6):
        return ""
    return "%s has IPv6 switched off (net.ipv6.conf.%s.%s), so %s is not set" % (name, name, IPV6_OFF, values["ip6"])


def _has_ipv6(name: str, ipv6: str) -> bool:
    """A kernel without IPv6 says nothing."""
    return bool(re.search("(?m)^%s/%s/%s:0$" % (IPV6, re.escape(name), IPV6_OFF), ipv6))


def batch(values: Mapping[str, Any], state: str, ipv6: str) -> str:
    """What ``ip -batch -`` has to do, a line each; empty where all is as wanted. What is new comes before what is old goes.

    Nothing of IPv6, where the interface has it switched off: all before it would be set, and nothing after it.
    """
    found = parsed(state)
    name = _device(values, found)
    if not name:
        return ""
    link = next(link for link in found.links if link["ifname"] == name)
    # A link that is down takes no routes.
    added, removed = list(_link_commands(link, name)), []
    for net in [net for net in nets(values) if net.version == 4 or _has_ipv6(name, ipv6)]:
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
        known = {"dst": net.gateway, "lladdr": GATEWAY_MAC}
        if net.neighbour(values) and not any(known.items() <= entry.items() for entry in self.neighbours):
            yield neighbour(net, name)
        if net.linked and not any(self._ours(route) and route["dst"] == net.gateway and "gateway" not in route for route in self.routes):
            yield link_route(net, name, source)
        if net.default_route(values) and self._default_is_missing():
            yield default_route(net, name, source)

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
        wanted = net.default_route(values)
        replaced = wanted and self._default_is_missing()
        for route in self.routes:
            if route["dst"] == "default" and "gateway" in route:
                unwanted = not wanted and route.get("gateway") == net.gateway
                if unwanted or route in marked and not replaced and (not wanted or route.get("gateway") != net.gateway):
                    yield "route del %s via %s dev %s%s" % (ANYWHERE[net.version], route["gateway"], name, _metric(route))
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


TEXTS = {"uplink.device": device, "uplink.batch": batch, "uplink.left_out": left_out}
