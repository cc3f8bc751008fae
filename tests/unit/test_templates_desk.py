# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of the keyboard, the services and a user's own: which there are, and their texts."""

from __future__ import annotations

import os
import re

import pytest
from ansible_collections.qubes.vmconfig.plugins.module_utils._machine import Machine
from rolefiles import HOME, files_of, texts, tree

US_SE = {"model": "pc105", "layout": "us,se", "variant": "", "options": "grp:alt_shift_toggle"}
FR = {"model": "pc105", "layout": "fr", "variant": "", "options": ""}
MINE = ["# Mine.", 'FONT="eurlatgr"']
NOTHING = {"kept": [], "keymap": ""}
CONSOLE = "/usr/share/systemd/kbd-model-map"


@pytest.mark.parametrize("expected, family, names, console", [
    ("r4", "Debian", US_SE, NOTHING),
    ("r2", "Debian", FR, NOTHING),
    ("fedora-r4", "RedHat", US_SE, {"kept": MINE, "keymap": "us"}),
    ("fedora-oss", "RedHat", {**FR, "variant": "oss"}, {"kept": MINE, "keymap": "fr-oss"}),
    ("arch", "Archlinux", FR, NOTHING),
])
def test_the_files_of_a_keyboard_are_those_that_the_role_writes(expected, family, names, console):
    there = tree("xkb", expected)
    there.pop(CONSOLE, None)
    files = files_of("xkb", machine=Machine(family), asked={**names, "keymap": there["/etc/X11/qubes-keymap.xkb"], "console": console})
    assert texts(files) == there
    assert {file.mode for file in files.values()} == {"0644"} and not any(file.agent for file in files.values())


def test_of_a_keyboard_there_is_only_what_is_known():
    nothing = {"layout": "", "variant": "", "options": "", "keymap": "", "console": NOTHING}
    assert files_of("xkb", asked=nothing) == {}
    assert list(files_of("xkb", asked={**nothing, "keymap": "xkb_keymap { };\n"})) == ["/etc/X11/qubes-keymap.xkb"]
    assert list(files_of("xkb", asked={**FR, "keymap": "", "console": NOTHING})) == ["/etc/default/keyboard", "/etc/X11/xorg.conf.d/00-keyboard.conf"]


def test_no_value_of_a_keyboard_is_a_template():
    asked = {**FR, "keymap": "xkb_keymap { {{ 6 * 7 }} };", "console": {"kept": ["# {{ 6 * 7 }} {% raw %}", "\tFONT=\x0bé\r"], "keymap": ""}}
    found = texts(files_of("xkb", machine=Machine("RedHat"), asked=asked))
    assert found["/etc/vconsole.conf"] == "# {{ 6 * 7 }} {% raw %}\n\tFONT=\x0bé\r\nXKBLAYOUT=fr\nXKBMODEL=pc105\n"
    assert found["/etc/X11/qubes-keymap.xkb"] == "xkb_keymap { {{ 6 * 7 }} };"


def test_the_template_on_the_page_adds_an_option_for_x_servers():
    with open(os.path.join(HOME, "roles", "xkb", "README.md"), encoding="utf-8") as stream:
        own = {"xkb/00-keyboard.conf.j2": re.search("(?s)```jinja\n(.*?)```", stream.read()).group(1)}
    asked = {**FR, "keymap": "", "console": NOTHING}
    dest = "/etc/X11/xorg.conf.d/00-keyboard.conf"
    plain = files_of("xkb", asked=asked)[dest].text
    assert files_of("xkb", asked=asked, own=own)[dest].text == plain.replace("EndSection", '\tOption "XkbRules" "evdev"\nEndSection')


# -- files of a user's own --


