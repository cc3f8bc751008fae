# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a play says for the roles means the same now and at each start, and what it had installed for each start can be taken away."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from playing import environment, run
from starting import COLLECTION, FOLDER, UNIT, copy_modules, modules, put, start, tree

pytestmark = pytest.mark.long

NETWORKD = "etc/systemd/system/multi-user.target.wants/systemd-networkd.service"
UPLINK = "etc/systemd/network/10-qubes-uplink.network"
# In each the play says the contrary of a key, or what an example of keys says too.
SAID = {
    "timezone": {"timezone_zone": ""},
    "resolver": {"resolver_disabled": "false", "resolver_servers": "10.0.0.1,10.0.0.2", "resolver_network_manager": "no"},
    "services": {"services_states": {"cups": "false", "crond": "yes", "tracker": "off", "meminfo-writer": 1}},
    "uplink": {"uplink_ip6": "", "uplink_default_route": "true", "uplink_prefix": "24", "uplink_neighbours": "off"},
    "dns_redirect": {"dns_redirect_forward6": False, "dns_redirect_upstreams": '["10.0.0.9"]', "dns_redirect_disabled": "0"},
    "xkb": {"xkb_keymap": "", "xkb_options": ""},
    "display": {"display_monitors": "[]"},
}
SEEN = {
    "type": "AppVM", "qubes-vm-type": "ProxyVM", "qubes-vm-persistence": "rw-only", "qubes-timezone": "Europe/Warsaw",
    "qubes-service/disable-dns-server": "1", "qubes-service/disable-default-route": "1", "qubes-service/cups": "1",
    "qubes-mac": "00:16:3e:5e:6c:00", "qubes-ip": "10.137.0.12", "qubes-netmask": "255.255.255.255", "qubes-gateway": "10.138.2.5",
    "qubes-ip6": "fd09::c", "qubes-gateway6": "fd09::1", "qubes-primary-dns": "10.139.1.1",
    "qubes-netvm-network": "10.137.0.0", "qubes-netvm-primary-dns": "10.139.1.1", "qubes-netvm-gateway6": "fd09::5",
    "keyboard-layout": "us++compose:caps", "vm-config/monitors": "1920x1080+0+0",
    # What no role reads.
    "net-config/00:16:3e:00:00:99/ip": "not-an-address", "qubes-netvm-external-ip": "not-an-address",
}


class Image:
    """A tree that plays render for, from a file store."""

    def __init__(self, folder, keys=None):
        self.folder, self.root = folder, str(folder / "image")
        (folder / "store.json").write_text(json.dumps({"it": keys or SEEN}))
        copy_modules(self.root, modules())
        put(self.root, NETWORKD)
        put(self.root, "run/qubes-service/cups")

    def play(self, roles, *args, **variables):
        """Plays the roles, each with its variables. The exit code, and what was said."""
        play = [{"hosts": "all", "gather_facts": False, "roles": [{"role": "qubes.vmconfig." + role, "vars": more} for role, more in roles.items()]}]
        (self.folder / "play.yml").write_text(json.dumps(play))
        shared = {"vmconfig_destdir": self.root, "vmconfig_family": "Debian", "vmconfig_store": "file://%s/store.json" % self.folder, **variables}
        done = run(self.folder, "play.yml", {"hosts": {"it": shared}}, args, environment(ANSIBLE_PIPELINING="true"))
        return done.returncode, done.stdout.decode()

    def installed(self):
        """The roles that are rendered at each start, or None where nothing is."""
        there = [os.path.lexists(os.path.join(self.root, path)) for path in (FOLDER, UNIT, "etc/systemd/system/sysinit.target.wants/qubes-vmconfig.service")]
        assert there[0] == there[1] == there[2]
        return sorted(os.listdir(os.path.join(self.root, FOLDER, "parts"))) if there[0] else None


def test_what_a_play_says_means_the_same_at_each_start(tmp_path):
    image = Image(tmp_path)
    code, text = image.play(SAID, vmconfig_apply="both")
    assert code == 0, text[-3000:]
    again = str(tmp_path / "again")
    shutil.copytree(os.path.join(image.root, FOLDER), os.path.join(again, FOLDER))
    put(again, NETWORKD)
    put(again, "run/qubes-service/cups")
    assert start(again, SEEN) == (0, [])
    now, then = tree(image.root), tree(again)
    assert now == then
    assert then["etc/resolv.conf"][1] == b"nameserver 10.0.0.1\nnameserver 10.0.0.2\n"
    assert sorted(path for path in then if path.startswith("run/qubes-service/")) == ["run/qubes-service/crond", "run/qubes-service/meminfo-writer"]
    assert then["etc/sysctl.d/81-qubes-vmconfig.conf"][1] == b"# Ansible managed\nnet.ipv4.ip_forward = 1\n"
    assert b"dnat to 10.0.0.9" in then["etc/qubes-vmconfig/dns-redirect.nft"][1]
    assert b'XKBLAYOUT="us"\nXKBVARIANT=""\nXKBOPTIONS=""' in then["etc/default/keyboard"][1]
    assert not {"etc/timezone", "etc/localtime", "etc/X11/xorg.conf.d/20-display.conf"} & set(then)
    uplinks = [open(os.path.join(root, UPLINK), encoding="utf-8").read() for root in (image.root, again)]
    assert uplinks[0] == uplinks[1]
    assert "Address=10.137.0.12/24" in uplinks[0] and "GatewayOnLink=yes" in uplinks[0] and "fd09" not in uplinks[0] and "Neighbor" not in uplinks[0]


