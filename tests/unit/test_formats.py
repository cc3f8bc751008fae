# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The texts of the files that the roles render."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from ansible_collections.qubes.vmconfig.plugins.module_utils._formats import (
    base, console, display, dns_redirect, every, resolver, timezone, uplink, xkb,
)


@pytest.mark.parametrize("module", [display, dns_redirect, resolver, timezone, uplink, xkb])
def test_every_text_has_its_name_once(module):
    assert all(every.TEXTS[name] is text for name, text in module.TEXTS.items())


@pytest.mark.parametrize("module", [display, dns_redirect, resolver, timezone, uplink, xkb])
def test_without_keys_there_is_nothing_to_write(module):
    assert module.files(module.wanted({}), "Debian", base.Machine()) == []


def test_they_need_nothing_but_the_standard_library():
    # As at boot: no site packages, no Ansible.
    collection = every.__file__.rpartition("/plugins/")[0]
    code = ("import sys; sys.path.insert(0, %r); import plugins.module_utils._wanted; assert not any('ansible' in name for name in sys.modules)" %
            collection)
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)


# -- what the integration targets see the roles write --


KEYMAPS = {
    "fr": 'xkb_keymap {\n\txkb_keycodes  { include "evdev"\t};\n\txkb_types     { include "complete"\t};\n\txkb_compat    { include "complete"\t};\n'
          '\txkb_symbols   { include "pc+fr+inet(evdev)"\t};\n\txkb_geometry  { include "pc(pc105)"\t};\n};',
}
DNS = {"network": {"dns": ["10.139.1.1", "10.139.1.2"]}}
MARKED = {"resolved": base.Machine(resolved=True), "manager": base.Machine(resolved=True, network_manager=True),
          "sysconfig": base.Machine(sysconfig=True), "": base.Machine()}


@pytest.mark.parametrize("role, expected, config, family, machine, begin", [
    ("timezone", "r4", {"timezone": "Asia/Tokyo"}, "Debian", "sysconfig", ""),
    ("timezone", "r2", {"timezone": "UTC", "vm_config": {"timezone": "Europe/Warsaw"}}, "Debian", "", ""),
    ("timezone", "fedora", {"timezone": "Asia/Tokyo"}, "RedHat", "sysconfig", ""),
    ("timezone", "nothing", {"timezone": "Asia/Tokyo"}, "RedHat", "", ""),
    ("timezone", "nothing", {"timezone": "Asia/Tokyo"}, "Archlinux", "sysconfig", ""),
    ("xkb", "r4", {"keyboard": {"layout": "us,se", "variant": "", "options": "grp:alt_shift_toggle"}}, "Debian", "", ""),
    ("xkb", "r2", {"keyboard": {"keymap": KEYMAPS["fr"]}}, "Debian", "", ""),
    ("xkb", "fedora-r4", {"keyboard": {"layout": "us,se", "variant": "", "options": "grp:alt_shift_toggle"}}, "RedHat", "", "fedora"),
    ("xkb", "fedora-oss", {"keyboard": {"layout": "fr", "variant": "oss", "options": ""}}, "RedHat", "", "fedora-r4"),
    ("xkb", "arch", {"keyboard": {"keymap": KEYMAPS["fr"]}}, "Archlinux", "", ""),
    ("resolver", "r4", DNS, "Debian", "", ""),
    ("resolver", "r4", {**DNS, "services": {"network-manager": True}}, "Debian", "", ""),
    ("resolver", "r4", {**DNS, "services": {"network-manager": False}, "vm_type": "NetVM"}, "Debian", "", ""),
    ("resolver", "disabled", {**DNS, "services": {"disable-dns-server": True}}, "RedHat", "", ""),
    ("resolver", "resolved", DNS, "RedHat", "resolved", ""),
    ("resolver", "resolved", {**DNS, "services": {"network-manager": False}, "vm_type": "NetVM"}, "RedHat", "manager", ""),
    ("resolver", "resolved-none", {**DNS, "services": {"disable-dns-server": True}}, "Archlinux", "resolved", ""),
    ("resolver", "manager", {**DNS, "services": {"network-manager": True}}, "RedHat", "manager", ""),
    ("resolver", "manager-none", {**DNS, "services": {"network-manager": True, "disable-dns-server": True}}, "Debian", "manager", ""),
    ("resolver", "manager-one", {"network": {"dns": ["10.137.2.1"]}, "vm_type": "NetVM"}, "Debian", "manager", ""),
])
def test_the_formatters_say_what_the_roles_write(role, expected, config, family, machine, begin):
    module = every.ROLES[role]
    there = tree(role, begin)
    values = module.wanted(config)
    if role == "xkb":
        # What the machine makes of it is tested with its programs.
        values.update({"layout": values["layout"] or "fr", "keymap": tree(role, expected)[xkb.KEYMAP]})
    if expected == "fedora-oss":
        there["/usr/lib/kbd/keymaps/xkb/fr-oss.map.gz"] = "\x1f"

    def read(path):
        return there.get(path, "")

    files = module.files(values, family, MARKED[machine])
    written = {file.dest: file.made(read) if file.made else file.text for file in files if file.link is None}
    links = {file.dest: file.link for file in files if file.link is not None}
    assert links == ({"/etc/localtime": "../usr/share/zoneinfo/" + values["zone"]} if role == "timezone" else {})
    beside = {"/usr/share/systemd/kbd-model-map", "/etc/systemd/resolved.conf"} | ({"/etc/resolv.conf"} if expected.startswith("manager") else set())
    assert written == {path: text for path, text in tree(role, expected).items() if path not in beside}


