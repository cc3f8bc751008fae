# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the roles of the network and the screen make of keys, and what their templates are given."""

from __future__ import annotations

import pytest
from ansible_collections.qubes.vmconfig.plugins.module_utils._machine import Machine
from ansible_collections.qubes.vmconfig.plugins.module_utils._values import display, dns_redirect, uplink

NETWORK = {"mac": "00:16:3e:5e:6c:00", "ip": "10.137.0.12", "prefix": 32, "gateway": "10.138.2.5"}
OWN = {"ip": "172.16.1.2", "netmask": "255.255.255.0", "gateway": "172.16.1.1"}


@pytest.mark.parametrize("config, expected", [
    ({"network": NETWORK}, {"ip": "10.137.0.12", "prefix": 32, "gateway": "10.138.2.5", "neighbours": True, "default_route": True}),
    ({"network": {**NETWORK, "prefix": 24}}, {"prefix": 24}),
    # R2 and R3 have no qubes-mac, and their agents set one address whatever the netmask.
    ({"network": {**NETWORK, "prefix": 24, "mac": ""}}, {"prefix": 32}),
    # A set of its own is taken whole, so nothing of IPv6 here.
    ({"network": {**NETWORK, "ip6": "fd09::c", "gateway6": "fd09::1"}, "net_config": {"00:16:3E:5E:6C:00": OWN}},
     {"ip": "172.16.1.2", "prefix": 24, "gateway": "172.16.1.1", "ip6": "", "gateway6": "", "neighbours": True}),
    ({"network": NETWORK, "net_config": {NETWORK["mac"]: {**OWN, "ip6": "fd09::c", "netmask6": 64}}}, {"ip6": "fd09::c", "prefix6": 64, "gateway6": ""}),
    ({"network": NETWORK, "net_config": {NETWORK["mac"]: {**OWN, "custom": "reboot"}}}, {"ip": "172.16.1.2", "neighbours": False}),
    ({"network": NETWORK, "net_config": {NETWORK["mac"]: {"gateway": "172.16.1.1"}}}, {"ip": "10.137.0.12", "gateway": "10.138.2.5"}),
    ({"network": NETWORK, "net_config": {"00:16:3e:5e:6c:99": OWN}}, {"ip": "10.137.0.12"}),
    ({"network": NETWORK, "services": {"disable-default-route": True}}, {"default_route": False}),
])
def test_what_the_uplink_is(config, expected):
    assert expected.items() <= uplink.values(config).items()


@pytest.mark.parametrize("network, says", [
    ({"gateway": ""}, ["there is the address 10.137.0.12 and no gateway for it; the service disable-default-route is for an uplink without one"]),
    ({"gateway": "224.0.0.1"}, ["224.0.0.1 is no gateway that an interface can have"]),
    ({"gateway": "10.137.0.12"}, ["10.137.0.12 is the address and its gateway"]),
    ({"ip": "0.0.0.0"}, ["0.0.0.0 is no address that an interface can have"]),
    ({"ip": "127.0.0.1"}, ["127.0.0.1 is no address that an interface can have"]),
    ({"ip": "255.255.255.255"}, ["255.255.255.255 is everyone's address"]),
    ({"prefix": 0}, ["10.137.0.12 cannot have a prefix of 0 bits"]),
    ({"ip6": "::1"}, ["::1 is no address that an interface can have"]),
    ({"ip6": "ff02::1"}, ["ff02::1 is no address that an interface can have"]),
    ({"ip6": "fd09::c", "gateway6": "::ffff:10.0.0.1"}, ["::ffff:a00:1 is no gateway that an interface can have"]),
    ({"ip6": "::"}, [":: is no address that an interface can have"]),
    ({"ip6": "fd09::c", "netmask6": 129}, ["fd09::c cannot have a prefix of 129 bits"]),
    ({"gateway": "", "ip6": "::1"}, ["there is the address 10.137.0.12 and no gateway for it; the service disable-default-route is for an uplink without one",
                                     "::1 is no address that an interface can have"]),
    ({"ip6": "fd09::c"}, []),
    ({"ip": "", "gateway": "", "ip6": "fd09::c"}, []),
])
def test_what_the_kernel_would_not_take_is_refused_before(network, says):
    found = uplink.problems(uplink.values({"network": {**NETWORK, **network}}))
    assert [sentence.replace("::ffff:10.0.0.1", "::ffff:a00:1") for sentence in found] == says


@pytest.mark.parametrize("name", ["eth0; reboot", "-x", "a" * 16, "eth 0", "eth0\n"])
def test_the_name_of_an_interface_is_one(name):
    values = {**uplink.values({}), "interface": name}
    assert "expected the name of an interface, such as eth0" in "".join(uplink.problems(values))
    assert uplink.problems({**values, "interface": "enX0.7_a"}) == []


