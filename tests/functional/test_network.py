# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The roles uplink and dns_redirect on machines of their own: with the real ip and nft, and queries that a real resolver answers."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import time

import pytest
import starting
from ansible_collections.qubes.vmconfig.plugins.module_utils._values import dns_redirect, uplink
from live import files, missing, set_all
from machines import Machine, cable, plugged
from playing import environment, play, run

MAC = "00:16:3e:5e:6c:00"
KEYS = {"mac": MAC, "ip": "10.137.0.12", "prefix": 32, "gateway": "10.138.2.5"}
KEYS6 = {**KEYS, "ip6": "fd09:24ef:4179::a89:c", "gateway6": "fd09:24ef:4179::a8a:205"}
# What the agent of R4 does for these.
AGENT = [
    "address replace 10.137.0.12/255.255.255.255 dev eth0",
    "neighbour replace to 10.138.2.5 dev eth0 lladdr fe:ff:ff:ff:ff:ff nud permanent",
    "address replace fd09:24ef:4179::a89:c/128 dev eth0",
    "neighbour replace to fd09:24ef:4179::a8a:205 dev eth0 lladdr fe:ff:ff:ff:ff:ff nud permanent",
    "link set dev eth0 group 1",
    "link set dev eth0 up",
    "route replace to unicast 10.138.2.5 dev eth0 scope link",
    "route replace to unicast default via 10.138.2.5 dev eth0 onlink",
    "route replace to unicast fd09:24ef:4179::a8a:205/128 dev eth0 scope link",
    "route replace to unicast ::/0 via fd09:24ef:4179::a8a:205 dev eth0 onlink",
]
REDIRECTED = {"dns": ["10.139.1.1", "10.139.1.2"], "network": "10.137.0.1"}


@pytest.fixture(name="machine")
def fresh_machine(tmp_path):
    machine = Machine(tmp_path)
    yield machine
    machine.stop()


# -- the uplink, with ip --


def set_uplink(machine, network, services=None, **more):
    """Sets it as the role does, and sees that nothing is left to do. What was done, a line each."""
    return set_to(machine, {**uplink.values({"network": network, "services": services or {}}), **more})


def set_to(machine, values):
    assert uplink.problems(values) == []
    done = set_all(machine, "uplink", values)
    assert (done.error, missing(machine, "uplink", values).commands) == ("", [])
    return done.commands


def routes(machine, version="-4", table="main"):
    """What ip says of the routes, without what marks them."""
    lines = machine.run("ip", version, "route", "show", "table", table).splitlines()
    return sorted(re.sub(r" (proto \S+|pref medium|linkdown|metric 1024)", "", line).strip() for line in lines if " proto kernel " not in line)


def addresses(machine, name, version="-4"):
    found, = json.loads(machine.run("ip", "-json", version, "address", "show", "dev", name)) or [{"addr_info": []}]
    return sorted("%s/%d" % (entry["local"], entry["prefixlen"]) for entry in found.get("addr_info", []) if entry["scope"] == "global")


def neighbours(machine, name):
    lines = machine.run("ip", "neighbour", "show", "dev", name, "nud", "permanent").splitlines()
    return sorted(line.split()[0] for line in lines if "lladdr fe:ff:ff:ff:ff:ff" in line)


def test_the_interface_with_the_mac_becomes_the_uplink(machine):
    plugged(machine, "eth0")
    plugged(machine, "ens5", MAC)
    before = machine.run("ip", "address", "show", "dev", "eth0")
    assert set_uplink(machine, KEYS6)
    assert addresses(machine, "ens5") == ["10.137.0.12/32"] and addresses(machine, "ens5", "-6") == ["fd09:24ef:4179::a89:c/128"]
    assert routes(machine) == ["10.138.2.5 dev ens5 scope link src 10.137.0.12", "default via 10.138.2.5 dev ens5 src 10.137.0.12 onlink"]
    assert [re.sub(" src .*", "", line) for line in routes(machine, "-6")] == [
        "default via fd09:24ef:4179::a8a:205 dev ens5", "fd09:24ef:4179::a8a:205 dev ens5"]
    assert neighbours(machine, "ens5") == ["10.138.2.5", "fd09:24ef:4179::a8a:205"]
    assert " group 1 " in machine.run("ip", "-N", "link", "show", "dev", "ens5") and ",UP" in machine.run("ip", "link", "show", "dev", "ens5")
    assert machine.run("ip", "address", "show", "dev", "eth0") == before


def test_what_the_agent_set_is_right(machine):
    plugged(machine, "eth0", MAC)
    machine.ip(*AGENT)
    assert set_uplink(machine, KEYS6) == []


@pytest.mark.parametrize("broken, lines", [
    # With the last address the kernel forgets all else of that version of IP.
    ("address del 10.137.0.12/32 dev eth0", 4),
    ("neighbour del 10.138.2.5 dev eth0", 1),
    ("link set dev eth0 group 0", 1),
    ("route del 10.138.2.5 dev eth0", 1),
    ("route del default via 10.138.2.5 dev eth0", 1),
    ("route replace default via 10.138.2.99 dev eth0 onlink", 1),
    ("address del fd09:24ef:4179::a89:c/128 dev eth0", 1),
    ("link set dev eth0 down", 8),
])
def test_only_what_is_missing_is_set(machine, broken, lines):
    plugged(machine, "eth0", MAC)
    machine.ip(*AGENT)
    machine.ip(broken)
    assert len(set_uplink(machine, KEYS6)) == lines
    assert "default via 10.138.2.5 dev eth0 onlink" in [line.replace(" src 10.137.0.12", "") for line in routes(machine)]


