# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of the role uplink, given to what reads them at the start of a machine: the real networkd, NetworkManager, ifupdown and udev."""

from __future__ import annotations

import os
import shutil
import time

import pytest
from ansible_collections.qubes.vmconfig.plugins.module_utils._formats import uplink
from machines import Machine, plugged

MAC = "00:16:3e:5e:6c:00"
NETWORKD = "/usr/lib/systemd/systemd-networkd"
VALUES = uplink.wanted({"network": {"mac": MAC, "ip": "10.137.0.12", "prefix": 32, "gateway": "10.138.2.5",
                                    "ip6": "fd09:24ef:4179::a89:c", "gateway6": "fd09:24ef:4179::a8a:205"}})
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
    for file in uplink.files({**VALUES, **(values or {})}, "Debian", how):
        machine.put(file.dest, file.text)
        machine.run("chmod", file.mode, file.dest)


def left(machine, values=None):
    """What the role would still have to set."""
    state = machine.run("ip", "-N", "-json", "-details", "-batch", "-", stdin=uplink.STATE)
    return uplink.batch({**VALUES, **(values or {})}, state).splitlines()


def become(machine, expected, seconds=30.0):
    end = time.monotonic() + seconds
    while left(machine) != expected:
        assert time.monotonic() < end, left(machine)
        time.sleep(0.1)


@needs(NETWORKD)
def test_networkd_sets_all_of_it(machine):
    write(machine, uplink.Machine(networkd=True))
    # It becomes its own user, of whom there is but one here. Where /sys is read-only it waits for no udev.
    machine.put("/etc/passwd", "systemd-network:x:0:0::/:/bin/false\n")
    machine.put("/etc/group", "systemd-network:x:0:\n")
    daemon = machine.start("sh", "-c", "mkdir -p /run/systemd /run/dbus && mount -o remount,bind,ro /sys && exec " + NETWORKD)
    try:
        become(machine, [])
        assert daemon.poll() is None
    finally:
        daemon.kill()
        daemon.communicate()


@needs("ifup")
@pytest.mark.parametrize("interface", ["", "ens5"])
def test_ifupdown_sets_all_of_it(machine, interface):
    write(machine, uplink.Machine(ifupdown=True), {"interface": interface})
    machine.put("/etc/network/interfaces", "source-directory /etc/network/interfaces.d\n")
    machine.run("mkdir", "-p", "/run/network", *["/etc/network/if-%s.d" % when for when in ("pre-up", "up", "down", "post-down")])
    machine.run("ifup", "-a")
    assert left(machine) == []


@needs("NetworkManager", "nmcli", "dbus-daemon", "udevadm")
def test_networkmanager_and_udev_set_all_but_the_neighbours(machine):
    write(machine, uplink.Machine(network_manager=True))
    machine.run("udevadm", "test", "--action=add", "/sys/class/net/ens5")
    machine.put("/etc/NetworkManager/NetworkManager.conf", MANAGER)
    machine.put("/run/bus.conf", BUS)
    machine.run("mkdir", "-p", "/run/dbus")
    bus = machine.start("dbus-daemon", "--config-file=/run/bus.conf", "--nofork")
    daemon = machine.start("sh", "-c", "mount -t tmpfs none /var/lib/NetworkManager && mount -o remount,bind,ro /sys && exec NetworkManager --no-daemon")
    try:
        become(machine, ["neighbour replace %s dev ens5 lladdr fe:ff:ff:ff:ff:ff nud permanent" % VALUES[name] for name in ("gateway", "gateway6")])
        assert machine.run("nmcli", "-g", "NAME,DEVICE", "connection", "show", "--active").splitlines()[0] == "qubes-uplink:ens5"
    finally:
        for process in (daemon, bus):
            process.kill()
            process.communicate()
