# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The templates of the roles of the network and the screen: which of them are written where, and each file byte for byte."""

from __future__ import annotations

import pytest
from ansible_collections.qubes.vmconfig.plugins.module_utils._machine import Machine
from rolefiles import files_of, texts, tree

NETWORK = {"mac": "00:16:3e:5e:6c:00", "ip": "10.137.0.12", "prefix": 32, "gateway": "10.138.2.5"}
R2 = {"ip": "10.137.2.12", "prefix": 24, "gateway": "10.137.2.1"}
NETWORK6 = {**NETWORK, "ip6": "fd09:24ef:4179::a89:c", "gateway6": "fd09:24ef:4179::a8a:205"}
REDIRECTED = {"dns": ["10.139.1.1", "10.139.1.2"], "network": "10.137.0.12", "gateway6": "fd09::1"}
ASKED = {"dns": ["10.139.1.1", "10.139.1.2"]}
DEBIAN = Machine(family="Debian")
NETWORKD = "/etc/systemd/network/10-qubes-uplink.network"
MANAGER = ["/etc/NetworkManager/system-connections/qubes-uplink.nmconnection", "/etc/udev/rules.d/81-qubes-uplink.rules"]
IFUPDOWN = "/etc/network/interfaces.d/qubes-uplink"
RULES, UNIT, SYSCTL = "/etc/qubes-vmconfig/dns-redirect.nft", "/etc/systemd/system/qubes-vmconfig-dns-redirect.service", "/etc/sysctl.d/81-qubes-vmconfig.conf"
WANTS = "/etc/systemd/system/multi-user.target.wants/qubes-vmconfig-dns-redirect.service"
SCREEN = "/etc/X11/xorg.conf.d/20-display.conf"


def golden(role, name):
    """The files of a golden tree that the role writes; the others are what is there before."""
    return {path: text for path, text in tree(role, name).items() if text and path not in ("/etc/hostname", WANTS)}


@pytest.mark.parametrize("role, expected, config, machine", [
    ("uplink", "networkd-r4", {"network": NETWORK6}, DEBIAN._replace(networkd=True)),
    ("uplink", "networkd-moved", {"network": {**NETWORK6, "ip": "10.137.0.13", "gateway6": "fe80::1"}, "services": {"disable-default-route": True}},
     Machine(family="RedHat", networkd=True)),
    ("uplink", "networkd-incomplete",
     {"network": {**NETWORK6, "ip": "10.137.0.20", "gateway": "10.138.8.1", "ip6": "fd09:24ef:4179::a89:14", "netmask6": 64, "gateway6": ""}},
     Machine(family="Archlinux", networkd=True)),
    ("uplink", "manager-r4", {"network": NETWORK6}, DEBIAN._replace(network_manager=True)),
    ("uplink", "ifupdown-r2", {"network": R2}, DEBIAN._replace(ifupdown=True)),
    ("uplink", "networkd", {}, DEBIAN._replace(networkd=True)),
    ("dns_redirect", "r4", {"netvm": REDIRECTED, "vm_type": "ProxyVM", "network": ASKED}, DEBIAN),
    ("dns_redirect", "r2", {"netvm": {"dns": ["10.137.5.1", "10.137.5.254"], "network": "10.137.5.0"}, "vm_type": "ProxyVM",
                            "network": {"dns": ["10.137.2.1", "10.137.2.254"]}}, Machine(family="RedHat")),
    ("dns_redirect", "empty", {"netvm": {**REDIRECTED, "network": ""}, "vm_type": "ProxyVM"}, DEBIAN),
    ("display", "one", {"vm_config": {"monitors": "1366x768+0+0"}}, DEBIAN),
    ("display", "three", {"vm_config": {"monitors": "1920x1080+0+0/480x270 1280x1024+1920+56 2561x1021+0+1080"},
                          "gui": {"videoram_min": 1000, "videoram_overhead": 4096}}, Machine(family="RedHat")),
    ("display", "least", {"vm_config": {"monitors": "640x480+0+0"}, "gui": {"videoram_min": 65536, "videoram_overhead": 0}}, DEBIAN),
])
def test_each_file_is_that_of_the_golden_tree(role, expected, config, machine):
    assert texts(files_of(role, config, machine=machine)) == golden(role, expected)


def test_another_driver_than_the_dummy():
    monitors = [{"output": "HDMI-1", "width": 1920, "height": 1080, "width_mm": 600, "height_mm": 340},
                {"output": "DP-1", "width": 1080, "height": 1920, "x": 1920}]
    assert texts(files_of("display", given={"monitors": monitors, "driver": "modesetting"})) == golden("display", "real")


