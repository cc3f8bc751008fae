# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of the role uplink, given to what reads them at the start of a machine: the real networkd, NetworkManager, ifupdown and udev."""

from __future__ import annotations

import contextlib
import os
import shutil
import time

import pytest
from ansible_collections.qubes.vmconfig.plugins.module_utils._values import uplink
from live import files, missing
from machines import Machine, plugged

MAC = "00:16:3e:5e:6c:00"
NETWORKD = "/usr/lib/systemd/systemd-networkd"
VALUES = uplink.values({"network": {"mac": MAC, "ip": "10.137.0.12", "prefix": 32, "gateway": "10.138.2.5",
                                    "ip6": "fd09:24ef:4179::a89:c", "gateway6": "fd09:24ef:4179::a8a:205"}})
# Some of it is missing, or is of another kind, and the rest is set all the same.
PARTS = {
    "all": {},
    "no-gateway6": {"gateway6": ""},
    "a-prefix": {"gateway6": "", "prefix6": 64},
    "of-the-link": {"gateway6": "fe80::1"},
    "no-gateways": {"gateway": "", "gateway6": "", "default_route": False},
    "no-gateway": {"gateway": "", "default_route": False},
    "ip6-alone": {"ip": "", "gateway": "", "gateway6": ""},
}
each_part = pytest.mark.parametrize("part", PARTS)
BUS = """<busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/><allow user="*"/></policy></busconfig>"""
# What may be seen there alone: the interfaces that the machine's own udev never told of, and no cable's other end.
MANAGER = """[main]
plugins=keyfile
dns=none
rc-manager=unmanaged
[device]
managed=1
[keyfile]
unmanaged-devices=interface-name:of-*,interface-name:eth0
"""


def needs(*programs):
    missing = [program for program in programs if not (os.path.exists(program) or shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin"))]
    return pytest.mark.skipif(bool(missing), reason="NOT INSTALLED, so the files for it were not tested: %s" % ", ".join(missing))


@pytest.fixture(name="machine")
def with_two_interfaces(tmp_path):
    machine = Machine(tmp_path)
    plugged(machine, "eth0")
    plugged(machine, "ens5", MAC)
    yield machine
    machine.stop()


def write(machine, how, values=None):
    for file in files("uplink", {**VALUES, **(values or {})}, **{how: True}):
        machine.put(file.dest, file.text)
        machine.run("chmod", file.mode, file.dest)


def left(machine, values=None):
    """What the role would still have to set."""
    return missing(machine, "uplink", {**VALUES, **(values or {})}).commands


def become(machine, expected, values=None, seconds=30.0):
    end = time.monotonic() + seconds
    while left(machine, values) != expected:
        assert time.monotonic() < end, left(machine, values)
        time.sleep(0.1)


@contextlib.contextmanager
def networkd(machine):
    # It becomes its own user, of whom there is but one here. Where /sys is read-only it waits for no udev.
    machine.put("/etc/passwd", "systemd-network:x:0:0::/:/bin/false\n")
    machine.put("/etc/group", "systemd-network:x:0:\n")
    with running(machine, "sh", "-c", "mkdir -p /run/systemd /run/dbus && mount -o remount,bind,ro /sys && exec " + NETWORKD) as daemon:
        yield
        assert daemon.poll() is None


@contextlib.contextmanager
def running(machine, *argv):
    process = machine.start(*argv)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@needs(NETWORKD)
@each_part
def test_networkd_sets_all_of_it(machine, part):
    write(machine, "networkd", PARTS[part])
    with networkd(machine):
        become(machine, [], PARTS[part])


@needs("ifup")
@each_part
@pytest.mark.parametrize("interface", ["", "ens5"])
def test_ifupdown_sets_all_of_it(machine, interface, part):
    values = {**PARTS[part], "interface": interface}
    write(machine, "ifupdown", values)
    assert ifup(machine)
    assert left(machine, values) == []


def ifup(machine):
    machine.put("/etc/network/interfaces", "source-directory /etc/network/interfaces.d\n")
    machine.run("mkdir", "-p", "/run/network", *["/etc/network/if-%s.d" % when for when in ("pre-up", "up", "down", "post-down")])
    return machine.run("sh", "-c", "ifup -a 2>&1 && echo good", check=False).endswith("good\n")


@contextlib.contextmanager
def network_manager(machine):
    machine.run("udevadm", "test", "--action=add", "/sys/class/net/ens5")
    machine.put("/etc/NetworkManager/NetworkManager.conf", MANAGER)
    machine.put("/run/bus.conf", BUS)
    machine.run("mkdir", "-p", "/run/dbus")
    starts = "mount -t tmpfs none /var/lib/NetworkManager && mount -o remount,bind,ro /sys && exec NetworkManager --no-daemon"
    with running(machine, "dbus-daemon", "--config-file=/run/bus.conf", "--nofork"), running(machine, "sh", "-c", starts):
        yield


@needs("NetworkManager", "nmcli", "dbus-daemon", "udevadm")
@each_part
def test_networkmanager_and_udev_set_all_but_the_neighbours(machine, part):
    values = {**VALUES, **PARTS[part]}
    write(machine, "network_manager", values)
    with network_manager(machine):
        become(machine, ["neighbour replace %s dev ens5 lladdr fe:ff:ff:ff:ff:ff nud permanent" % values[name]
                         for name in ("gateway", "gateway6") if values[name]], values)
        assert "qubes-uplink:ens5" in machine.run("nmcli", "-g", "NAME,DEVICE", "connection", "show", "--active").splitlines()


# -- an interface whose IPv6 the kernel has off --


IPV4 = {"ip6": "", "gateway6": ""}


@needs(NETWORKD)
def test_with_networkd_ipv4_is_whole_without_ipv6(machine):
    machine.run("sysctl", "-w", "net.ipv6.conf.all.disable_ipv6=1")
    write(machine, "networkd")
    with networkd(machine):
        become(machine, [], IPV4)


@needs("ifup")
def test_with_ifupdown_ipv4_is_whole_without_ipv6(machine):
    machine.run("sysctl", "-w", "net.ipv6.conf.all.disable_ipv6=1")
    write(machine, "ifupdown")
    ifup(machine)
    assert left(machine, IPV4) == []


@needs("NetworkManager", "nmcli", "dbus-daemon", "udevadm")
def test_with_networkmanager_ipv4_is_whole_without_ipv6(machine):
    machine.run("sysctl", "-w", "net.ipv6.conf.all.disable_ipv6=1")
    write(machine, "network_manager")
    with network_manager(machine):
        become(machine, ["neighbour replace 10.138.2.5 dev ens5 lladdr fe:ff:ff:ff:ff:ff nud permanent"], IPV4)
        # As it is a minute later too: what NetworkManager gives up it takes down.
        time.sleep(3)
        become(machine, ["neighbour replace 10.138.2.5 dev ens5 lladdr fe:ff:ff:ff:ff:ff nud permanent"], IPV4)
