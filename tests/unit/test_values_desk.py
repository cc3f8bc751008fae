# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the keyboard, the services and a user's own files make of the keys."""

from __future__ import annotations

import pytest
from ansible_collections.qubes.vmconfig.plugins.module_utils._errors import Refused
from ansible_collections.qubes.vmconfig.plugins.module_utils._machine import Machine
from ansible_collections.qubes.vmconfig.plugins.module_utils._tree import Tree
from ansible_collections.qubes.vmconfig.plugins.module_utils._values import services, vm_config, xkb
from ansible_collections.qubes.vmconfig.plugins.module_utils._xkb.console import console
from ansible_collections.qubes.vmconfig.plugins.module_utils._xkb.keyboard import asked

# -- the keyboard --


@pytest.mark.parametrize("keyboard, found", [
    ({}, {}),
    ({"keymap": "xkb_keymap { };"}, {"keymap": "xkb_keymap { };"}),
    ({"layout": "us,se", "variant": "", "options": "grp:alt_shift_toggle"}, {"layout": "us,se", "options": "grp:alt_shift_toggle"}),
    # A qube of R4.1 may have both.
    ({"layout": "fr", "variant": "oss", "options": "", "keymap": "xkb_keymap { };"}, {"layout": "fr", "variant": "oss"}),
])
def test_what_the_keyboard_is(keyboard, found):
    without = {"model": "pc105", "layout": "", "variant": "", "options": "", "keymap": "", "display": "auto"}
    assert xkb.values({"keyboard": keyboard} if keyboard else {}) == {**without, **found}


@pytest.mark.parametrize("name, value", [
    ("model", ""), ("model", 'pc104"; reboot "'), ("model", "../x"), ("model", "-print"), ("model", "pc\n"), ("display", "elsewhere:0"), ("display", ":"),
    ("display", ":0\n"), ("display", ":0.0.0"), ("display", "auto "),
])
def test_what_is_no_model_and_no_display_is_refused(name, value):
    found = xkb.problems({**xkb.values({}), name: value})
    assert len(found) == 1 and found[0].startswith("xkb_%s: the value '" % name) and "\n" not in found[0]


@pytest.mark.parametrize("name, value", [("model", "pc_104-x"), ("display", ""), ("display", ":0"), ("display", ":10.0"), ("display", "auto")])
def test_what_is_a_model_or_a_display_is_taken(name, value):
    assert xkb.problems({**xkb.values({}), name: value}) == []


def test_without_a_keyboard_nothing_is_asked(tmp_path):
    assert asked(xkb.values({}), str(tmp_path / "nowhere"), "RedHat") == {
        "model": "pc105", "layout": "", "variant": "", "options": "", "keymap": "", "console": {"kept": [], "keymap": ""}, "refusal": "", "notes": []}


# -- the console --


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


def root_with(folder, texts):
    for path, text in texts.items():
        whole = folder / path.lstrip("/")
        whole.parent.mkdir(parents=True, exist_ok=True)
        whole.write_bytes(text if isinstance(text, bytes) else text.encode())
    return Tree(str(folder))


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
    ("us", "dvorak", "/usr/lib/kbd/keymaps/xkb/us-dvorak-intl.map.gz", "us"),
])
def test_the_console_gets_the_keymap_that_is_most_like_it(tmp_path, layout, variant, converted, keymap):
    # Whether a keymap is there counts, and not what is in it.
    there = root_with(tmp_path, {"/usr/share/systemd/kbd-model-map": MAP, **({converted: b""} if converted else {})})
    assert console({"layout": layout, "variant": variant, "options": "", "model": "pc105"}, there)["keymap"] == keymap


def test_other_lines_of_the_console_stay(tmp_path):
    begin = "# KEYMAP=us\r\nFONT=x\x0by\n\nKEYMAP_TOGGLE=us\n KEYMAP = de\nXKBVARIANT=nodeadkeys"
    there = root_with(tmp_path, {"/etc/vconsole.conf": begin})
    assert console({"layout": "us", "variant": "", "options": "", "model": "pc105"}, there) == {
        "kept": ["# KEYMAP=us\r", "FONT=x\x0by", "KEYMAP_TOGGLE=us"], "keymap": ""}


def test_a_console_that_is_not_utf_8_is_one_sentence(tmp_path):
    there = root_with(tmp_path, {"/etc/vconsole.conf": b"# caf\xe9\n"})
    with pytest.raises(Refused, match="/etc/vconsole.conf is not UTF-8"):
        console({"layout": "us", "variant": "", "options": "", "model": "pc105"}, there)


# -- services --


R4 = {"type": "AppVM", "persistence": "rw-only"}
AGENT = Machine("Debian", agent=True, leaves=True)