def uplink(config, machine, **given):
    return texts(files_of("uplink", config, given, machine))


def test_an_interface_that_is_known_by_its_name():
    found = uplink({"network": R2}, DEBIAN._replace(network_manager=True))
    assert found == {MANAGER[0]: """\
# Ansible managed
[connection]
id=qubes-uplink
uuid=5c7a3d38-5f0e-5a52-9d1b-2a4f6c1e7b80
type=ethernet
interface-name=eth0

[ethernet]

[ipv4]
method=manual
address1=10.137.2.12/32
route1=10.137.2.1/32
gateway=10.137.2.1
may-fail=false

[ipv6]
method=link-local
""", MANAGER[1]: '# Ansible managed\nACTION=="add|change", SUBSYSTEM=="net", KERNEL=="eth0", ATTR{netdev_group}="1"\n'}
    found = uplink({"network": NETWORK}, DEBIAN._replace(networkd=True), interface="ens5")
    assert found[NETWORKD].startswith("# Ansible managed\n[Match]\nName=ens5\n\n[Link]\nGroup=1\n\n[Network]\nIPv6AcceptRA=no\n\n[Address]\n")


def test_an_interface_of_ifupdown_that_is_known_by_its_address():
    config = {"network": {**NETWORK6, "mac": "00:16:3E:5E:6C:00"}, "services": {"disable-default-route": True}}
    assert uplink(config, DEBIAN._replace(ifupdown=True)) == {IFUPDOWN: """\
# Ansible managed
auto mac/00:16:3e:5e:6c:00=qubes-uplink

iface qubes-uplink inet static
    address 10.137.0.12/32
    up ip link set dev "$IFACE" group 1
    up ip neighbour replace 10.138.2.5 dev "$IFACE" lladdr fe:ff:ff:ff:ff:ff nud permanent
    up ip route replace 10.138.2.5/32 dev "$IFACE" scope link src 10.137.0.12 proto 81

iface qubes-uplink inet6 static
    address fd09:24ef:4179::a89:c/128
    dad-attempts 0
    accept_ra 0
    up ip link set dev "$IFACE" group 1
    up ip neighbour replace fd09:24ef:4179::a8a:205 dev "$IFACE" lladdr fe:ff:ff:ff:ff:ff nud permanent
    up ip route replace fd09:24ef:4179::a8a:205/128 dev "$IFACE" src fd09:24ef:4179::a89:c proto 81
"""}


def test_an_address_alone():
    config = {"network": {**NETWORK, "gateway": ""}, "services": {"disable-default-route": True}}
    assert uplink(config, DEBIAN._replace(network_manager=True))[MANAGER[0]].endswith(
        "[ipv4]\nmethod=manual\naddress1=10.137.0.12/32\nnever-default=true\nmay-fail=false\n\n[ipv6]\nmethod=link-local\n")
    config = {"network": {"mac": NETWORK["mac"], "ip6": NETWORK6["ip6"]}}
    assert uplink(config, DEBIAN._replace(network_manager=True))[MANAGER[0]].endswith(
        "[ipv4]\nmethod=disabled\n\n[ipv6]\nmethod=manual\naddress1=fd09:24ef:4179::a89:c/128\nnever-default=true\nmay-fail=false\n")


def test_a_custom_value_is_in_no_file():
    own = {"ip": "172.16.1.2", "netmask": "255.255.255.0", "gateway": "172.16.1.1", "custom": "reboot\n[Route]"}
    for kind in ("networkd", "network_manager", "ifupdown"):
        found = "".join(uplink({"network": NETWORK, "net_config": {NETWORK["mac"]: own}}, DEBIAN._replace(**{kind: True})).values())
        assert "172.16.1.2/24" in found and "reboot" not in found and "fe:ff:ff:ff:ff:ff" not in found