def test_an_earlier_uplink_goes_and_what_others_set_stays(machine):
    plugged(machine, "eth0", MAC)
    set_uplink(machine, KEYS6)
    machine.ip("address add 192.0.2.7/24 dev eth0", "route add 198.51.100.0/24 via 192.0.2.1 dev eth0", "address add 10.137.0.77/32 dev eth0",
               "neighbour add 192.0.2.9 lladdr 02:00:00:00:00:09 dev eth0 nud permanent")
    set_uplink(machine, {**KEYS6, "ip": "10.137.0.13", "gateway": "10.138.9.9", "ip6": "fd09:24ef:4179::a89:d"})
    assert addresses(machine, "eth0") == ["10.137.0.13/32", "10.137.0.77/32", "192.0.2.7/24"]
    assert addresses(machine, "eth0", "-6") == ["fd09:24ef:4179::a89:d/128"]
    assert neighbours(machine, "eth0") == ["10.138.9.9", "fd09:24ef:4179::a8a:205"]
    assert "192.0.2.9" in machine.run("ip", "neighbour", "show", "nud", "permanent")
    assert routes(machine) == ["10.138.9.9 dev eth0 scope link src 10.137.0.13", "198.51.100.0/24 via 192.0.2.1 dev eth0",
                               "default via 10.138.9.9 dev eth0 src 10.137.0.13 onlink"]


def test_the_same_address_with_another_prefix_is_an_earlier_one(machine):
    plugged(machine, "eth0", MAC)
    machine.ip("address add 10.137.0.12/24 dev eth0", "address add fd09:24ef:4179::a89:c/64 dev eth0 nodad")
    set_uplink(machine, KEYS6)
    assert addresses(machine, "eth0") == ["10.137.0.12/32"] and addresses(machine, "eth0", "-6") == ["fd09:24ef:4179::a89:c/128"]


def test_a_default_route_of_another_interface_stays(machine):
    plugged(machine, "eth0", MAC)
    plugged(machine, "tun0")
    machine.ip("address add 10.8.0.2/24 dev tun0", "link set dev tun0 up", "route add default via 10.8.0.1 dev tun0",
               "route add ::/0 dev tun0")
    set_uplink(machine, KEYS6)
    assert [line for line in routes(machine) + routes(machine, "-6") if "default" in line] == ["default via 10.8.0.1 dev tun0", "default dev tun0"]
    # One that comes after ours does not stand in its way.
    machine.ip("route del default via 10.8.0.1 dev tun0", "route add default via 10.8.0.1 dev tun0 metric 600")
    assert len(set_uplink(machine, KEYS6)) == 1


def test_without_a_default_route(machine):
    plugged(machine, "eth0", MAC)
    machine.ip(*AGENT)
    set_uplink(machine, KEYS6, {"disable-default-route": True})
    assert routes(machine) == ["10.138.2.5 dev eth0 scope link"] and routes(machine, "-6") == ["fd09:24ef:4179::a8a:205 dev eth0"]


def test_a_gateway_with_an_address_of_the_link_gets_no_route(machine):
    plugged(machine, "eth0", MAC)
    set_uplink(machine, {**KEYS6, "gateway6": "fe80::1"})
    assert [re.sub(" src .*", "", line) for line in routes(machine, "-6")] == ["default via fe80::1 dev eth0"]


@pytest.mark.parametrize("network, services, expected", [
    # qubesd writes no gateway where the qube has the feature ipv6 and its netvm has not.
    ({**KEYS6, "gateway6": ""}, {}, [["10.137.0.12/32"], ["fd09:24ef:4179::a89:c/128"], ["10.138.2.5", "default"], [], ["10.138.2.5"]]),
    ({**KEYS6, "gateway6": "", "netmask6": 64}, {}, [["10.137.0.12/32"], ["fd09:24ef:4179::a89:c/64"], ["10.138.2.5", "default"], [], ["10.138.2.5"]]),
    ({"mac": MAC, "ip6": KEYS6["ip6"]}, {}, [[], ["fd09:24ef:4179::a89:c/128"], [], [], []]),
    ({**KEYS6, "ip6": ""}, {}, [["10.137.0.12/32"], [], ["10.138.2.5", "default"], [], ["10.138.2.5"]]),
    ({**KEYS, "gateway": ""}, {"disable-default-route": True}, [["10.137.0.12/32"], [], [], [], []]),
    ({**KEYS6, "gateway": ""}, {"disable-default-route": True},
     [["10.137.0.12/32"], ["fd09:24ef:4179::a89:c/128"], [], ["fd09:24ef:4179::a8a:205"], ["fd09:24ef:4179::a8a:205"]]),
    ({**KEYS6, "gateway": "", "gateway6": ""}, {"disable-default-route": True}, [["10.137.0.12/32"], ["fd09:24ef:4179::a89:c/128"], [], [], []]),
])
def test_a_part_that_is_missing_does_not_take_the_others_with_it(machine, network, services, expected):
    plugged(machine, "eth0", MAC)
    assert set_uplink(machine, network, services)
    to = [[line.split()[0] for line in routes(machine, version) if "dev eth0" in line and "/" not in line.split()[0]] for version in ("-4", "-6")]
    assert [addresses(machine, "eth0"), addresses(machine, "eth0", "-6"), *to, neighbours(machine, "eth0")] == expected
    assert " group 1 " in machine.run("ip", "-N", "link", "show", "dev", "eth0")


