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
from starting import FOLDER, SAID, UNIT, install, put, start, tree

pytestmark = pytest.mark.long

NETWORKD = "etc/systemd/system/multi-user.target.wants/systemd-networkd.service"
UPLINK = "etc/systemd/network/10-qubes-uplink.network"
# In each the play says the contrary of a key, or what an example of keys says too.
GIVEN = {
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

    def __init__(self, folder, keys=None, name="image"):
        self.folder, self.root, self.name = folder, str(folder / name), name
        (folder / "store.json").write_text(json.dumps({"it": keys or SEEN}))
        put(self.root, NETWORKD)
        put(self.root, "run/qubes-service/cups")

    def play(self, roles, *args, **more):
        """Plays the roles, each with its variables. The exit code, and what was said."""
        return play([self], roles, *args, **more)

    def installed(self):
        """The roles that are rendered at each start, or None where nothing is."""
        there = [os.path.lexists(os.path.join(self.root, path)) for path in (FOLDER, UNIT, "etc/systemd/system/sysinit.target.wants/qubes-vmconfig.service")]
        assert there[0] == there[1] == there[2]
        if not there[0]:
            return None
        with open(os.path.join(self.root, SAID), encoding="utf-8") as stream:
            return sorted(json.load(stream)["roles"])


def play(images, roles, *args, name="Render", playbook="play.yml", tasks=(), **variables):
    """The same of several images of a folder in one play."""
    folder = images[0].folder
    roles = [{"role": "qubes.vmconfig." + role, "vars": more} for role, more in roles.items()]
    (folder / playbook).write_text(json.dumps([{"name": name, "hosts": "all", "gather_facts": False, "tasks": list(tasks), "roles": roles}]))
    shared = {"vmconfig_family": "Debian", "vmconfig_store": "file://%s/store.json" % folder, "vmconfig_qube": "it", **variables}
    hosts = {image.name: {"vmconfig_destdir": image.root} for image in images}
    done = run(folder, playbook, {"hosts": hosts, "vars": shared}, args, environment(ANSIBLE_PIPELINING="true"))
    return done.returncode, done.stdout.decode()


def test_what_a_play_says_means_the_same_at_each_start(tmp_path):
    image = Image(tmp_path)
    code, text = image.play(GIVEN, vmconfig_apply="both")
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
    # What a play said is not trusted either.
    install(image.root, ["services"], services={"states": {"cups": "maybe"}})
    assert start(image.root, SEEN) == (1, ["qubes-vmconfig: services: services_states: the state of 'cups' is 'maybe'; expected true or false"])
    assert tree(image.root) == before


def included(role):
    return {"name": "Include", "ansible.builtin.include_role": {"name": "qubes.vmconfig." + role}}


def test_a_role_that_left_its_play_leaves_the_start(tmp_path):
    """What other plays installed stays, and so does what was included as a task, of which nobody knows whether it is gone for good."""
    image = Image(tmp_path)

    def played(roles, expected, **more):
        code, text = image.play(roles, **{"vmconfig_apply": "boot", **more})
        assert code == 0 and image.installed() == expected, text[-3000:]

    played({"timezone": {}, "resolver": {}}, ["resolver", "timezone"])
    played({"xkb": {}}, ["resolver", "timezone", "xkb"], name="Another")
    played({"services": {}}, ["resolver", "services", "timezone", "xkb"], playbook="another.yml")
    played({}, ["display", "resolver", "services", "timezone", "xkb"], name="Included", tasks=[included("display")])
    # Not the role that comes later in the same play, nor one that its tags leave out.
    played({"timezone": {"vmconfig_apply": "boot"}, "resolver": {"when": False}}, ["display", "resolver", "services", "timezone", "xkb"])
    played({"timezone": {}}, ["display", "services", "timezone", "xkb"])
    # Another play takes a role over; then it is that play's.
    played({"xkb": {}, "timezone": {}}, ["display", "services", "timezone", "xkb"], name="Another")
    played({"vm_config": {}}, ["display", "services", "timezone", "vm_config", "xkb"])
    played({"xkb": {}}, ["display", "services", "vm_config", "xkb"], name="Another")
    code, text = image.play({"xkb": {}}, "--check", name="Another", vmconfig_apply="boot")
    assert code == 0 and "changed=0 " in text, text[-3000:]


def test_what_was_installed_is_taken_away_again(tmp_path):
    image = Image(tmp_path)
    two = {"timezone": {}, "resolver": {}}
    # A role that is rendered now, and then one that is at each start.
    code, text = image.play({"timezone": {"vmconfig_apply": "now"}, "resolver": {"vmconfig_apply": "boot"}})
    assert code == 0 and image.installed() == ["resolver"], text[-3000:]
    assert os.path.exists(os.path.join(image.root, "etc/timezone")) and not os.path.exists(os.path.join(image.root, "etc/resolv.conf"))
    code, text = image.play(two, vmconfig_apply="both", vmconfig_boot=["qubes.vmconfig.timezone", "resolver", "another.collection.role"])
    assert code == 0 and image.installed() == ["resolver", "timezone"], text[-3000:]
    code, text = image.play(two, vmconfig_apply="both")
    assert code == 0 and "changed=0 " in text, text[-3000:]
    code, text = image.play(two, vmconfig_apply="both", vmconfig_boot="tiemzone")
    assert code == 2 and "vmconfig_boot is 'tiemzone'; expected absent, or those of the roles" in text, text[-3000:]
    # A role that is rendered now alone.
    code, text = image.play({"timezone": {"vmconfig_apply": "now"}}, "--check", name="Now")
    assert code == 0 and "changed=0 " not in text and image.installed() == ["resolver", "timezone"], text[-3000:]
    code, text = image.play({"timezone": {"vmconfig_apply": "now"}, "resolver": {"vmconfig_apply": "both"}})
    assert code == 0 and image.installed() == ["resolver"], text[-3000:]
    code, text = image.play({"resolver": {"vmconfig_apply": "both"}, "timezone": {"vmconfig_apply": "both"}})
    assert code == 0 and image.installed() == ["resolver", "timezone"], text[-3000:]
    code, text = image.play({"resolver": {"vmconfig_apply": "both"}, "timezone": {"vmconfig_apply": "now"}})
    assert code == 0 and image.installed() == ["resolver"], text[-3000:]
    code, text = image.play(two, vmconfig_apply="boot", vmconfig_boot="{{ ['timezone'] }}")
    assert code == 0 and image.installed() == ["timezone"], text[-3000:]
    code, text = image.play({"timezone": {}})
    assert code == 0 and image.installed() is None and "changed=0 " not in text, text[-3000:]
    code, text = image.play({"timezone": {}})
    assert code == 0 and "changed=0 " in text, text[-3000:]


def test_all_of_it_is_taken_away_at_once(tmp_path):
    image = Image(tmp_path)
    folder = os.path.join(image.root, "etc/systemd/system")
    units = [os.path.join(folder, below, "qubes-vmconfig-dns-redirect.service") for below in ("", "multi-user.target.wants")]
    code, text = image.play({"dns_redirect": {}, "timezone": {}}, vmconfig_apply="boot")
    assert code == 0 and image.installed() == ["dns_redirect", "timezone"] and all(map(os.path.lexists, units)), text[-3000:]
    for role in ("boot", "timezone"):
        code, text = image.play({role: {}}, vmconfig_apply="boot", vmconfig_boot="absent", name="End")
        assert code == 0 and image.installed() is None and not any(map(os.path.lexists, units)), text[-3000:]
        assert set(tree(image.root)) <= {"etc", "run", "run/qubes-service", "run/qubes-service/cups"}
        code, text = image.play({role: {}}, vmconfig_apply="boot", vmconfig_boot="absent", name="End")
        assert code == 0 and "changed=0 " in text, text[-3000:]
        image.play({"dns_redirect": {}, "timezone": {}}, vmconfig_apply="boot")


OLDER = {"usr/lib/qubes-vmconfig/" + path: "raise SystemExit('an older release')" for path in (
    "__main__.py", "parts/timezone.json", "parts/resolver.json", "vmconfig/_boot.py", "vmconfig/_formats/timezone.py", "vmconfig/gone/__init__.py")}


@pytest.mark.parametrize("apply, more, stays", [
    ("both", {}, ["timezone"]), ("boot", {"vmconfig_boot": "absent"}, None),
    # What it renders it would render on, and nobody could say what that is.
    ("now", {}, None),
])
def test_an_older_installation_goes(tmp_path, apply, more, stays):
    image = Image(tmp_path)
    for path, text in {**OLDER, UNIT: "[Service]\nExecStart=/usr/bin/python3 -I /usr/lib/qubes-vmconfig\n"}.items():
        put(image.root, path, text)
    wants = os.path.join(image.root, "etc/systemd/system/sysinit.target.wants")
    os.mkdir(wants)
    os.symlink("/" + UNIT, os.path.join(wants, os.path.basename(UNIT)))
    code, text = image.play({"timezone": {}}, "--check", vmconfig_apply=apply, **more)
    assert code == 0 and all(os.path.exists(os.path.join(image.root, path)) for path in OLDER), text[-3000:]
    code, text = image.play({"timezone": {}}, vmconfig_apply=apply, **more)
    assert code == 0, text[-3000:]
    assert not [path for path in OLDER if os.path.lexists(os.path.join(image.root, path))]
    assert image.installed() == stays
    code, text = image.play({"timezone": {}}, vmconfig_apply=apply, **more)
    assert code == 0 and "changed=0 " in text, text[-3000:]


# Links in the place of what is installed, each with what it leads to beside the root. Add yours.
LINKS = {
    "folder": {"usr/lib/qubes-vmconfig": "{outside}"}, "above": {"usr/lib": "{outside}"}, "relative": {"usr/lib/qubes-vmconfig": "../../../outside"},
    "root": {"usr/lib/qubes-vmconfig": "/"}, "file": {"usr/lib/qubes-vmconfig/play.json": "{outside}/kept"},
    "renderer": {"usr/lib/qubes-vmconfig/renderer.pyz": "{outside}/kept"},
    "older": {"usr/lib/qubes-vmconfig/vmconfig": "{outside}", "usr/lib/qubes-vmconfig/__main__.py": "{outside}/kept"},
    "below": {"usr/lib/qubes-vmconfig/vmconfig/_formats": "{outside}"},
    "wants": {"etc/systemd/system/sysinit.target.wants": "{outside}"},
}


def test_no_link_in_the_place_of_what_is_installed_is_followed_out(tmp_path):
    outside = tmp_path / "outside"
    (outside / "qubes-vmconfig" / "vmconfig").mkdir(parents=True)
    for path in ("kept", "play.json", "__main__.py", "qubes-vmconfig.service", "qubes-vmconfig/play.json", "qubes-vmconfig/vmconfig/kept"):
        (outside / path).write_text("kept")
    images = [Image(tmp_path, name=name) for name in LINKS]
    for image in images:
        put(image.root, os.path.join(FOLDER, "__main__.py"))
        for path, target in LINKS[image.name].items():
            whole = os.path.join(image.root, path)
            os.makedirs(os.path.dirname(whole), exist_ok=True)
            if os.path.isdir(whole):
                shutil.rmtree(whole)
            elif os.path.exists(whole):
                os.unlink(whole)
            os.symlink(target.format(outside=outside), whole)
    before = tree(outside)
    for more in ({}, {}, {"vmconfig_boot": "absent"}):
        code, text = play(images, {"timezone": {}}, vmconfig_apply="boot", **more)
        # Where it cannot be done it is said, and nothing beside the root is touched.
        assert tree(outside) == before and "Traceback" not in text and code in (0, 2), text[-3000:]
    for image in images:
        failed = "fatal: [%s]" % image.name in text
        assert failed or not os.path.lexists(os.path.join(image.root, UNIT)), text[-3000:]
        if image.name in ("file", "renderer", "older", "below"):
            assert not failed and image.installed() is None