@pytest.mark.parametrize("value, text", [
    ("", ""), ("x", "x\n"), ("x\n", "x\n"), ("\n", "\n"), ("x\n\n", "x\n\n"), ("a\r\nb\r\n", "a\r\nb\r\n"), (" x ", " x \n"),
    ("1.10", "1.10\n"), ('{"a": [1, 2.0], "b": null}', '{"a": [1, 2.0], "b": null}\n'), ('{{ 40 + 2 }} {% raw %} {# "', '{{ 40 + 2 }} {% raw %} {# "\n'),
    ("<&>é\u2028", "<&>é\u2028\n"),
])
def test_a_file_is_the_value_as_lines(value, text):
    files = files_of("vm_config", {"vm_config": {"proxy": value}}, {"files": [{"name": "proxy", "dest": "/etc/proxy"}]})
    assert texts(files) == {"/etc/proxy": text}


def test_a_template_of_an_entry_has_its_names():
    own = {"vm_config/client.json.j2": '{"{{ name }}": "{{ value }}"} of {{ config.name }} on {{ machine.family }}\n# {{ ansible_managed }}\n'}
    entry = {"name": "SD_KEY", "dest": "/etc/it/client.json", "template": "client.json.j2", "mode": "0600", "owner": "user", "group": "users"}
    file = files_of("vm_config", {"name": "sd-app", "vm_config": {"SD_KEY": '65A1 \\1 "{{ x }}"'}}, {"files": [entry]}, own=own)["/etc/it/client.json"]
    assert file.text == '{"SD_KEY": "65A1 \\1 "{{ x }}""} of sd-app on Debian\n# Ansible managed\n'
    assert (file.mode, file.owner, file.group, file.absent) == ("0600", "user", "users", False)


def test_a_key_that_is_not_there_leaves_its_file_or_removes_it():
    entries = [{"name": "kept", "dest": "/etc/kept"}, {"name": "gone", "dest": "/etc/gone", "absent": "remove"},
               {"name": "there", "dest": "/etc/there", "absent": "remove"}]
    files = files_of("vm_config", {"vm_config": {"there": "x"}}, {"files": entries})
    assert {dest: file.absent for dest, file in files.items()} == {"/etc/gone": True, "/etc/there": False}
    assert files_of("vm_config", {}, {"files": []}) == {}


# -- services --


def test_a_service_that_is_on_has_an_empty_file_and_one_that_is_off_has_none():
    files = files_of("services", given={"states": {"cups": True, "getty@tty": True, "crond": False}})
    assert {dest: (file.text, file.absent) for dest, file in files.items()} == {
        "/run/qubes-service/cups": ("", False), "/run/qubes-service/getty@tty": ("", False), "/run/qubes-service/crond": (None, True)}
    # The agent's are the same files from the same keys, so this only brings them forward.
    assert not any(file.agent for file in files.values())


@pytest.mark.parametrize("expected, config", [
    ("r4", {"type": "AppVM", "vm_type": "AppVM", "persistence": "rw-only", "services": {"cups": True, "getty@tty": True}}),
    ("r2", {"vm_type": "AppVM"}),
    ("r3", {"vm_type": "AppVM", "persistence": "rw-only", "services": {"cups": False}}),
])
def test_the_files_of_services_are_those_that_the_role_writes(expected, config):
    assert texts(files_of("services", config)) == tree("services", expected)


@pytest.mark.parametrize("config, there", [
    ({"vm_type": "AppVM", "persistence": "rw-only"}, ["persistent-rw-only", "this-is-appvm"]),
    ({"vm_type": "NetVM", "persistence": "full"}, ["persistent-full", "this-is-netvm"]),
    ({"vm_type": "ProxyVM", "persistence": "none"}, ["persistent-none", "this-is-proxyvm"]),
    ({"vm_type": "TemplateVM"}, ["this-is-templatevm"]),
    # A type without a flag.
    ({"vm_type": "DisposableVM"}, []),
    ({}, []),
])
def test_the_flags_say_what_the_qube_is(config, there):
    flags = {dest[len("/run/qubes/"):]: file for dest, file in files_of("services", config, {"states": {}}).items()}
    assert sorted(flag for flag, file in flags.items() if not file.absent) == there
    assert all(file.text == "" for file in flags.values() if not file.absent)
    # What a key says nothing of is left alone.
    assert len(flags) == 4 * ("vm_type" in config) + 3 * ("persistence" in config)