def test_a_gateway_that_went_takes_its_routes_with_it(machine):
    plugged(machine, "eth0", MAC)
    set_uplink(machine, KEYS6)
    set_uplink(machine, {**KEYS6, "gateway6": ""})
    assert addresses(machine, "eth0", "-6") == ["fd09:24ef:4179::a89:c/128"] and routes(machine, "-6") == [] and neighbours(machine, "eth0") == ["10.138.2.5"]
    set_uplink(machine, {**KEYS6, "gateway": ""}, {"disable-default-route": True})
    assert addresses(machine, "eth0") == ["10.137.0.12/32"] and routes(machine) == []
    set_uplink(machine, KEYS6)
    assert len(routes(machine)) == len(routes(machine, "-6")) == 2


@pytest.mark.parametrize("setting", ["net.ipv6.conf.eth0.disable_ipv6", "net.ipv6.conf.all.disable_ipv6"])
def test_an_interface_without_ipv6_gets_ipv4_and_it_is_said(machine, setting):
    plugged(machine, "eth0", MAC)
    machine.run("sysctl", "-w", setting + "=1")
    assert set_uplink(machine, KEYS6)
    assert addresses(machine, "eth0") == ["10.137.0.12/32"] and len(routes(machine)) == 2 and routes(machine, "-6") == []
    values = uplink.values({"network": KEYS6})
    said = missing(machine, "uplink", values).left
    assert said == "eth0 has IPv6 switched off (net.ipv6.conf.eth0.disable_ipv6), so fd09:24ef:4179::a89:c is not set"
    assert missing(machine, "uplink", uplink.values({"network": KEYS})).left == ""
    machine.run("sysctl", "-w", setting + "=0")
    assert missing(machine, "uplink", values).left == ""
    assert set_uplink(machine, KEYS6) and addresses(machine, "eth0", "-6") == ["fd09:24ef:4179::a89:c/128"]


def test_a_kernel_without_ipv6_has_no_such_setting(machine):
    plugged(machine, "eth0", MAC)
    # As it looks without IPv6: the folder is not there.
    machine.run("mount", "-t", "tmpfs", "none", "/proc/sys/net/ipv6")
    assert ":" not in "".join(set_uplink(machine, KEYS6)).replace("fe:ff:ff:ff:ff:ff", "")
    assert addresses(machine, "eth0") == ["10.137.0.12/32"] and missing(machine, "uplink", uplink.values({"network": KEYS6})).left


def test_a_set_of_its_own_wins_and_a_custom_one_has_no_neighbour(machine):
    plugged(machine, "eth0", MAC)
    machine.ip(*AGENT)
    own = {"ip": "172.16.1.2", "netmask": "255.255.255.0", "gateway": "172.16.1.1", "custom": "touch /etc/owned; ip link set dev eth0 down"}
    values = uplink.values({"network": {**KEYS6, "mac": MAC.upper()}, "net_config": {MAC: own}})
    set_to(machine, values)
    assert "172.16.1.2/24" in addresses(machine, "eth0") and "172.16.1.1" not in neighbours(machine, "eth0")
    assert "default via 172.16.1.1 dev eth0 src 172.16.1.2 onlink" in routes(machine)
    assert "owned" not in machine.run("ls", "/etc")


def test_a_release_without_qubes_mac_means_eth0_and_one_address(machine):
    plugged(machine, "eth0")
    set_uplink(machine, {"ip": "10.137.2.12", "prefix": 24, "gateway": "10.137.2.1"})
    assert addresses(machine, "eth0") == ["10.137.2.12/32"]


def test_which_interface_it_is_is_not_guessed(machine):
    plugged(machine, "ens5", MAC)
    machine.run("ip", "link", "add", "macv0", "link", "ens5", "address", MAC, "type", "macvlan")
    values = uplink.values({"network": KEYS})
    before = machine.state()
    for more, said in (({}, "no interface, or more than one, has the MAC address %s, and there is no eth0" % MAC),
                       ({"interface": "eth7"}, "there is no interface 'eth7'"),
                       ({"mac": "00:16:3e:5e:6c:99"}, "no interface, or more than one, has the MAC address 00:16:3e:5e:6c:99, and there is no eth0"),
                       ({"mac": ""}, "there is no eth0")):
        assert set_all(machine, "uplink", {**values, **more}).error == said + ". Nothing was set; uplink_interface names the interface"
    assert machine.state() == before
    assert set_all(machine, "uplink", {**values, "interface": "ens5"}).interface == "ens5"


# -- the redirect, with nft and a resolver that answers --


def redirect(config, **more):
    return {**dns_redirect.values({"netvm": REDIRECTED, "vm_type": "ProxyVM", **config}), **more}


def rules(machine):
    """What nft says of the chain's rules."""
    lines = machine.run("nft", "list", "chain", "ip", "qubes", "dnat-dns").splitlines()
    return [line.strip() for line in lines if " dport " in line]


def load(machine, values):
    """Loads it as the role does, and sees that nothing is left to do."""
    done = set_all(machine, "dns_redirect", values)
    assert done.error == "" and missing(machine, "dns_redirect", values).load is None
    return done.load