@pytest.mark.parametrize("config, on", [
    ({**R4, "vm_type": "AppVM"}, "evolution-data-server meminfo-writer qubes-update-check software-rendering tracker"),
    ({**R4, "vm_type": "NetVM"},
     "meminfo-writer network-manager qubes-firewall qubes-network qubes-update-check qubes-updates-proxy software-rendering"),
    ({**R4, "vm_type": "HVM"}, ""),
    ({"type": "AppVM", "vm_type": "AppVM"}, ""),
    ({"persistence": "full", "vm_type": "ProxyVM"}, "meminfo-writer qubes-firewall qubes-netwatcher qubes-network qubes-update-check"),
    ({"vm_type": "DisposableVM"}, "meminfo-writer"),
    ({}, ""),
])
def test_which_services_are_on_by_default(config, on):
    def found(machine, **more):
        return services.names(services.values(config), {**config, **more}, machine)

    assert found(Machine())["states"] == dict.fromkeys(on.split(), True)
    assert found(AGENT)["services"] == []
    assert found(AGENT, services={"cups": False})["states"] == {"cups": False}
    assert found(Machine(), services={"meminfo-writer": False})["states"] == {**dict.fromkeys(on.split(), True), "meminfo-writer": False}


def test_services_that_a_play_gives_are_all_there_are_whatever_they_equal():
    config = {**R4, "vm_type": "AppVM", "services": {"cups": True}}
    for states in ({}, {"cups": True, "tracker": False}, services.names(services.values(config), config, Machine())["states"]):
        for machine in (Machine(), AGENT):
            assert services.names({"states": states, "units": {}}, config, machine)["states"] == states


def test_services_have_the_units_that_look_for_them():
    found = services.names({"states": {"crond": False, "mine": True, "cups": True, "tracker": True}, "units": {"mine": ["a.service"], "cups": ["b"]}}, {},
                           Machine(systemd=True))
    assert found["services"] == [
        {"name": "crond", "is_on": False, "units": ["cron.service", "crond.service"]}, {"name": "cups", "is_on": True, "units": ["b"]},
        {"name": "mine", "is_on": True, "units": ["a.service"]}, {"name": "tracker", "is_on": True, "units": []}]
    # Where systemd does not run, no unit can be started.
    assert services.names({"states": {"cups": True}, "units": {}}, {}, Machine())["services"][0]["units"] == []


def test_what_is_no_service_is_refused():
    assert services.problems({"states": None, "units": {}}) == []
    assert services.problems({"states": {"getty@tty1": True, "a" * 48: False}, "units": {}}) == []
    found = services.problems({"states": {"../../etc/passwd": False, "a" * 49: True, "": True}, "units": {}})
    assert found[0] == ("services_states: the name '../../etc/passwd' is refused: expected a service name of at most 48 letters, digits and _ . @ -")
    assert len(found) == 3


# -- files of a user's own --


def test_entries_are_whole_and_have_what_their_keys_hold():
    given = [{"name": "proxy", "dest": "/etc/proxy"},
             {"name": "key", "dest": "/etc/key", "template": "key.j2", "mode": "0600", "owner": "0", "absent": "remove"}]
    assert vm_config.names({"files": given}, {"vm_config": {"proxy": "{{ x }}", "other": "y"}}, Machine())["entries"] == [
        {"name": "proxy", "dest": "/etc/proxy", "template": "file.j2", "mode": "0644", "owner": "", "group": "", "absent": "keep",
         "value": "{{ x }}", "missing": False},
        {"name": "key", "dest": "/etc/key", "template": "key.j2", "mode": "0600", "owner": "0", "group": "", "absent": "remove", "value": "", "missing": True}]
    # A value that is empty is not missing.
    assert vm_config.names({"files": given[:1]}, {"vm_config": {"proxy": ""}}, Machine())["entries"][0]["missing"] is False
    assert vm_config.keys({"files": given}) == ["vm-config/proxy", "vm-config/key"]


@pytest.mark.parametrize("entry, says", [
    ({"dest": "etc/proxy"}, "the dest 'etc/proxy' is refused: expected an absolute path"),
    ({"dest": "/etc/../passwd"}, "the dest '/etc/../passwd' is refused"), ({"dest": "-delete"}, "the dest '-delete' is refused"),
    ({"dest": "/etc/a\nb"}, "the dest '/etc/a\\nb' is refused"), ({"dest": "/"}, "the dest '/' is refused"),
    ({"name": "../proxy"}, "the name '../proxy' is refused"), ({"mode": "u+x"}, "the mode 'u+x' is refused"), ({"mode": "0999"}, "the mode '0999' is refused"),
    ({"owner": "a b"}, "the owner 'a b' is refused"), ({"group": "-x"}, "the group '-x' is refused"),
    ({"absent": "no"}, "the absent 'no' is refused: expected keep or remove"),
])
def test_what_is_no_file_is_refused(entry, says):
    found = vm_config.problems({"files": [{"name": "proxy", "dest": "/etc/proxy", **entry}]})
    assert len(found) == 1 and found[0].startswith("vm_config_files: " + says), found


def test_two_entries_of_one_file_are_refused():
    assert vm_config.problems({"files": [{"name": name, "dest": "/etc/proxy"} for name in ("a", "b")]}) == ["vm_config_files: two entries have the same dest"]
