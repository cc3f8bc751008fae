# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ip and nft print, compared with what is wanted, as far as their versions differ; and how it is shown."""

from __future__ import annotations

import json

import pytest
from ansible_collections.qubes.vmconfig.plugins.module_utils._live import dns_redirect, uplink
from ansible_collections.qubes.vmconfig.plugins.module_utils._values.dns_redirect import rules

CHAIN = {"family": "ip", "table": "qubes", "name": "dnat-dns", "type": "nat", "hook": "prerouting", "prio": -100, "policy": "accept", "handle": 1}
WANTED = rules({"addresses": ["10.139.1.1"], "upstreams": [], "default_upstreams": [], "disabled": False})


def match(left, right, how="=="):
    return {"match": {"op": how, "left": left, "right": right}}


def rule(protocol, operator="in"):
    return {"rule": {"handle": 7, "expr": [match({"payload": {"protocol": "ip", "field": "daddr"}}, "10.139.1.1"),
                                           match({"payload": {"protocol": protocol, "field": "dport"}}, 53),
                                           match({"ct": {"key": "state"}}, "new", operator), {"drop": None}]}}


def printed(*entries):
    return json.dumps({"nftables": [{"metainfo": {}}, *entries]})


@pytest.mark.parametrize("operator", ["in", "=="])
def test_a_rule_is_the_same_however_nft_prints_its_operator(operator):
    assert dns_redirect.to_load(WANTED, printed({"chain": CHAIN}, rule("udp", operator), rule("tcp", operator))) is None


@pytest.mark.parametrize("entries", [
    [{"chain": CHAIN}, rule("tcp"), rule("udp")],
    [{"chain": CHAIN}, rule("udp")],
    [{"chain": CHAIN}],
    [{"chain": {**CHAIN, "policy": "drop"}}, rule("udp"), rule("tcp")],
    [{"chain": {**CHAIN, "prio": -95}}, rule("udp"), rule("tcp")],
])
def test_another_chain_is_made_anew(entries):
    loaded = json.loads(dns_redirect.to_load(WANTED, printed(*entries)))["nftables"]
    assert [(list(each), list(next(iter(each.values())))) for each in loaded] == [
        (["add"], ["table"]), (["add"], ["chain"]), (["delete"], ["chain"]), (["add"], ["chain"]), (["add"], ["rule"]), (["add"], ["rule"])]
    assert [each["add"]["rule"]["expr"] for each in loaded[4:]] == [rule(protocol)["rule"]["expr"] for protocol in ("udp", "tcp")]


def test_without_rules_no_chain_is_needed():
    assert dns_redirect.to_load([], "") is None
    assert dns_redirect.to_load([], printed({"chain": CHAIN})) is None
    assert dns_redirect.to_load([], printed({"chain": CHAIN}, rule("udp")))
    assert dns_redirect.to_load(WANTED, "")


@pytest.mark.parametrize("expressions, line", [
    (rule("udp")["rule"]["expr"], "ip daddr 10.139.1.1 udp dport 53 ct state new drop"),
    ([match({"payload": {"protocol": "tcp", "field": "dport"}}, 53), {"dnat": {"addr": "192.0.2.1"}}], "tcp dport 53 dnat to 192.0.2.1"),
    ([{"dnat": {"addr": "192.0.2.1", "port": 53}}], '{"dnat": {"addr": "192.0.2.1", "port": 53}}'),
    ([{"counter": None}, {"accept": None}], '{"counter": null} {"accept": null}'),
    ([match({"meta": {"key": "iifname"}}, "vif\x1b[31m")], '{"match": {"left": {"meta": {"key": "iifname"}}, "op": "==", "right": "vif\\u001b[31m"}}'),
    ([match({"payload": {"protocol": "ip", "field": "daddr"}}, "a\x1b")], "ip daddr a\\x1b"),
])
def test_a_rule_is_shown_on_one_line(expressions, line):
    assert dns_redirect._line(expressions) == line


def test_the_difference_of_an_interface():
    assert uplink.diff("eth0", ["link set dev eth0 up", "address replace 10.0.0.2/32 dev eth0", "address del 10.0.0.1/32 dev eth0"]) == {
        "before_header": "interface eth0", "after_header": "interface eth0", "before": "address 10.0.0.1/32 dev eth0\n",
        "after": "link dev eth0 up\naddress 10.0.0.2/32 dev eth0\n"}


def test_what_ip_prints_is_told_apart():
    link = {"ifname": "eth0", "flags": ["UP"], "address": "00:16:3e:5e:6c:00"}
    route = {"type": "1", "dst": "default", "gateway": "10.0.0.1", "dev": "eth0"}
    lines = [[link], [route, {**route, "table": "255"}, {**route, "type": "2"}], [{"dst": "10.0.0.1", "dev": "eth0", "state": ["PERMANENT"]}]]
    state = uplink.parsed("\n".join(map(json.dumps, lines)) + "\n\n")
    assert (state.links, state.routes, state.neighbours) == ([link], [route], lines[2])
    values = {"interface": "", "mac": "00:16:3E:5E:6C:00"}
    assert uplink.device(values, state) == "eth0"
    assert uplink.device(values, state._replace(links=[{**link, "ifname": "ens5"}])) == "ens5"
    assert uplink.device(values, state._replace(links=[{**link, "ifname": "ens5"}, {**link, "ifname": "macv0"}])) == ""
