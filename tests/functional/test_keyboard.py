# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keyboard of a running X server, a real one: it gets what the keys say once, and loses what they no longer say."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from namespaces import unshared
from playing import command, environment

KEYMAP = r'xkb_keymap {\n\txkb_keycodes  { include "evdev"\t};\n\txkb_types     { include "complete"\t};\n\txkb_compat    { include "complete"\t};\n' \
    r'\txkb_symbols   { include "pc+pl(dvorak)+inet(evdev)"\t};\n\txkb_geometry  { include "pc(pc105)"\t};\n};'
ISOLATED = """
set -eu
mount --bind etc /etc
test -e /etc/it-is-a-copy
mkdir -p /tmp/.X11-unix
mount -t tmpfs -o mode=1777 none /tmp/.X11-unix
Xvfb :%(display)d -nolock -noreset -nolisten tcp > xvfb.log 2>&1 &
server=$!
trap 'kill $server' EXIT
until setxkbmap -display :%(display)d -query > begin.query 2> /dev/null; do kill -0 $server; sleep 0.1; done
%(command)s
"""
# Without a lock, which one that was killed would leave in /tmp. Its socket is where no other machine looks.
DISPLAY = 100 + os.getpid() % 900


def playbook(folder, plays):
    (folder / "play.yml").write_text(json.dumps(plays))
    return "play.yml"


pytestmark = pytest.mark.long

# Plays in their order: the qube that it is, whether it is check mode, and what is set beside.
STEPS = {
    "checked": ("two", True, {}),
    "set": ("two", False, {}),
    "again": ("two", False, {}),
    "without-options": ("oss", False, {}),
    "keymap": ("keymap", False, {"xkb_display": ":%d" % DISPLAY}),
    "keymap-again": ("keymap", False, {}),
    "part": ("part", False, {}),
    "none": ("two", False, {"xkb_display": ""}),
    "boot": ("two", False, {"vmconfig_apply": "boot", "vmconfig_boot": "absent"}),
}
LIVE = {
    "two": {"keyboard-layout": "us,se++grp:alt_shift_toggle,compose:caps"},
    "oss": {"keyboard-layout": "fr+oss"},
    "keymap": {"qubes-keyboard": KEYMAP},
    # No X server takes a keymap without its other parts.
    "part": {"qubes-keyboard": r'xkb_keymap {\n\txkb_symbols { include "pc+us+inet(evdev)+epo(qwerty)" };\n};'},
}


