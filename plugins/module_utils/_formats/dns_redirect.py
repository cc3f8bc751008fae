# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""What a netvm does with the DNS queries of its clients, and that it forwards at all."""

from __future__ import annotations

import json
import re
from typing import Any, Dict, List, Mapping, NamedTuple

from .base import MANAGED, File, Machine
from .variables import FLAG, TEXTS, Variable

_UNIT = "qubes-vmconfig-dns-redirect.service"
RULES = "/etc/qubes-vmconfig/dns-redirect.nft"
_UNIT_FILE = "/etc/systemd/system/" + _UNIT
_UNIT_LINK = "/etc/systemd/system/multi-user.target.wants/" + _UNIT
SYSCTL = "/etc/sysctl.d/81-qubes-vmconfig.conf"

# The table is the firewall's: nothing but this chain of it is ours.
_CHAIN = {"family": "ip", "table": "qubes", "name": "dnat-dns", "type": "nat", "hook": "prerouting", "prio": -100, "policy": "accept"}
_SERVES = ("NetVM", "ProxyVM")


class Rule(NamedTuple):
    """Where the queries for one address go; dropped where that is empty."""

    address: str
    protocol: str
    upstream: str


# -- what is wanted --

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


def wanted(config: Mapping[str, Any]) -> Dict[str, Any]:
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


def rules(values: Mapping[str, Any]) -> List[Rule]:
    """The rules in their order."""
    if values["disabled"]:
        return []
    upstreams = list(dict.fromkeys(values["upstreams"] or values["default_upstreams"])) or [""]
    return [Rule(address, protocol, upstreams[place % len(upstreams)])
            for place, address in enumerate(values["addresses"]) for protocol in ("udp", "tcp")]


# -- the files --


def files(values: Mapping[str, Any], family: str, machine: Machine) -> List[File]:
    """What the role writes on such a machine."""
    found = []
    if values["addresses"]:
        found += [_file(RULES, nft(values)), _file(_UNIT_FILE, unit(values)), File(_UNIT_LINK, link="../" + _UNIT, protected_by=_UNIT_FILE, agent=True)]
    if values["forward"]:
        found.append(_file(SYSCTL, sysctl(values)))
    return found


def _file(dest: str, text: str) -> File:
    return File(dest, MANAGED + text, protected_by=dest, agent=True)


def nft(values: Mapping[str, Any]) -> str:
    """For ``nft -f``, which does all of it or nothing. The chain may be there in another form, so it is made anew."""
    chain = "%(family)s %(table)s %(name)s" % _CHAIN
    lines = [
        "add table %(family)s %(table)s" % _CHAIN,
        "add chain " + chain,
        "delete chain " + chain,
        "add chain %s { type nat hook prerouting priority dstnat; policy accept; }" % chain,
    ]
    for rule in rules(values):
        # The kernel asks a chain of this type about connections that it tracks; dnat makes it track them, drop alone does not.
        verdict = "dnat to " + rule.upstream if rule.upstream else "ct state new drop"
        lines.append("add rule %s ip daddr %s %s dport 53 %s" % (chain, rule.address, rule.protocol, verdict))
    return "".join([line + "\n" for line in lines])


def unit(values: Mapping[str, Any]) -> str:
    """Loads the rules at the start, and again after nftables.service, which empties all tables."""
    return """\
[Unit]
Description=Redirect of the DNS queries of other qubes
ConditionPathExists=%(rules)s
DefaultDependencies=no
After=local-fs.target nftables.service qubes-vmconfig.service
PartOf=nftables.service
ReloadPropagatedFrom=nftables.service
Before=network-pre.target shutdown.target
Wants=network-pre.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft -f %(rules)s
ExecReload=/usr/sbin/nft -f %(rules)s

[Install]
WantedBy=multi-user.target
""" % {"rules": RULES}


def sysctl(values: Mapping[str, Any]) -> str:
    """See sysctl.d(5)."""
    return "".join(["%s = 1\n" % name for name in forwarding(values)])


def forwarding(values: Mapping[str, Any]) -> List[str]:
    """The settings of the kernel that have to be 1."""
    names = (("forward", "net.ipv4.ip_forward"), ("forward6", "net.ipv6.conf.all.forwarding"))
    return [name for variable, name in names if values["forward"] and values[variable]]


# -- what has to be done at once --

_SETTING = re.compile(r"(?m)^/proc/sys/(\S+?):(.*)$")
_SERVER = re.compile(r"(?m)^(/\S+?):[ \t]*nameserver[ \t]+(\d{1,3}(?:\.\d{1,3}){3})[ \t]*$")
# The servers of the machine's resolver, else those that are behind the local one which it names.
SOURCES = ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf", "/run/NetworkManager/no-stub-resolv.conf")
FORWARDING = ("/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding")


def upstreams(seen: str) -> str:
    """The resolvers that the machine itself uses, an address a line, from what ``grep -Hs ''`` printed for SOURCES."""
    found: Dict[str, List[str]] = {}
    for path, address in _SERVER.findall(seen):
        if _is_address(address):
            found.setdefault(path, []).append(address)
    return "".join([address + "\n" for address in next((found[path] for path in SOURCES if path in found), [])])


def _is_address(text: str) -> bool:
    parts = [int(part) for part in text.split(".")]
    return all(part < 256 for part in parts) and 0 < parts[0] < 224 and parts[0] != 127


def unset(values: Mapping[str, Any], seen: str) -> str:
    """Those settings of the kernel that have to be 1 and are not, a line each, from what ``grep -Hs ''`` printed for FORWARDING."""
    are = {name.replace("/", "."): value for name, value in _SETTING.findall(seen)}
    return "".join([name + "\n" for name in forwarding(values) if are.get(name, "1") != "1"])


def load(values: Mapping[str, Any], chain: str) -> str:
    """What ``nft -f -`` has to load, from what ``nft -j list chain`` printed; empty where the chain is as wanted."""
    text = nft(values)
    if not chain.strip():
        # Without rules the chain does nothing: it need not be there.
        return text if rules(values) else ""
    entries = json.loads(chain)["nftables"]
    found = next((entry["chain"] for entry in entries if "chain" in entry), {})
    there = [_usual(entry["rule"]["expr"]) for entry in entries if "rule" in entry]
    return "" if _CHAIN.items() <= found.items() and there == [_expressions(rule) for rule in rules(values)] else text


def _expressions(rule: Rule) -> List[Dict[str, Any]]:
    """A rule as ``nft -j`` prints it."""
    verdict: List[Dict[str, Any]] = [{"dnat": {"addr": rule.upstream}}] if rule.upstream else [_NEW, {"drop": None}]
    return [_match("ip", "daddr", rule.address), _match(rule.protocol, "dport", 53), *verdict]


_NEW = {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": "new"}}


def _usual(expressions: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """Versions of nft print the operator between a state and one of its values as ``in`` or as ``==``."""
    return [_NEW if each == {"match": {**_NEW["match"], "op": "=="}} else each for each in expressions]


def _match(protocol: str, field: str, value: Any) -> Dict[str, Any]:
    return {"match": {"op": "==", "left": {"payload": {"protocol": protocol, "field": field}}, "right": value}}


TEXTS = {
    "dns-redirect.nft": nft,
    "dns-redirect.service": unit,
    "dns-redirect.sysctl": sysctl,
    "dns-redirect.load": load,
    "dns-redirect.upstreams": upstreams,
    "dns-redirect.unset": unset,
}