def tree(role, name):
    """The files of one of the trees of a role's integration target."""
    root = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "integration", "targets", "role_" + role, "files", name)
    found = {}
    for folder, dummy, names in os.walk(root) if name else []:
        for each in names:
            with open(os.path.join(folder, each), encoding="utf-8") as stream:
                found[os.path.join(folder, each)[len(root):]] = stream.read()
    return found


# -- the console's keymap --


MAP = """\
# comment us us pc105 - -
us-acentos	us	pc105	intl	terminate:ctrl_alt_bksp
us	us	pc105+inet	-	terminate:ctrl_alt_bksp
fr	fr	pc105	-	terminate:ctrl_alt_bksp
fr-latin9	fr	pc105	latin9	terminate:ctrl_alt_bksp
ru	ru,us	pc105	-	terminate:ctrl_alt_bksp,grp:shifts_toggle
cz-us-qwertz	cz,us	pc105	-	terminate:ctrl_alt_bksp,grp:shifts_toggle
cz-qwerty	cz,us	pc105	qwerty,	terminate:ctrl_alt_bksp,grp:shifts_toggle
too short
"""


@pytest.mark.parametrize("layout, variant, converted, keymap", [
    ("us", "", "", "us"),
    ("us", "intl", "", "us-acentos"),
    ("us", "dvorak", "", "us"),
    ("us,se", "", "", "us"),
    ("us,se", ",dvorak", "", "us"),
    ("fr", "latin9", "", "fr-latin9"),
    ("ru", "", "", "ru"),
    ("cz,us", "qwerty,", "", "cz-qwerty"),
    ("cz", "qwerty", "", "cz-qwerty"),
    ("se", "", "", ""),
    ("se", "", "/usr/share/kbd/keymaps/xkb/se.map", "se"),
    ("se,us", "dvorak,", "/usr/lib/kbd/keymaps/xkb/se-dvorak.map.gz", "se-dvorak"),
    ("us", "dvorak", "/usr/lib/kbd/keymaps/xkb/us-dvorak.map.gz", "us-dvorak"),
])
def test_the_console_gets_the_keymap_that_is_most_like_it(layout, variant, converted, keymap):
    there = {console.CONSOLE_KEYMAPS: MAP, converted: "\x1f"}
    text = console.vconsole_conf({"layout": layout, "variant": variant, "options": "", "model": "pc105"}, lambda path: there.get(path, "") if path else "")
    assert [line for line in text.splitlines() if line.startswith("KEYMAP=")] == (["KEYMAP=" + keymap] if keymap else [])


def test_other_lines_of_the_console_stay():
    begin = "# KEYMAP=us\r\nFONT=x\x0by\n\nKEYMAP_TOGGLE=us\n KEYMAP = de\nXKBVARIANT=nodeadkeys"
    text = console.vconsole_conf({"layout": "us", "variant": "", "options": "", "model": "pc105"}, lambda path: begin if path == console.VCONSOLE else "")
    assert text == "# KEYMAP=us\r\nFONT=x\x0by\nKEYMAP_TOGGLE=us\nXKBLAYOUT=us\nXKBMODEL=pc105\n"