@pytest.fixture(name="live", scope="module")
def keyboard_of_a_running_server(tmp_path_factory):
    """What each of STEPS changed, said and left to a real X server, on a copy of /etc."""
    folder = tmp_path_factory.mktemp("live")
    (folder / "store.json").write_text(json.dumps(LIVE))
    subprocess.run("mkdir etc && cp -a /etc/. etc 2>/dev/null; touch etc/it-is-a-copy; mkdir -p etc/qubes/protected-files.d; rm -rf etc/X11/xorg.conf.d;"
                   "echo /etc/X11/xorg.conf.d/00-keyboard.conf > etc/qubes/protected-files.d/mine; echo FONT=eurlatgr > etc/vconsole.conf",
                   shell=True, cwd=str(folder), check=True)
    plays, hosts = [], {}
    for step, (qube, check, variables) in STEPS.items():
        hosts[step] = {"vmconfig_qube": qube, **variables}
        look = "setxkbmap -display :%(display)d -query > %(step)s.query; xkbcomp -w 0 -xkb :%(display)d %(step)s.dump; cp etc/vconsole.conf %(step)s.vconsole"
        looked = {"name": "look", "ansible.builtin.shell": look % {"display": DISPLAY, "step": step}, "args": {"chdir": str(folder)},
                  "changed_when": False, "check_mode": False}
        plays.append({"hosts": step, "gather_facts": False, "check_mode": check, "roles": ["qubes.vmconfig.xkb"], "post_tasks": [looked]})
    shared = {"vmconfig_store": "file://%s" % (folder / "store.json"), "vmconfig_family": "RedHat", "ansible_connection": "local",
              "ansible_python_interpreter": sys.executable}
    (folder / "hosts.yml").write_text(json.dumps({"all": {"hosts": hosts, "vars": shared}}))
    script = folder / "isolated.sh"
    script.write_text("#!/bin/sh" + ISOLATED % {
        "display": DISPLAY, "command": "%s -i hosts.yml --diff %s" % (command("ansible-playbook"), playbook(folder, plays))})
    script.chmod(0o755)
    done = subprocess.run([*unshared("--pid", "--fork", "--kill-child"), str(script)], cwd=str(folder), env=environment(ANSIBLE_PIPELINING="1"),
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    recap = {host: (int(changed), int(failed)) for host, changed, failed in re.findall(r"(?m)^([\w-]+) .*changed=(\d+).*failed=(\d+)", done.stdout)}
    return folder, recap, done.stdout


def query(folder, step):
    return dict(line.split(":", 1) for line in re.sub(r": +", ":", (folder / (step + ".query")).read_text()).splitlines())


TWO = {"rules": "evdev", "model": "pc105", "layout": "us,se", "options": "grp:alt_shift_toggle,compose:caps"}
OSS = {"rules": "evdev", "model": "pc105", "layout": "fr", "variant": "oss"}


def test_check_mode_tells_what_the_run_does_and_leaves_the_server(live):
    folder, recap, text = live
    assert query(folder, "checked") == query(folder, "begin")
    assert (folder / "checked.vconsole").read_text() == "FONT=eurlatgr\n" != (folder / "set.vconsole").read_text()
    # The directory, two files, the server; one file is protected.
    assert recap["checked"] == recap["set"]
    assert text.count("Give the X server the keyboard") >= 2


def test_a_server_gets_layout_and_options_once(live):
    folder, recap, dummy = live
    assert query(folder, "set") == TWO
    assert recap["again"] == (0, 0)
    assert query(folder, "again") == TWO
    assert b'pc+us+se:2+inet(evdev)+group(alt_shift_toggle)+compose(caps)' in (folder / "set.dump").read_bytes()


def test_options_that_are_no_longer_wanted_are_dropped(live):
    folder, recap, dummy = live
    assert query(folder, "without-options") == OSS
    assert recap["without-options"][1] == 0
    assert (folder / "without-options.vconsole").read_text() == "FONT=eurlatgr\n%sXKBLAYOUT=fr\nXKBMODEL=pc105\nXKBVARIANT=oss\n" % (
        "KEYMAP=fr\n" if os.path.exists("/usr/share/systemd/kbd-model-map") else "")


def test_a_server_gets_a_whole_keymap_once(live):
    folder, recap, dummy = live
    assert b'xkb_symbols "pc+pl(dvorak)+inet(evdev)"' in (folder / "keymap.dump").read_bytes()
    assert recap["keymap"][0] > 0
    assert recap["keymap-again"] == (0, 0)


def test_a_keymap_that_lacks_a_part_gives_a_server_what_it_names(live):
    folder, recap, dummy = live
    assert recap["part"][1] == 0
    assert query(folder, "part") == {"rules": "evdev", "model": "pc105", "layout": "us", "options": "esperanto:qwerty"}


@pytest.mark.parametrize("step", ["none", "boot"])
def test_a_server_that_is_not_to_get_a_keyboard_keeps_what_it_has(live, step):
    folder, recap, dummy = live
    assert recap[step][1] == 0
    assert query(folder, step) == query(folder, "part")


def test_a_protected_file_of_the_keyboard_is_left_alone(live):
    folder, dummy, text = live
    assert not (folder / "etc/X11/xorg.conf.d/00-keyboard.conf").exists()
    assert "These files of set are protected, and are left alone: /etc/X11/xorg.conf.d/00-keyboard.conf" in " ".join(text.split())
