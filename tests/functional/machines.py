# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Machines with a network, an /etc and a /run of their own: namespaces of this machine, which leave nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from typing import List

from namespaces import entered, unshared

# What programs look for in /etc wherever they run.
COPIED = ("group", "ld.so.cache", "nsswitch.conf", "os-release", "passwd")
BEGIN = """
mount --bind "$1/etc" /etc
mount -t tmpfs run /run
mount -t sysfs sysfs /sys
mkdir /run/netns /run/up /run/work
mount -t overlay -o lowerdir=/usr/lib,upperdir=/run/up,workdir=/run/work overlay /usr/lib
sysctl -qw net.ipv6.conf.default.accept_dad=0
ip link set lo up
echo ready
exec cat
"""
# A netvm that has all that roles look at.
NETVM = {
    "name": "sys-net", "type": "AppVM", "qubes-vm-type": "NetVM", "qubes-vm-persistence": "full", "qubes-timezone": "Europe/Warsaw",
    "keyboard-layout": "us,se++grp:alt_shift_toggle", "qubes-mac": "00:16:3e:5e:6c:00", "qubes-ip": "10.137.0.12", "qubes-netmask": "255.255.255.255",
    "qubes-gateway": "10.138.2.5", "qubes-primary-dns": "10.139.1.1", "qubes-secondary-dns": "10.139.1.2", "qubes-service/cups": "1",
    "qubes-service/network-manager": "0", "qubes-ip6": "fd09:24ef:4179::a89:c", "qubes-gateway6": "fd09:24ef:4179::a8a:205",
    "qubes-netvm-network": "10.137.0.12", "qubes-netvm-gateway": "10.137.0.12", "qubes-netvm-primary-dns": "10.139.1.1",
    "qubes-netvm-secondary-dns": "10.139.1.2", "vm-config/proxy": "http://10.137.0.1:3128", "vm-config/monitors": "1920x1080+0+0",
}
# Each of them in the network of the machine that it is asked of.
STATE = "address show\nroute show table all\nneighbour show\nlink show\nrule show\n"


class Machine:
    """One machine. Commands run in it as its root."""

    def __init__(self, folder, name: str = "machine") -> None:
        self.name, self.etc = name, os.path.join(str(folder), name, "etc")
        os.makedirs(self.etc)
        for each in COPIED:
            if os.path.exists("/etc/" + each):
                shutil.copy("/etc/" + each, self.etc)
        self._process = subprocess.Popen(  # pylint: disable=consider-using-with
            [*unshared(), "sh", "-ec", BEGIN, "sh", os.path.dirname(self.etc)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if self._process.stdout.readline() != b"ready\n":
            raise RuntimeError(self._process.communicate()[1].decode())
        self.enter = entered(self._process.pid)
        # An interpreter for Ansible, so that what it does there is done in the machine.
        self.python = os.path.join(str(folder), name, "python")
        with open(self.python, "w", encoding="utf-8") as stream:
            stream.write("#!/bin/sh\nexec %s %s \"$@\"\n" % (" ".join(self.enter), sys.executable))
        os.chmod(self.python, 0o755)

    def run(self, *argv: str, stdin: str = "", check: bool = True) -> str:
        """What a command prints."""
        done = subprocess.run([*self.enter, *argv], input=stdin.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False)
        assert not check or done.returncode == 0, (argv, stdin, done.stderr.decode())
        return done.stdout.decode()

    def start(self, *argv: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([*self.enter, *argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def ip(self, *lines: str, beside: str = "") -> None:
        """Several commands of ip, by one of its processes; in the network `beside` where that is given."""
        self.run("ip", *(["-netns", beside] if beside else []), "-batch", "-", stdin="".join([line + "\n" for line in lines]))

    def put(self, path: str, text: str = "") -> None:
        """A file of the machine, whatever it is mounted on."""
        self.run("sh", "-c", 'mkdir -p "$(dirname "$1")" && cat > "$1"', "sh", path, stdin=text)

    def state(self) -> List[str]:
        """All that there is to see: the network, the rules of nft, the settings, and the files with what changes when they are touched."""
        network = self.run("ip", "-details", "-batch", "-", stdin=STATE)
        # What is still tried out, or about to be forgotten, changes by itself.
        lines = [line for line in network.splitlines() if " STALE" not in line and " FAILED" not in line and " INCOMPLETE" not in line]
        lines += self.run("nft", "list", "ruleset").splitlines()
        lines += self.run("sysctl", "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding").splitlines()
        lines += self.run("find", "/etc", "-printf", "%P %y %m %i %C@ [%l]\\n").splitlines()
        return lines

    def settled(self) -> List[str]:
        """The state, when the kernel has done what it does a moment after it was told."""
        before, now = [], self.state()
        while before != now:
            time.sleep(0.3)
            before, now = now, self.state()
        return now

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()


def cable(machine: Machine, name: str, beside: str, other: str, mac: str = "") -> None:
    """An interface with a cable to one of another network, `beside`, in the same machine."""
    machine.run("ip", "link", "add", name, *(["address", mac] if mac else []), "type", "veth", "peer", "name", other, "netns", beside)


def plugged(machine: Machine, name: str, mac: str = "") -> None:
    """An interface with a cable to nobody, that has a carrier."""
    machine.run("ip", "link", "add", name, *(["address", mac] if mac else []), "type", "veth", "peer", "name", "of-" + name)
    machine.run("ip", "link", "set", "of-" + name, "up")


class Netvm(Machine):
    """A netvm without the agent, whose keys are NETVM, and what an inventory has to say of it."""

    def __init__(self, folder) -> None:
        super().__init__(folder, NETVM["name"])
        self.run("mkdir", "-p", "/etc/systemd/network", "/etc/systemd/system/multi-user.target.wants", "/etc/sysctl.d", "/etc/default")
        self.put("/etc/systemd/system/multi-user.target.wants/systemd-networkd.service")
        self.put("/etc/resolv.conf", "nameserver 192.0.2.1\n")
        plugged(self, "eth0", NETVM["qubes-mac"])
        store = os.path.join(str(folder), "store.json")
        with open(store, "w", encoding="utf-8") as stream:
            json.dump({self.name: NETVM}, stream)
        self.variables = {
            "ansible_connection": "local", "ansible_python_interpreter": self.python, "vmconfig_qube": self.name, "vmconfig_store": "file://" + store,
            "vm_config_files": [{"name": "proxy", "dest": "/etc/proxy"}], "xkb_display": ""}
