# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The redirect and the forwarding of a machine that runs: what ``nft`` and the kernel say there is, and what they have to be told."""

from __future__ import annotations

import json
import re
from typing import Any, Dict, List, Mapping, NamedTuple, Optional

from .._errors import VmconfigError
from .._files import read_file
from .._text import escape
from .._values.dns_redirect import Rule, rules, settings
from .programs import refused, run

CHAIN = "chain dnat-dns"
# The table is the firewall's: nothing but this chain of it is ours.
_TABLE = {"family": "ip", "table": "qubes"}
_NAMED = {**_TABLE, "name": "dnat-dns"}
_CHAIN = {**_NAMED, "type": "nat", "hook": "prerouting", "prio": -100, "policy": "accept"}
_NO_PROGRAM = "it has no program nft, so the rules were neither checked nor loaded; their file is for the next start. Install nftables, and run this again"

_SERVER = re.compile(r"(?m)^[ \t]*nameserver[ \t]+(\d{1,3}(?:\.\d{1,3}){3})[ \t]*$")
# The servers of the machine's resolver, else those that are behind the local one which it names.
_SOURCES = ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf", "/run/NetworkManager/no-stub-resolv.conf")
_MOST = 1 << 20

Expressions = List[Dict[str, Any]]


class Missing(NamedTuple):
    """Where queries go; what ``nft`` has to load, None where its rules are as wanted; the kernel's settings that have to become 1, and why not all is done.

    ``diff`` is what ``--diff`` shows.
    """

    upstreams: List[str]
    load: Optional[str]
    unset: List[str]
    left: str
    diff: Dict[str, str]

    @property
    def differing(self) -> List[str]:
        """What differs, by the names that an audit lists."""
        return ([CHAIN] if self.load is not None else []) + self.unset


def missing(variables: Mapping[str, Any]) -> Missing:
    """What is not as the variables of the role say. Without upstreams among them the machine's own resolvers are asked."""
    upstreams = list(variables["upstreams"]) or (own_upstreams() if variables["addresses"] else [])
    wanted = rules({**variables, "upstreams": upstreams, "default_upstreams": []})
    unset = [name for name in settings(variables) if _read("/proc/sys/" + name.replace(".", "/")).strip() not in ("", "1")]
    chain, left = _chain() if variables["addresses"] else ("", "")
    load = to_load(wanted, chain) if variables["addresses"] and not left else None
    if load is not None:
        _nft(["-c", "-j", "-f", "-"], load)
    return Missing(upstreams, load, unset, left, _diff(wanted, chain, load is not None, unset))


def set_all(found: Missing) -> None:
    """Loads the rules, all at once, and switches forwarding on."""
    if found.load is not None:
        _nft(["-j", "-f", "-"], found.load)
    for name in found.unset:
        try:
            with open("/proc/sys/" + name.replace(".", "/"), "w", encoding="ascii") as stream:
                stream.write("1\n")
        except OSError as error:
            raise VmconfigError("the kernel does not take %s = 1: %s" % (name, error.strerror)) from None


def _nft(arguments: List[str], payload: str) -> None:
    ran = run("nft", arguments, payload)
    if ran is None or ran.status:
        raise refused("nft", ran) if ran else VmconfigError(_NO_PROGRAM)


def _read(path: str) -> str:
    try:
        return read_file(path, _MOST).decode("utf-8", "replace")
    except OSError:
        return ""


# -- the resolvers that the machine itself uses --


def own_upstreams() -> List[str]:
    """The resolvers that the machine itself uses, of IPv4."""
    for path in _SOURCES:
        found = [address for address in _SERVER.findall(_read(path)) if _is_address(address)]
        if found:
            return found
    return []


def _is_address(text: str) -> bool:
    parts = [int(part) for part in text.split(".")]
    return all(part < 256 for part in parts) and 0 < parts[0] < 224 and parts[0] != 127


# -- the chain, as nft has it in JSON --


def _chain() -> Any:
    """What nft prints of the chain, nothing where there is none; and why that cannot be said."""
    ran = run("nft", ["-j", "list", "chain", *_NAMED.values()])
    if ran is None:
        return "", _NO_PROGRAM
    # 1: there is no such chain.
    if ran.status not in (0, 1):
        raise refused("nft", ran)
    return (ran.output if ran.status == 0 else ""), ""


def to_load(wanted: List[Rule], chain: str) -> Optional[str]:
    """What ``nft -j -f -`` has to load, all of it or nothing, None where the chain is as wanted. It may be there in another form, so it is made anew."""
    if not chain.strip():
        # Without rules the chain does nothing: it need not be there.
        if not wanted:
            return None
    else:
        entries = json.loads(chain)["nftables"]
        found = next((entry["chain"] for entry in entries if "chain" in entry), {})
        if _CHAIN.items() <= found.items() and _rules_of(chain) == list(map(_expressions, wanted)):
            return None
    return json.dumps({"nftables": [
        {"add": {"table": {"family": _TABLE["family"], "name": _TABLE["table"]}}},
        {"add": {"chain": _NAMED}}, {"delete": {"chain": _NAMED}}, {"add": {"chain": _CHAIN}},
        *[{"add": {"rule": {**_TABLE, "chain": _NAMED["name"], "expr": _expressions(rule)}}} for rule in wanted]]})


def _rules_of(chain: str) -> List[Expressions]:
    return [_usual(entry["rule"]["expr"]) for entry in json.loads(chain)["nftables"] if "rule" in entry] if chain.strip() else []


def _expressions(rule: Rule) -> Expressions:
    """The kernel asks a chain of this type about connections that it tracks; dnat makes it track them, drop alone does not."""
    verdict: Expressions = [{"dnat": {"addr": rule.upstream}}] if rule.upstream else [_NEW, {"drop": None}]
    return [_match("ip", "daddr", rule.address), _match(rule.protocol, "dport", 53), *verdict]


_NEW = {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": "new"}}


def _usual(expressions: Expressions) -> Expressions:
    """Versions of nft print the operator between a state and one of its values as ``in`` or as ``==``."""
    return [_NEW if each == {"match": {**_NEW["match"], "op": "=="}} else each for each in expressions]


def _match(protocol: str, field: str, value: Any) -> Dict[str, Any]:
    return {"match": {"op": "==", "left": {"payload": {"protocol": protocol, "field": field}}, "right": value}}


# -- what is shown of it --


def _diff(wanted: List[Rule], chain: str, loads: bool, unset: List[str]) -> Dict[str, str]:
    before, after = ([_line(each) for each in found] if loads else [] for found in (_rules_of(chain), list(map(_expressions, wanted))))
    title = ", ".join(([CHAIN] if loads else []) + unset)
    return {"before_header": title, "after_header": title,
            "before": "".join([line + "\n" for line in before + ["%s = 0" % name for name in unset]]),
            "after": "".join([line + "\n" for line in after + ["%s = 1" % name for name in unset]])}


def _line(expressions: Expressions) -> str:
    """A rule, much as nft writes it; what none of ours has as JSON."""
    return escape(" ".join(map(_word, expressions)))


def _word(expression: Dict[str, Any]) -> str:
    if expression == _NEW:
        return "ct state new"
    if expression == {"drop": None}:
        return "drop"
    if list(expression.get("dnat") or ()) == ["addr"]:
        return "dnat to %s" % expression["dnat"]["addr"]
    match = expression.get("match") or {}
    if match.get("op") == "==" and list(match["left"]) == ["payload"]:
        return "%s %s %s" % (match["left"]["payload"].get("protocol"), match["left"]["payload"].get("field"), match["right"])
    return json.dumps(expression, sort_keys=True)