@pytest.mark.parametrize("given, expected", [
    (["192.0.2.1", "192.0.2.2", "192.0.2.3"], ["10.139.1.1 udp 192.0.2.1", "10.139.1.1 tcp 192.0.2.1", "10.139.1.2 udp 192.0.2.2", "10.139.1.2 tcp 192.0.2.2"]),
    (["192.0.2.1"], ["10.139.1.1 udp 192.0.2.1", "10.139.1.1 tcp 192.0.2.1", "10.139.1.2 udp 192.0.2.1", "10.139.1.2 tcp 192.0.2.1"]),
    ([], ["10.139.1.1 udp", "10.139.1.1 tcp", "10.139.1.2 udp", "10.139.1.2 tcp"]),
])
def test_each_address_goes_to_the_upstream_at_its_place(machine, given, expected):
    others = "chain custom-dnat { ip daddr 192.0.2.99 accept; }; chain dnat-dns { type nat hook prerouting priority dstnat + 5; udp dport 1 drop; };"
    machine.run("nft", "table ip qubes { %s }" % others)
    assert load(machine, redirect({}, upstreams=given))
    assert [re.sub("ip daddr | dport 53|dnat to |ct state new drop", "", line).strip() for line in rules(machine)] == expected
    assert "type nat hook prerouting priority dstnat; policy accept;" in machine.run("nft", "list", "chain", "ip", "qubes", "dnat-dns")
    assert "ip daddr 192.0.2.99 accept" in machine.run("nft", "list", "chain", "ip", "qubes", "custom-dnat")


def test_what_the_agent_loaded_is_right(machine):
    lines = ["add rule ip qubes dnat-dns ip daddr 10.139.1.%d %s dport 53 dnat to 192.0.2.%d" % (place, protocol, place)
             for place in (1, 2) for protocol in ("udp", "tcp")]
    machine.run("nft", "-f", "-", stdin="\n".join(["add table ip qubes", "add chain ip qubes dnat-dns { type nat hook prerouting priority dstnat; }", *lines]))
    values = redirect({}, upstreams=["192.0.2.1", "192.0.2.2"])
    assert load(machine, values) is None
    machine.run("nft", "add rule ip qubes dnat-dns udp dport 5353 drop")
    assert load(machine, values)


def test_a_service_that_is_off_leaves_no_rule(machine):
    off = redirect({"services": {"disable-dns-server": True}}, upstreams=["192.0.2.1"])
    assert load(machine, off) is None
    load(machine, redirect({}, upstreams=["192.0.2.1"]))
    assert load(machine, off) and rules(machine) == []