def test_what_is_not_of_its_type_is_one_error_and_nothing_is_written(tmp_path):
    image = Image(tmp_path)
    before = tree(image.root)
    code, text = image.play({"services": {"services_states": {"cups": "maybe"}}}, vmconfig_apply="both")
    assert code == 2 and text.count("qube it: services_states: the state of 'cups' is 'maybe'; expected true or false") >= 1, text
    assert "Traceback" not in text and tree(image.root) == before
    # Kept by an older release, as a template made text of it.
    put(image.root, os.path.join(FOLDER, "__main__.py"), open(os.path.join(COLLECTION, "roles", "read_keys", "files", "__main__.py"), encoding="utf-8").read())
    put(image.root, os.path.join(FOLDER, "parts", "services.json"),
        json.dumps({"family": "Debian", "take_over": False, "variables": {"states": {"cups": "maybe"}}}))
    assert start(image.root, SEEN) == (1, ["qubes-vmconfig: services: services_states: the state of 'cups' is 'maybe'; expected true or false"])
    assert tree(image.root) == before


def test_what_was_installed_is_taken_away_again(tmp_path):
    """Each play says what is to be rendered at each start; what it says nothing of stays."""
    image = Image(tmp_path)
    two = {"timezone": {}, "resolver": {}}
    put(image.root, os.path.join(FOLDER, "vmconfig", "_formats", "old.py"), "raise SystemExit('an older release')")
    # A role that is rendered now, and then one that is at each start.
    code, text = image.play({"timezone": {"vmconfig_apply": "now"}, "resolver": {"vmconfig_apply": "boot"}})
    assert code == 0 and image.installed() == ["resolver.json"], text[-3000:]
    assert not os.path.exists(os.path.join(image.root, FOLDER, "vmconfig", "_formats", "old.py"))
    assert os.path.exists(os.path.join(image.root, "etc/timezone")) and not os.path.exists(os.path.join(image.root, "etc/resolv.conf"))
    code, text = image.play({"timezone": {}}, vmconfig_apply="both")
    assert code == 0 and image.installed() == ["resolver.json", "timezone.json"], text[-3000:]
    code, text = image.play(two, vmconfig_apply="both", vmconfig_boot=["qubes.vmconfig.timezone", "resolver", "another.collection.role"])
    assert code == 0 and image.installed() == ["resolver.json", "timezone.json"], text[-3000:]
    code, text = image.play(two, vmconfig_apply="both")
    assert code == 0 and "changed=0 " in text, text[-3000:]
    code, text = image.play(two, vmconfig_apply="both", vmconfig_boot="tiemzone")
    assert code == 2 and "vmconfig_boot is tiemzone; expected absent, or those of the roles" in text, text[-3000:]
    code, text = image.play({"timezone": {"vmconfig_apply": "now"}}, "--check")
    assert code == 0 and "changed=0 " not in text and image.installed() == ["resolver.json", "timezone.json"], text[-3000:]
    # A role that left the play.
    code, text = image.play({"timezone": {}}, vmconfig_apply="boot", vmconfig_boot="{{ ansible_play_role_names }}")
    assert code == 0 and image.installed() == ["timezone.json"], text[-3000:]
    code, text = image.play({"timezone": {}})
    assert code == 0 and image.installed() is None and "changed=0 " not in text, text[-3000:]
    code, text = image.play({"timezone": {}})
    assert code == 0 and "changed=0 " in text, text[-3000:]


def test_all_of_it_is_taken_away_at_once(tmp_path):
    image = Image(tmp_path)
    folder = os.path.join(image.root, "etc/systemd/system")
    units = [os.path.join(folder, below, "qubes-vmconfig-dns-redirect.service") for below in ("", "multi-user.target.wants")]
    code, text = image.play({"dns_redirect": {}, "timezone": {}}, vmconfig_apply="boot")
    assert code == 0 and image.installed() == ["dns_redirect.json", "timezone.json"] and all(map(os.path.lexists, units)), text[-3000:]
    code, text = image.play({"timezone": {}}, vmconfig_apply="boot", vmconfig_boot="absent")
    assert code == 0 and image.installed() is None and not any(map(os.path.lexists, units)), text[-3000:]
    assert set(tree(image.root)) <= {"etc", "run", "run/qubes-service", "run/qubes-service/cups"}
    code, text = image.play({"timezone": {}}, vmconfig_apply="boot", vmconfig_boot="absent")
    assert code == 0 and "changed=0 " in text, text[-3000:]
