# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Roles on machines that lack the programs which they can use: the files are written, and what was neither checked nor set is said."""

from __future__ import annotations

import json
import os
import re
import sys

import pytest
from machines import NETVM, Netvm
from playing import environment, run

MISSING = {"nft", "ip", "systemctl", "localectl", "sysctl", "xkbcomp", "setxkbmap", "timedatectl", "resolvectl"}
ROLES = ["timezone", "uplink", "resolver", "services", "dns_redirect", "display"]
WRITTEN = [
    "/etc/timezone", "/etc/systemd/network/10-qubes-uplink.network", "/etc/resolv.conf", "/etc/systemd/resolved.conf.d/qubes-dns.conf",
    "/run/qubes-service/cups", "/etc/qubes-vmconfig/dns-redirect.nft", "/etc/sysctl.d/81-qubes-vmconfig.conf", "/etc/X11/xorg.conf.d/20-display.conf",
]
SAID = {
    "uplink": "has no program ip, so the interface is as it was; its files are for the next start. Install iproute2, and run this again",
    "dns_redirect": "has no program nft, so the rules were neither checked nor loaded; their file is for the next start. Install nftables, and run this again",
    "resolver": "has no program systemctl, so systemd-resolved.service was not told of the servers; it reads them when it next starts",
    "services": "has no program systemctl, so the units of these services were neither started nor stopped: cups, ",
}


class Bare(Netvm):
    """A netvm whose PATH has every program of this machine but those."""

    def __init__(self, folder) -> None:
        super().__init__(folder)
        there = os.path.join(str(folder), "programs")
        os.mkdir(there)
        for path in ("/usr/sbin", "/usr/bin", "/sbin", "/bin"):
            for name in os.listdir(path):
                if name not in MISSING and not os.path.lexists(os.path.join(there, name)):
                    os.symlink(os.path.join(path, name), os.path.join(there, name))
        with open(self.python, "w", encoding="utf-8") as stream:
            stream.write("#!/bin/sh\nexec %s env PATH=%s %s \"$@\"\n" % (" ".join(self.enter), there, sys.executable))
        # systemd runs here, as far as files tell.
        self.put("/run/systemd/system/of-it")
        self.put("/etc/systemd/system/dbus-org.freedesktop.resolve1.service")


@pytest.fixture(name="bare", scope="module")
def a_bare_machine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bare")
    machine = Bare(folder)
    yield folder, machine
    machine.stop()


def play(folder, machine, keys, roles, *args, **hosts):
    """Runs roles on the machine, as one host of an inventory or as several."""
    (folder / "store.json").write_text(json.dumps({machine.name: keys}))
    (folder / "play.yml").write_text(json.dumps([
        {"name": "Render", "hosts": "all", "gather_facts": False, "roles": ["qubes.vmconfig." + role for role in roles]}]))
    inventory = {"hosts": hosts or {"bare": {**machine.variables, "vmconfig_family": "Debian"}}}
    done = run(folder, "play.yml", inventory, args, environment())
    return done.returncode, done.stdout.decode()


@pytest.mark.long
def test_the_files_are_written_and_the_rest_is_said(bare):
    folder, machine = bare
    before = machine.state()
    code, text = play(folder, machine, NETVM, ROLES, "--check")
    assert code == 0 and machine.state() == before, text
    for args in ([], []):
        code, text = play(folder, machine, NETVM, ROLES, *args)
        assert code == 0, text
    # The second run changes nothing, and says the same of what is not there.
    assert re.findall("changed=([0-9]+)", text) == ["0"], text
    assert all(said in " ".join(text.split()) for role, said in SAID.items() if role in ("uplink", "dns_redirect"))
    assert [path for path in WRITTEN if machine.run("ls", path, check=False) == ""] == []
    assert machine.run("readlink", "/etc/localtime") == "../usr/share/zoneinfo/Europe/Warsaw\n"
    # This needs no program.
    assert machine.run("sysctl", "-n", "net.ipv4.ip_forward").split() == ["1"]
    assert "10.137.0.12" not in machine.run("ip", "address") and machine.run("nft", "list", "ruleset") == ""


def test_who_is_not_told_is_said(bare):
    folder, machine = bare
    machine.run("sh", "-c", "rm -rf /run/qubes-service /etc/systemd/resolved.conf.d")
    code, text = play(folder, machine, NETVM, ["resolver", "services"])
    assert code == 0, text
    assert all(SAID[role] in " ".join(text.split()) for role in ("resolver", "services")), text


def test_the_clock_is_left_as_it_was(bare):
    """Debian's zoneinfo has a link to the very file that the role replaces, which would lead to itself then."""
    folder, machine = bare
    machine.run("ln", "-sfn", "../usr/share/zoneinfo/Europe/Warsaw", "/etc/localtime")
    before = machine.run("date", "+%Z %z")
    zones = ["localtime", "posixrules", "Factory", "right/Europe/Warsaw", "posix/UTC", "Argentina/Buenos_Aires"]
    hosts = {zone: {**machine.variables, "vmconfig_family": "Debian", "timezone_zone": zone} for zone in zones}
    code, text = play(folder, machine, NETVM, ["timezone"], **hosts)
    assert code == 2 and [zone for zone in zones if "the value '%s' is refused: " % zone not in text] == []
    assert machine.run("readlink", "/etc/localtime") == "../usr/share/zoneinfo/Europe/Warsaw\n" and machine.run("date", "+%Z %z") == before


def test_a_program_that_hangs_is_an_error(bare):
    """What ``timeout`` is for; that each task has one is a test of its own."""
    folder, machine = bare
    (folder / "tasks.yml").write_text(json.dumps([{"name": "Wait", "hosts": "all", "gather_facts": False, "tasks": [
        {"name": "Wait for a program", "ansible.builtin.command": {"argv": ["sleep", "20"]}, "timeout": 2}]}]))
    done = run(folder, "tasks.yml", {"hosts": {"bare": machine.variables}}, (), environment())
    assert done.returncode == 2 and re.search(r"Timed out after 2 second|expected time frame \(2\)", done.stdout.decode())
