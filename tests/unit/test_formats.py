# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The texts of the files that the roles render."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from ansible_collections.qubes.vmconfig.plugins.module_utils import _formats
from ansible_collections.qubes.vmconfig.plugins.module_utils._formats import dns_redirect, resolver, timezone, uplink, xkb


@pytest.mark.parametrize("module", [dns_redirect, resolver, timezone, uplink, xkb])
def test_every_text_has_its_name_once(module):
    assert all(_formats.TEXTS[name] is text for name, text in module.TEXTS.items())


@pytest.mark.parametrize("module", [dns_redirect, resolver, timezone, uplink, xkb])
def test_without_keys_there_is_nothing_to_write(module):
    assert module.files(module.wanted({}), "Debian", _formats.Machine()) == []


def test_they_need_nothing_but_the_standard_library():
    # As at boot: no site packages, no Ansible.
    folder = _formats.__path__[0]
    code = "import sys; sys.path.insert(0, %r); import _formats; assert not any('ansible' in name for name in sys.modules)" % folder.rpartition("/")[0]
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)


NETWORK = {"mac": "00:16:3e:5e:6c:00", "ip": "10.137.0.12", "prefix": 32, "gateway": "10.138.2.5"}
OWN = {"ip": "172.16.1.2", "netmask": "255.255.255.0", "gateway": "172.16.1.1"}


@pytest.mark.parametrize("config, expected", [
    ({"network": NETWORK}, {"ip": "10.137.0.12", "prefix": "32", "gateway": "10.138.2.5", "neighbours": True, "default_route": True}),
    ({"network": {**NETWORK, "prefix": 24}}, {"prefix": "24"}),
    # R2 and R3 have no qubes-mac, and their agents set one address whatever the netmask.
    ({"network": {**NETWORK, "prefix": 24, "mac": ""}}, {"prefix": "32"}),
    # A set of its own is taken whole, so nothing of IPv6 here.
    ({"network": {**NETWORK, "ip6": "fd09::c", "gateway6": "fd09::1"}, "net_config": {"00:16:3E:5E:6C:00": OWN}},
     {"ip": "172.16.1.2", "prefix": "24", "gateway": "172.16.1.1", "ip6": "", "gateway6": "", "neighbours": True}),
    ({"network": NETWORK, "net_config": {NETWORK["mac"]: {**OWN, "ip6": "fd09::c", "netmask6": 64}}}, {"ip6": "fd09::c", "prefix6": "64", "gateway6": ""}),
    ({"network": NETWORK, "net_config": {NETWORK["mac"]: {**OWN, "custom": "reboot"}}}, {"ip": "172.16.1.2", "neighbours": False}),
    ({"network": NETWORK, "net_config": {NETWORK["mac"]: {"gateway": "172.16.1.1"}}}, {"ip": "10.137.0.12", "gateway": "10.138.2.5"}),
    ({"network": NETWORK, "net_config": {"00:16:3e:5e:6c:99": OWN}}, {"ip": "10.137.0.12"}),
    ({"network": NETWORK, "services": {"disable-default-route": True}}, {"default_route": False}),
])
def test_what_the_uplink_is(config, expected):
    assert expected.items() <= uplink.wanted(config).items()


def test_who_sets_the_uplink_at_the_start():
    values = uplink.wanted({"network": NETWORK})

    def written(family="Debian", **machine):
        return [file.dest for file in uplink.files(values, family, _formats.Machine(**machine))]

    assert written() == []
    assert written(networkd=True, network_manager=True, ifupdown=True) == ["/etc/systemd/network/10-qubes-uplink.network"]
    assert written(network_manager=True, ifupdown=True)[0] == "/etc/NetworkManager/system-connections/qubes-uplink.nmconnection"
    assert written(ifupdown=True) == ["/etc/network/interfaces.d/qubes-uplink"]
    assert written("RedHat", ifupdown=True) == []


def test_a_custom_value_is_in_no_file():
    values = uplink.wanted({"network": NETWORK, "net_config": {NETWORK["mac"]: {**OWN, "custom": "reboot\n[Route]"}}})
    for machine in (_formats.Machine(networkd=True), _formats.Machine(network_manager=True), _formats.Machine(ifupdown=True)):
        texts = "".join([file.text for file in uplink.files(values, "Debian", machine)])
        assert "172.16.1.2/24" in texts and "reboot" not in texts and "fe:ff:ff:ff:ff:ff" not in texts


@pytest.mark.parametrize("operator", ["in", "=="])
def test_a_rule_is_the_same_however_nft_prints_its_operator(operator):
    values = {"addresses": ["10.139.1.1"], "upstreams": [], "default_upstreams": [], "disabled": False}

    def rule(protocol):
        def match(left, right, how="=="):
            return {"match": {"op": how, "left": left, "right": right}}

        return {"rule": {"handle": 7, "expr": [match({"payload": {"protocol": "ip", "field": "daddr"}}, "10.139.1.1"),
                                               match({"payload": {"protocol": protocol, "field": "dport"}}, 53),
                                               match({"ct": {"key": "state"}}, "new", operator), {"drop": None}]}}

    chain = {"family": "ip", "table": "qubes", "name": "dnat-dns", "type": "nat", "hook": "prerouting", "prio": -100, "policy": "accept", "handle": 1}
    assert dns_redirect.load(values, json.dumps({"nftables": [{"metainfo": {}}, {"chain": chain}, rule("udp"), rule("tcp")]})) == ""
    assert dns_redirect.load(values, json.dumps({"nftables": [{"chain": chain}, rule("tcp"), rule("udp")]}))
    assert dns_redirect.load(values, json.dumps({"nftables": [{"chain": {**chain, "policy": "drop"}}, rule("udp"), rule("tcp")]}))
