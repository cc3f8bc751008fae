# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each role where none of the programs is that it can use: its files are written, and what could not be checked or set is said."""

from __future__ import annotations

import json
from typing import List, NamedTuple

import pytest

PROGRAMS = ["ip", "localectl", "nft", "setxkbmap", "systemctl", "xkbcli", "xkbcomp"]
KEYS = {
    "name": "sys-net", "type": "AppVM", "qubes-vm-type": "NetVM", "qubes-vm-persistence": "full", "qubes-timezone": "Europe/Warsaw",
    "keyboard-layout": "us,se++grp:alt_shift_toggle", "qubes-mac": "00:16:3e:5e:6c:00", "qubes-ip": "10.137.0.12", "qubes-netmask": "255.255.255.255",
    "qubes-gateway": "10.138.2.5", "qubes-primary-dns": "10.139.1.1", "qubes-secondary-dns": "10.139.1.2", "qubes-service/cups": "1",
    "qubes-netvm-network": "10.137.0.12", "qubes-netvm-gateway": "10.137.0.12", "qubes-netvm-primary-dns": "10.139.1.1",
    "qubes-netvm-secondary-dns": "10.139.1.2", "vm-config/proxy": "http://10.137.0.1:3128", "vm-config/monitors": "1920x1080+0+0",
}


class Outcome(NamedTuple):
    """The files with a text that each has, what is said of that which would have been run, and the files that are not there."""

    files: dict
    said: List[str] = []
    absent: List[str] = []


OUTCOMES = {
    "timezone": Outcome({"/etc/timezone": "Europe/Warsaw\n"}),
    "xkb": Outcome({"/etc/default/keyboard": 'XKBLAYOUT="us,se"', "/etc/X11/xorg.conf.d/00-keyboard.conf": '"us,se"'},
                   ["nothing here makes a keymap", "/etc/X11/qubes-keymap.xkb is not written"], ["/etc/X11/qubes-keymap.xkb"]),
    "uplink": Outcome({"/etc/systemd/network/10-qubes-uplink.network": "Address=10.137.0.12/32"}, ["has no program ip,"]),
    "resolver": Outcome({"/etc/resolv.conf": "nameserver 10.139.1.1\nnameserver 10.139.1.2\n",
                         "/etc/systemd/resolved.conf.d/qubes-dns.conf": "DNS=10.139.1.1 10.139.1.2"}, ["has no program systemctl,"]),
    "services": Outcome({"/run/qubes-service/cups": ""}, ["has no program systemctl,"]),
    "dns_redirect": Outcome({"/etc/qubes-vmconfig/dns-redirect.nft": "dnat to 192.0.2.53"}, ["has no program nft,"]),
    "vm_config": Outcome({"/etc/proxy": "http://10.137.0.1:3128\n"}),
    "display": Outcome({"/etc/X11/xorg.conf.d/20-display.conf": "1920 1080"}),
}


@pytest.fixture(name="qube", scope="module")
def qube_without_programs(bare):
    """A qube that has its keys in a file."""
    bare.succeed("sh", "-c", "ansible/bin/ansible-galaxy collection install qubes.vmconfig/build/qubes-vmconfig-*.tar.gz")
    host = {"ansible_connection": "local", "vmconfig_qube": "sys-net", "vmconfig_store": "file:///root/store.json", "uplink_interface": "eth0",
            "vm_config_files": [{"name": "proxy", "dest": "/etc/proxy"}]}
    bare.put("/root/hosts.json", json.dumps({"all": {"hosts": {"sys-net": host}}}).encode())
    bare.put("/root/store.json", json.dumps({"sys-net": KEYS}).encode())
    bare.put("/etc/resolv.conf", b"nameserver 192.0.2.53\n")
    # Enabled by their links, as in a template from which an image is made.
    for unit in ("multi-user.target.wants/systemd-networkd.service", "sysinit.target.wants/systemd-resolved.service"):
        bare.put("/etc/systemd/system/" + unit, b"")
    # By which systemd is known to run; without it there are no units to switch.
    (bare.root / "run/systemd/system").mkdir(parents=True)
    assert bare.lacks(PROGRAMS) == PROGRAMS
    return bare


@pytest.mark.long
@pytest.mark.parametrize("role", sorted(OUTCOMES))
def test_a_role_says_what_it_could_not_do(qube, role):
    outcome = OUTCOMES[role]
    play = [{"name": "Configure it", "hosts": "sys-net", "gather_facts": False, "roles": ["qubes.vmconfig." + role]}]
    qube.put("/root/play.json", json.dumps(play).encode())
    # In a network of its own, so that nothing that a role sets is this machine's.
    said = qube.succeed("ansible/bin/ansible-playbook", "-i", "hosts.json", "play.json", network=False)
    assert "Traceback" not in said
    for path, text in outcome.files.items():
        assert text in qube.read(path), path
    for path in outcome.absent:
        assert not (qube.root / path[1:]).exists(), path
    for message in outcome.said:
        assert message in said, said