def test_the_names_of_the_uplink():
    variables = uplink.values({"network": {**NETWORK, "ip6": "FD09::000c", "gateway6": "fe80::1"}, "services": {"disable-default-route": True}})
    names = uplink.names(variables, {}, Machine())
    assert names["by_name"] == "" and uplink.names({**variables, "mac": ""}, {}, Machine())["by_name"] == "eth0"
    assert names["nets"] == [
        {"version": 4, "ip": "10.137.0.12", "prefix": 32, "gateway": "10.138.2.5", "host": "10.138.2.5/32", "anywhere": "0.0.0.0/0", "linked": True,
         "neighbour": True, "default_route": False},
        {"version": 6, "ip": "fd09::c", "prefix": 128, "gateway": "fe80::1", "host": "fe80::1/128", "anywhere": "::/0", "linked": False,
         "neighbour": True, "default_route": False},
    ]


# -- the redirect --

REDIRECTED = {"dns": ["10.139.1.1", "10.139.1.2"], "network": "10.137.0.1"}


@pytest.mark.parametrize("config, addresses, forwarded", [
    ({}, ["10.139.1.1", "10.139.1.2"], ["net.ipv4.ip_forward"]),
    ({"netvm": {**REDIRECTED, "network": ""}}, [], []),
    ({"netvm": {}}, [], []),
    # As R2 has it: keys_info makes the gateway the first of dns.
    ({"netvm": {"network": "10.137.2.0", "gateway": "10.137.2.1", "dns": ["10.137.2.1", "10.137.2.254"]}}, ["10.137.2.1", "10.137.2.254"],
     ["net.ipv4.ip_forward"]),
    ({"netvm": {**REDIRECTED, "gateway6": "fd09::1"}}, ["10.139.1.1", "10.139.1.2"], ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"]),
    ({"services": {"qubes-network": False}}, ["10.139.1.1", "10.139.1.2"], []),
    ({"vm_type": "AppVM"}, ["10.139.1.1", "10.139.1.2"], []),
    ({"vm_type": "AppVM", "services": {"qubes-network": True}}, ["10.139.1.1", "10.139.1.2"], ["net.ipv4.ip_forward"]),
])
def test_what_is_served(config, addresses, forwarded):
    variables = dns_redirect.values({"netvm": REDIRECTED, "vm_type": "ProxyVM", **config})
    assert variables["addresses"] == addresses and dns_redirect.names(variables, {}, Machine())["settings"] == forwarded


@pytest.mark.parametrize("more, expected", [
    ({"upstreams": ["192.0.2.1", "192.0.2.2", "192.0.2.3"]}, ["192.0.2.1", "192.0.2.2"]),
    # The same twice is one.
    ({"upstreams": ["192.0.2.1", "192.0.2.1", "192.0.2.2"]}, ["192.0.2.1", "192.0.2.2"]),
    ({"upstreams": ["192.0.2.1"], "default_upstreams": ["192.0.2.9"]}, ["192.0.2.1", "192.0.2.1"]),
    ({"default_upstreams": ["192.0.2.9"]}, ["192.0.2.9", "192.0.2.9"]),
    ({}, ["", ""]),
])
def test_each_address_goes_to_the_upstream_at_its_place(more, expected):
    rules = dns_redirect.names({**dns_redirect.values({"netvm": REDIRECTED}), **more}, {}, Machine())["rules"]
    assert [(rule["address"], rule["protocol"]) for rule in rules] == [(address, protocol) for address in REDIRECTED["dns"] for protocol in ("udp", "tcp")]
    assert [rule["upstream"] for rule in rules] == [upstream for upstream in expected for dummy in range(2)]
    assert dns_redirect.rules({**dns_redirect.values({"netvm": REDIRECTED}), **more, "disabled": True}) == []


# -- the screen --

MONITORS = [{"width": 1920, "height": 1080, "x": 0, "y": 0, "width_mm": 480, "height_mm": 270}, {"width": 640, "height": 480, "x": 1920, "y": 0, "output": "X"}]


def test_the_names_of_the_screen():
    names = display.names({**display.values({}), "monitors": MONITORS}, {}, Machine())
    first, second = names["monitors"]
    assert names["screen"] == {"width": 2560, "height": 1080} and names["memory"] == 2560 * 1080 * 4 // 1024 + 1 + 8100
    # The dummy driver knows the size in millimetres of the screen alone, and takes it from the first.
    assert first == {"output": "DUMMY0", "width": 1920, "height": 1080, "x": 0, "y": 0, "millimetres": [640, 270], "mode": "QB1920x1080", "clock": 124.957,
                     "horizontal": [1920, 1921, 1922, 1923], "vertical": [1080, 1081, 1082, 1083]}
    assert second["output"] == "X" and second["millimetres"] == []
    first = display.names({**display.values({}), "monitors": MONITORS, "driver": "modesetting"}, {}, Machine())["monitors"][0]
    assert first["millimetres"] == [480, 270] and first["mode"] == "1920x1080"
    assert display.names(display.values({}), {}, Machine()) == {"monitors": [], "screen": {"width": 0, "height": 0}, "memory": 0}