@pytest.mark.parametrize("role, name, block, config, machine", [
    ("uplink", "uplink.network.j2", "network", {"network": NETWORK6}, DEBIAN._replace(networkd=True)),
    ("uplink", "uplink.network.j2", "nets", {"network": NETWORK6}, DEBIAN._replace(networkd=True)),
    ("uplink", "uplink.nmconnection.j2", "nets", {"network": NETWORK6}, DEBIAN._replace(network_manager=True)),
    ("uplink", "uplink.interfaces.j2", "nets", {"network": NETWORK6}, DEBIAN._replace(ifupdown=True)),
    ("dns_redirect", "dns-redirect.nft.j2", "rules", {"netvm": REDIRECTED}, DEBIAN),
    ("dns_redirect", "dns-redirect.service.j2", "service", {"netvm": REDIRECTED}, DEBIAN),
    ("display", "20-display.conf.j2", "monitors", {"vm_config": {"monitors": "1366x768+0+0"}}, DEBIAN),
])
def test_a_template_of_a_users_adds_to_a_block(role, name, block, config, machine):
    own = '{%% extends "qubes.vmconfig/%s/%s" %%}\n{%% block %s %%}\n{{ super() -}}\n# Mine.\n{%% endblock %%}\n' % (role, name, block)
    before, after = texts(files_of(role, config, machine=machine)), texts(files_of(role, config, machine=machine, own={"%s/%s" % (role, name): own}))
    changed, = [dest for dest in before if before[dest] != after[dest]]
    assert after[changed].splitlines().count("# Mine.") == 1
    assert after[changed].replace("# Mine.\n", "", 1) == before[changed]


@pytest.mark.parametrize("machine, expected", [
    (DEBIAN, []),
    (DEBIAN._replace(networkd=True, network_manager=True, ifupdown=True), [NETWORKD]),
    (DEBIAN._replace(network_manager=True, ifupdown=True), MANAGER),
    (DEBIAN._replace(ifupdown=True), [IFUPDOWN]),
    (Machine(family="RedHat", ifupdown=True), []),
    (DEBIAN._replace(networkd=True, agent=True), [NETWORKD]),
    (DEBIAN._replace(networkd=True, agent=True, leaves=True), []),
    (DEBIAN._replace(network_manager=True, agent=True, leaves=True), []),
    (DEBIAN._replace(ifupdown=True, agent=True, leaves=True), []),
])
def test_who_sets_the_uplink_at_the_start(machine, expected):
    files = files_of("uplink", {"network": NETWORK}, machine=machine)
    assert list(files) == expected
    assert all(file.mode == ("0600" if dest == MANAGER[0] else "0644") and not file.agent for dest, file in files.items())
    assert files_of("uplink", machine=machine) == {}


@pytest.mark.parametrize("config, machine, expected", [
    ({}, DEBIAN, []),
    # Where the rules will be, if there are some at a start.
    ({}, DEBIAN._replace(starts=True), [UNIT, WANTS]),
    ({}, DEBIAN._replace(starts=True, leaves=True), []),
    ({"netvm": REDIRECTED}, DEBIAN, [RULES, UNIT, WANTS]),
    ({"netvm": REDIRECTED, "vm_type": "NetVM"}, DEBIAN, [RULES, UNIT, WANTS, SYSCTL]),
    ({"netvm": REDIRECTED, "vm_type": "NetVM"}, DEBIAN._replace(leaves=True), []),
    ({"netvm": {"network": "10.137.0.12"}, "vm_type": "NetVM"}, DEBIAN, [SYSCTL]),
])
def test_where_the_redirect_is_written(config, machine, expected):
    files = files_of("dns_redirect", config, machine=machine)
    assert list(files) == expected
    # systemd looks for units before anything is rendered.
    assert list(files_of("dns_redirect", config, machine=machine, with_start=True)) == [dest for dest in expected if dest in (UNIT, WANTS)]
    assert all(file.protected_by == ((UNIT,) if dest == WANTS else None) and not file.agent for dest, file in files.items())
    assert all(file.link == ("../qubes-vmconfig-dns-redirect.service" if dest == WANTS else None) for dest, file in files.items())


@pytest.mark.parametrize("more, verdicts", [
    ({}, ["ct state new drop"] * 4),
    ({"upstreams": ["192.0.2.1", "192.0.2.2", "192.0.2.3"]}, ["dnat to 192.0.2.1"] * 2 + ["dnat to 192.0.2.2"] * 2),
    ({"disabled": True}, []),
])
def test_the_rules_of_the_redirect(more, verdicts):
    text = files_of("dns_redirect", {"netvm": REDIRECTED}, more)[RULES].text
    pairs = [(address, protocol) for address in REDIRECTED["dns"] for protocol in ("udp", "tcp")]
    assert text.split("policy accept; }\n")[1] == "".join([
        "add rule ip qubes dnat-dns ip daddr %s %s dport 53 %s\n" % (*pair, verdict) for pair, verdict in zip(pairs, verdicts)])


@pytest.mark.parametrize("machine", [DEBIAN, DEBIAN._replace(agent=True, leaves=True)])
def test_the_screen_is_nobody_elses(machine):
    files = files_of("display", {"vm_config": {"monitors": "1366x768+0+0"}}, machine=machine)
    assert list(files) == [SCREEN] and not files[SCREEN].agent and files_of("display", machine=machine) == {}