@pytest.mark.parametrize("there, expected", [
    ({"/etc/resolv.conf": "nameserver 192.0.2.1\nnameserver fd09::1\n  nameserver 192.0.2.2\n#nameserver 192.0.2.3\nsearch x\nnameserver 999.0.0.1\n"},
     ["192.0.2.1", "192.0.2.2"]),
    ({"/etc/resolv.conf": "nameserver 127.0.0.53\n", "/run/systemd/resolve/resolv.conf": "# x\nnameserver 192.0.2.7\n"}, ["192.0.2.7"]),
    ({"/etc/resolv.conf": "nameserver 127.0.0.1\nnameserver 192.0.2.2\n", "/run/systemd/resolve/resolv.conf": "nameserver 192.0.2.7\n"}, ["192.0.2.2"]),
    ({"/etc/resolv.conf": "nameserver 127.0.0.1\n", "/run/NetworkManager/no-stub-resolv.conf": "nameserver 192.0.2.8\n"}, ["192.0.2.8"]),
    ({"/etc/resolv.conf": "nameserver 127.0.0.1\n"}, []),
    ({}, []),
])
def test_the_upstreams_are_what_the_machine_uses(machine, there, expected):
    for path, text in there.items():
        machine.put(path, text)
    values = redirect({"netvm": {**REDIRECTED, "gateway6": "fd09::1"}}, default_upstreams=["192.0.2.9"])
    found = missing(machine, "dns_redirect", values)
    assert (found.upstreams, found.unset) == (expected, ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"])
    assert missing(machine, "dns_redirect", {**values, "upstreams": ["192.0.2.5"]}).upstreams == ["192.0.2.5"]
    machine.run("sysctl", "-w", "net.ipv4.ip_forward=1")
    assert set_all(machine, "dns_redirect", values).unset == ["net.ipv6.conf.all.forwarding"]
    assert machine.run("sysctl", "-n", "net.ipv6.conf.all.forwarding").split() == ["1"]


ASK = """
import socket, struct, sys
kind, server = sys.argv[1:]
query = struct.pack("!6H", 77, 0x100, 1, 0, 0, 0) + b"\\x04name\\x04test\\x00" + struct.pack("!2H", 1, 1)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM) as sock:
    sock.settimeout(0.7)
    sock.connect((server, 53))
    sock.sendall(query if kind == "udp" else struct.pack("!H", len(query)) + query)
    answer = sock.recv(512)
print(socket.inet_ntoa(answer[-4:]))
"""


@pytest.fixture(name="netvm")
def a_netvm(machine):
    """A netvm between a client and two resolvers that answer differently."""
    for name in ("client", "upstream"):
        machine.run("ip", "netns", "add", name)
    cable(machine, "vif1.0", "client", "eth0")
    cable(machine, "eth0", "upstream", "eth0", MAC)
    machine.ip("address add 10.137.0.1/32 dev vif1.0", "link set vif1.0 up", "route add 10.137.0.9 dev vif1.0",
               "address add 192.0.2.100/24 dev eth0", "link set eth0 up")
    machine.ip("address add 10.137.0.9/32 dev eth0", "link set eth0 up", "route add 10.137.0.1 dev eth0", "route add default via 10.137.0.1",
               beside="client")
    machine.ip("link set lo up", "address add 192.0.2.1/24 dev eth0", "address add 192.0.2.2/24 dev eth0", "link set eth0 up",
               "route add default via 192.0.2.100", beside="upstream")
    machine.run("sysctl", "-w", "net.ipv4.ip_forward=1")
    with resolver(machine, "192.0.2.1", "198.51.100.1"), resolver(machine, "192.0.2.2", "198.51.100.2"):
        yield machine


@contextlib.contextmanager
def resolver(machine, address, answer):
    """A resolver behind the netvm, with an answer of its own."""
    process = machine.start(
        "ip", "netns", "exec", "upstream", "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--pid-file=", "--no-resolv", "--no-hosts", "--bind-interfaces",
        "--except-interface=lo", "--listen-address=" + address, "--address=/name.test/" + answer)
    try:
        end = time.monotonic() + 10
        while not machine.run("ip", "netns", "exec", "upstream", "ss", "-Hltn", "src", address, "sport", "=", "53"):
            assert process.poll() is None and time.monotonic() < end, process.communicate()[0]
            time.sleep(0.02)
        yield
    finally:
        process.kill()
        process.communicate()


def ask(machine, kind, server):
    """What a client gets for an answer, or nothing."""
    return machine.run("ip", "netns", "exec", "client", sys.executable, "-c", ASK, kind, server, check=False).strip()


@pytest.mark.parametrize("kind", ["udp", "tcp"])
def test_queries_of_a_client_are_answered_by_the_upstreams(netvm, kind):
    assert ask(netvm, kind, "192.0.2.1") == "198.51.100.1"
    assert ask(netvm, kind, "10.139.1.1") == ""
    load(netvm, redirect({}, upstreams=["192.0.2.1", "192.0.2.2"]))
    assert [ask(netvm, kind, server) for server in REDIRECTED["dns"]] == ["198.51.100.1", "198.51.100.2"]
    load(netvm, redirect({}, upstreams=["192.0.2.2"]))
    assert [ask(netvm, kind, server) for server in REDIRECTED["dns"]] == ["198.51.100.2", "198.51.100.2"]


@pytest.mark.parametrize("kind", ["udp", "tcp"])
def test_without_an_upstream_queries_are_dropped(netvm, kind):
    # Not only unanswered: here they would reach a resolver that has the address.
    netvm.run("ip", "-netns", "upstream", "address", "add", "10.139.1.1/32", "dev", "eth0")
    netvm.ip("route add 10.139.1.1 via 192.0.2.1")
    with resolver(netvm, "10.139.1.1", "198.51.100.3"):
        assert ask(netvm, kind, "10.139.1.1") == "198.51.100.3"
        load(netvm, redirect({}))
        assert ask(netvm, kind, "10.139.1.1") == ""
        load(netvm, redirect({"services": {"disable-dns-server": True}}))
        assert ask(netvm, kind, "10.139.1.1") == "198.51.100.3"


# -- the roles, each host a machine --

SERVED = {"qubes-netvm-network": "10.137.0.12", "qubes-netvm-gateway": "10.137.0.12", "qubes-netvm-primary-dns": "10.139.1.1",
          "qubes-netvm-secondary-dns": "10.139.1.2", "qubes-netvm-gateway6": "fd09::1"}
R4 = {"type": "AppVM", "qubes-vm-type": "ProxyVM", "qubes-vm-persistence": "full", "qubes-mac": MAC, "qubes-ip": "10.137.0.12",
      "qubes-netmask": "255.255.255.255", "qubes-gateway": "10.138.2.5", "qubes-ip6": KEYS6["ip6"], "qubes-gateway6": KEYS6["gateway6"]}
NONE = {"qubes-vm-type": "AppVM", "qubes-vm-persistence": "full"}
NETWORKD = "/etc/systemd/system/multi-user.target.wants/systemd-networkd.service"
RULES = "/etc/qubes-vmconfig/dns-redirect.nft"
AGENT_IS_THERE = "/usr/lib/qubes/init/functions"


class Case:
    """A host: the keys that it sees, its interface, files that are there, and variables; or what the message says of a value."""

    def __init__(self, keys, interface="eth0", files=(), refused="", again=False, **variables):
        self.keys, self.interface, self.files, self.refused, self.again, self.variables = keys, interface, files, refused, again, variables


CASES = {
    "serves": Case({**R4, **SERVED}, "ens5", [NETWORKD], again=True),
    "agent": Case({**R4, **SERVED}, files=[NETWORKD, AGENT_IS_THERE]),
    "taken": Case({**R4, **SERVED}, files=[NETWORKD, AGENT_IS_THERE], vmconfig_take_over=True),
    # At each start too, when the machine cannot be asked for its resolvers; now it can, and the key that says them does not matter.
    "both": Case({**R4, **SERVED, "qubes-primary-dns": "10.139.1.1; reboot"}, "ens5", [NETWORKD], again=True, vmconfig_apply="both",
                 dns_redirect_default_upstreams=["192.0.2.9"]),
    "removed": Case(NONE),
    "resolver": Case({**NONE, **SERVED, "qubes-netvm-primary-dns": "10.139.1.1\nnameserver 6.6.6.6"},
                     refused="key qubes-netvm-primary-dns: the value '10.139.1.1\\nnameserver 6.6.6.6' is refused"),
    # Both have the address, and neither is eth0; and nft does not take away a chain that another one leads to.
    "guess": Case({**R4, **SERVED}, "ens5", [NETWORKD], refused="no interface, or more than one, has the MAC address %s, and there is no eth0" % MAC),
    "busy": Case({**NONE, **SERVED}, refused="nft says: "),
}
REFUSED = [name for name, case in CASES.items() if case.refused]
CHECKED = ["serves", "agent", *REFUSED]


class Round:
    """What a run said, and how the machines were after it."""

    def __init__(self, done, states):
        self.code, self.text, self.states = done.returncode, done.stdout.decode(), states

    def changes(self, host):
        """The tasks that changed something, with their items."""
        found, task = [], ""
        for line in self.text.splitlines():
            task = line.strip("* ") if line.startswith("TASK [") else task
            match = re.match(r"changed: \[%s\](.*)" % host, line)
            if match:
                found.append(task + match.group(1))
        return found

    def refusal(self, host):
        return "".join(re.findall(r"(?m)^fatal: \[%s\]: FAILED! => (.*)$" % host, self.text))


@pytest.fixture(name="played", scope="module")
def all_cases(tmp_path_factory):
    """Check mode, the run, and the same again, with a look at everything after each."""
    folder = tmp_path_factory.mktemp("network")
    machines = {name: begun(folder, name, case) for name, case in CASES.items()}
    (folder / "store.json").write_text(json.dumps({name: case.keys for name, case in CASES.items()}))
    (folder / "play.yml").write_text(json.dumps([{"name": "Set the network", "hosts": "all", "gather_facts": False, "roles": [
        {"role": "qubes.vmconfig.uplink"}, {"role": "qubes.vmconfig.dns_redirect"}]}]))
    inventory = {"hosts": {name: {"ansible_python_interpreter": machines[name].python, "vmconfig_qube": name, **case.variables}
                           for name, case in CASES.items()},
                 "vars": {"vmconfig_store": "file://%s/store.json" % folder, "vmconfig_family": "Debian"}}

    def played(*args):
        done = run(folder, "play.yml", inventory, args, environment(ANSIBLE_FORKS="4"))
        return Round(done, {name: machine.state() for name, machine in machines.items()})

    again = [name for name, case in CASES.items() if case.again]
    before = {name: machine.settled() for name, machine in machines.items()}
    yield machines, before, played("--check", "--diff", "--limit", ",".join(CHECKED)), played(), played("--limit", ",".join(again))
    for machine in machines.values():
        machine.stop()


def begun(folder, name, case):
    machine = Machine(folder, name)
    # As they are on every Debian.
    machine.run("mkdir", "-p", "/etc/systemd/network", "/etc/systemd/system/multi-user.target.wants", "/etc/sysctl.d", "/etc/udev/rules.d")
    plugged(machine, case.interface, MAC)
    for path in case.files:
        machine.put(path)
    machine.put("/etc/resolv.conf", "nameserver 192.0.2.1\n")
    # A change that is not ours to make, in the table that is not ours alone.
    machine.run("nft", "table ip qubes { chain custom-dnat { ip daddr 192.0.2.99 accept; }; }")
    if name == "guess":
        machine.run("ip", "link", "add", "macv0", "link", "ens5", "address", MAC, "type", "macvlan")
    if name == "busy":
        machine.run("nft", "table ip qubes { chain dnat-dns { }; chain leads { jump dnat-dns; }; }")
    if name == "removed":
        machine.ip(*AGENT)
        load(machine, redirect({}, upstreams=["192.0.2.1"]))
        machine.put("/etc/systemd/network/10-qubes-uplink.network", "# from before\n")
    return machine


@pytest.mark.long
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_changes_nothing(played, name):
    dummy, before, checked, ran, dummy = played
    for each in (checked, ran):
        assert CASES[name].refused in json.loads(each.refusal(name))["msg"]
        assert each.states[name] == before[name]


@pytest.mark.long
@pytest.mark.parametrize("name", ["serves", "agent"])
def test_check_mode_tells_the_same_and_changes_nothing(played, name):
    dummy, before, checked, ran, dummy = played
    assert checked.states[name] == before[name]
    assert checked.changes(name) == ran.changes(name)
    assert bool(ran.changes(name)) == (ran.states[name] != before[name])


@pytest.mark.long
def test_the_second_run_changes_nothing(played):
    dummy, dummy, dummy, ran, again = played
    assert again.code == 0 and re.findall("changed=([0-9]+)", again.text) == ["0"] * len([case for case in CASES.values() if case.again]), again.text
    for name, case in CASES.items():
        assert not case.again or again.states[name] == ran.states[name]


@pytest.mark.long
@pytest.mark.parametrize("name", ["agent", "removed"])
def test_what_is_the_agents_or_has_no_key_stays(played, name):
    dummy, before, dummy, ran, dummy = played
    assert ran.changes(name) == [] and ran.states[name] == before[name]


@pytest.mark.long
def test_what_is_left_to_the_agent_is_said(played):
    dummy, dummy, checked, ran, dummy = played
    for each in (checked, ran):
        said = " ".join(each.text.split())
        assert "agent: Left to the Qubes agent, and set here with vmconfig_take_over: link set dev eth0 group 1; " in said
        assert "agent: Left to the Qubes agent, and set here with vmconfig_take_over: chain dnat-dns, net.ipv4.ip_forward, net.ipv6.conf.all.forwarding" in said


@pytest.mark.long
@pytest.mark.parametrize("name, interface", [("serves", "ens5"), ("taken", "eth0"), ("both", "ens5")])
def test_the_network_is_as_the_keys_say(played, name, interface):
    machine = played[0][name]
    assert addresses(machine, interface) == ["10.137.0.12/32"] and neighbours(machine, interface) == [KEYS["gateway"], KEYS6["gateway6"]]
    assert routes(machine) == ["10.138.2.5 dev %s scope link src 10.137.0.12" % interface, "default via 10.138.2.5 dev %s src 10.137.0.12 onlink" % interface]
    assert len(rules(machine)) == 4 and all(line.endswith("dnat to 192.0.2.1") for line in rules(machine))
    assert "192.0.2.99 accept" in machine.run("nft", "list", "chain", "ip", "qubes", "custom-dnat")
    assert machine.run("sysctl", "-n", "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding").split() == ["1", "1"]


@pytest.mark.long
def test_what_is_kept_for_the_next_start_does_the_same(played):
    machine = played[0]["serves"]
    rules_now = rules(machine)
    machine.run("nft", "flush", "ruleset")
    machine.run("nft", "-c", "-f", RULES)
    machine.run("nft", "-f", RULES)
    assert rules(machine) == rules_now
    machine.run("sysctl", "-w", "net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0")
    machine.run("sysctl", "-p", "/etc/sysctl.d/81-qubes-vmconfig.conf")
    assert machine.run("sysctl", "-n", "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding").split() == ["1", "1"]
    unit = "/etc/systemd/system/multi-user.target.wants/qubes-vmconfig-dns-redirect.service"
    assert machine.run("readlink", "-f", unit).strip() == "/etc/systemd/system/qubes-vmconfig-dns-redirect.service"
    # Offline; it says nothing of a unit that is good, but may miss others that this one names.
    assert "qubes-vmconfig" not in machine.run("sh", "-c", 'SYSTEMD_UNIT_PATH=/etc/systemd/system: systemd-analyze verify --man=no "$1" 2>&1', "sh", unit)


@pytest.mark.long
def test_at_a_start_what_was_given_counts(played):
    machine = played[0]["both"]
    said = json.loads(machine.run("cat", "/usr/lib/qubes-vmconfig/play.json"))["roles"]
    assert said["dns_redirect"]["variables"] == {"default_upstreams": ["192.0.2.9"], "upstreams": []}
    assert "dnat to 192.0.2.1\n" in machine.run("cat", RULES)


@pytest.mark.long
def test_the_files_are_those_of_the_templates(played):
    machine = played[0]["serves"]
    for file in files("uplink", uplink.values({"network": KEYS6}), networkd=True):
        assert machine.run("cat", file.dest) == file.text
        assert machine.run("stat", "-c", "%a", file.dest).strip() == file.mode.lstrip("0")


# -- the modules by themselves --


@pytest.mark.long
def test_a_module_takes_what_is_given_before_what_the_keys_say(machine, tmp_path):
    plugged(machine, "ens5", MAC)
    machine.put("/etc/resolv.conf", "nameserver 192.0.2.1\n")
    (tmp_path / "store.json").write_text(json.dumps({"netvm": {**R4, **SERVED}}))
    host = {"ansible_connection": "local", "ansible_python_interpreter": machine.python, "vmconfig_qube": "netvm",
            "vmconfig_store": "file://%s/store.json" % tmp_path, "vmconfig_family": "Debian", "uplink_prefix": "24"}
    given = {"qubes.vmconfig.uplink_set": {"ip": "10.137.0.77", "gateway6": ""}}
    redirected = {"qubes.vmconfig.dns_redirect_set": {"upstreams": ["192.0.2.7"], "forward": "no"}}
    played = play(tmp_path, {
        "seen": {"qubes.vmconfig.uplink_set": {}, "check_mode": True},
        "given": given,
        "again": given,
        "unknown": {"qubes.vmconfig.uplink_set": {"speed": 3}},
        "junk": {"qubes.vmconfig.uplink_set": {"ip": "10.0.0.1; reboot"}},
        "below": {"qubes.vmconfig.uplink_set": {}, "vars": {"vmconfig_destdir": str(tmp_path / "image")}},
        "at_the_start": {"qubes.vmconfig.dns_redirect_set": {}, "vars": {"vmconfig_apply": "boot"}},
        "redirected": redirected,
        "redirected_again": redirected,
        "needless": {"qubes.vmconfig.dns_redirect_set": {"default_upstreams": ["192.0.2.8"]}},
    }, hosts={"netvm": host})
    results = played.results
    assert results["seen"]["changed"] and "address replace 10.137.0.12/24 dev ens5" in results["seen"]["commands"], played.text
    assert results["given"]["changed"] and addresses(machine, "ens5") == ["10.137.0.77/24"] and routes(machine, "-6") == [], played.text
    assert not results["again"]["changed"] and results["again"]["commands"] == [] and results["again"]["interface"] == "ens5"
    assert "the role has no variable 'uplink_speed'" in results["unknown"]["msg"]
    assert "the value '10.0.0.1; reboot' is refused" in results["junk"]["msg"]
    assert results["below"]["skipped"] and results["at_the_start"]["skipped"] and results["at_the_start"]["differing"] == []
    assert results["redirected"]["differing"] == ["chain dnat-dns"] and results["redirected"]["upstreams"] == ["192.0.2.7"]
    assert not results["redirected_again"]["changed"] and all(line.endswith("dnat to 192.0.2.7") for line in rules(machine))
    assert results["needless"]["msg"] == "dns_redirect_set: there is no option 'default_upstreams'"


# -- what renders at each start --


def start(root, keys):
    """Renders both roles below a root, from the keys of a QubesDB daemon. The exit code, what was said, and the files that are there then."""
    starting.install(root, ("uplink", "dns_redirect"))
    code, said = starting.start(root, keys)
    return code, said, {str(path.relative_to(root)): path.read_text() for path in root.glob("etc/**/*") if path.is_file()}


def network_file(values):
    return files("uplink", values, networkd=True)[0].text


def test_at_each_start_the_same_is_written(tmp_path):
    keys = {**R4, **SERVED, "qubes-primary-dns": "10.139.1.1", "qubes-secondary-dns": "10.139.1.2"}
    wants = tmp_path / NETWORKD.lstrip("/")
    wants.parent.mkdir(parents=True)
    wants.write_text("")
    code, said, found = start(tmp_path, keys)
    assert code == 0, said
    values = redirect({"network": {"dns": ["10.139.1.1", "10.139.1.2"]}, "netvm": {**REDIRECTED, "gateway6": "fd09::1"}})
    assert found["etc/qubes-vmconfig/dns-redirect.nft"] == files("dns_redirect", values)[0].text
    assert "dnat to 10.139.1.2" in found["etc/qubes-vmconfig/dns-redirect.nft"]
    assert found["etc/sysctl.d/81-qubes-vmconfig.conf"].splitlines()[1:] == ["net.ipv4.ip_forward = 1", "net.ipv6.conf.all.forwarding = 1"]
    assert found["etc/systemd/network/10-qubes-uplink.network"] == network_file(uplink.values({"network": KEYS6}))
    for gateway, said in (("10.138.2.5\nDNS=6.6.6.6", "key qubes-gateway: the value"), ("224.0.0.1", "224.0.0.1 is no gateway")):
        code, lines, later = start(tmp_path, {**keys, "qubes-ip": "10.137.0.99", "qubes-gateway": gateway})
        assert code == 1 and said in "".join(lines)
        assert later["etc/systemd/network/10-qubes-uplink.network"] == found["etc/systemd/network/10-qubes-uplink.network"]


INCOMPLETE = {"qubes-vm-type": "AppVM", "qubes-mac": MAC, "qubes-ip": "10.137.0.20", "qubes-netmask": "255.255.255.255", "qubes-gateway": "10.138.8.1",
              "qubes-ip6": "fd09:24ef:4179::a89:14"}


@pytest.mark.parametrize("more, expected", [
    ({}, {"ip6": "fd09:24ef:4179::a89:14", "prefix6": 128}),
    ({"qubes-netmask6": "64"}, {"ip6": "fd09:24ef:4179::a89:14", "prefix6": 64}),
    ({"qubes-gateway6": "fe80::1"}, {"gateway6": "fe80::1"}),
    ({"qubes-service/disable-default-route": "1", "qubes-gateway": None}, {"gateway": "", "default_route": False}),
    ({"qubes-ip6": None, "qubes-gateway6": "fd09::1"}, {"ip6": ""}),
])
def test_at_each_start_what_is_missing_takes_nothing_with_it(tmp_path, more, expected):
    (tmp_path / NETWORKD.lstrip("/")).parent.mkdir(parents=True)
    (tmp_path / NETWORKD.lstrip("/")).write_text("")
    keys = {key: value for key, value in {**INCOMPLETE, **more}.items() if value is not None}
    code, said, found = start(tmp_path, keys)
    assert code == 0, said
    values = {**uplink.values({"network": {"mac": MAC, "ip": "10.137.0.20", "prefix": 32, "gateway": "10.138.8.1", "ip6": INCOMPLETE["qubes-ip6"],
                                           "gateway6": more.get("qubes-gateway6", "")}}), **expected}
    assert found["etc/systemd/network/10-qubes-uplink.network"] == network_file(values)
    assert "Address=10.137.0.20/32\n" in network_file(values) and "Gateway=\n" not in network_file(values)


OWN_DNS = {"qubes-primary-dns": "10.139.1.1", "qubes-secondary-dns": "10.139.1.2"}


@pytest.mark.parametrize("missing, redirected, forwarded", [
    ([], ["10.139.1.1 10.139.1.1", "10.139.1.2 10.139.1.2"], 2),
    (["qubes-netvm-secondary-dns", "qubes-netvm-gateway6"], ["10.139.1.1 10.139.1.1"], 1),
    (["qubes-netvm-primary-dns"], ["10.137.0.12 10.139.1.1", "10.139.1.2 10.139.1.2"], 2),
    (["qubes-netvm-primary-dns", "qubes-netvm-gateway"], ["10.139.1.2 10.139.1.1"], 2),
    (["qubes-netvm-primary-dns", "qubes-netvm-secondary-dns", "qubes-netvm-gateway"], [], 2),
    (["qubes-primary-dns"], ["10.139.1.1 10.138.2.5", "10.139.1.2 10.139.1.2"], 2),
    (["qubes-primary-dns", "qubes-gateway", "qubes-ip"], ["10.139.1.1 10.139.1.2", "10.139.1.2 10.139.1.2"], 2),
    (["qubes-primary-dns", "qubes-secondary-dns", "qubes-gateway", "qubes-ip"], ["10.139.1.1", "10.139.1.2"], 2),
    (["qubes-netvm-network"], [], 0),
])
def test_at_each_start_what_is_missing_of_the_redirect_takes_nothing_with_it(tmp_path, missing, redirected, forwarded):
    keys = {key: value for key, value in {**R4, **SERVED, **OWN_DNS}.items() if key not in missing}
    code, said, found = start(tmp_path, keys)
    assert code == 0, said
    rules_written = re.findall(r"ip daddr (\S+) udp dport 53 (?:dnat to (\S+)|ct state new drop)", found.get("etc/qubes-vmconfig/dns-redirect.nft", ""))
    assert [" ".join(each).strip() for each in rules_written] == redirected
    assert found.get("etc/sysctl.d/81-qubes-vmconfig.conf", "").count(" = 1\n") == forwarded
