# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What renders at each start: installed by the roles, and run as systemd runs it, on the keys of a QubesDB daemon.

Whatever it writes has to be what the roles write, byte for byte.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time

import pytest
import qubesdblab
import yaml
from ansible_collections.qubes.vmconfig.plugins.plugin_utils import _boot
from ansible_collections.qubes.vmconfig.plugins.plugin_utils._bundle import renderer
from playing import environment, run
from starting import COLLECTION, FOLDER, RENDERER, SAID, UNIT, change_said, put, start, start_here, start_on, tree

# A short form is in test_roles.py.
pytestmark = pytest.mark.long

ROLES = ["timezone", "xkb", "resolver", "services", "vm_config", "display"]
RELEASES = ["r2", "r3", "r4"]
DECLARED = [
    {"name": "proxy", "dest": "/etc/proxy", "mode": "0600"},
    {"name": "fingerprint", "dest": "/etc/it/client.json", "template": "client.json.j2"},
    {"name": "gone", "dest": "/etc/it/gone", "absent": "remove"},
]
SETTINGS = {"vm-config/proxy": "{{ 40 + 2 }} @qubes-vmconfig-value@", "vm-config/fingerprint": '65A1 \\1 "'}
OLDER = ["__main__.py", "parts/timezone.json", "vmconfig/_boot.py", "vmconfig/_formats/timezone.py", "vmconfig/gone/__init__.py"]
AGENT = "usr/lib/qubes/init/functions"


def keys_of(release):
    """What a qube of this release holds, from the integration tests."""
    path = os.path.join(os.path.dirname(__file__), "..", "integration", "targets", "setup_rendering", "vars", "main", "qubes.yml")
    with open(path, encoding="utf-8") as stream:
        data = yaml.safe_load(stream)
    keymaps = {"{{ setup_rendering_keymaps.%s }}" % name: text for name, text in data["setup_rendering_keymaps"].items()}
    # As the tests of the role services have it.
    more = {"r3": {"qubes-service/cups": "0"}, "r4": {"vm-config/monitors": "1920x1080+0+0/480x270 1280x1024+1920+0"}}.get(release, {})
    return {**more, **{key: keymaps.get(value, value) for key, value in data["setup_rendering_" + release].items()}, **SETTINGS}


@pytest.fixture(name="play_root", scope="module")
def rendered_by_the_roles(tmp_path_factory):
    """A root in which the roles rendered what a qube of R4 sees, and installed what renders at each start."""
    folder = tmp_path_factory.mktemp("boot")
    root = str(folder / "root")
    for path in OLDER:
        put(root, os.path.join(FOLDER, path), "raise SystemExit('an older release')")
    (folder / "store.json").write_text(json.dumps({"r4": keys_of("r4")}))
    (folder / "client.json.j2").write_text('{"fingerprint": "{{ value }}"}\n')
    (folder / "play.yml").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "roles": ["qubes.vmconfig." + role for role in ROLES]}]))
    variables = {"vmconfig_apply": "both", "vmconfig_store": "file://%s/store.json" % folder, "vmconfig_destdir": root, "vmconfig_family": "Debian",
                 "vm_config_files": DECLARED, "xkb_model": "pc104"}
    done = run(folder, "play.yml", {"hosts": {"r4": variables}}, env=environment(ANSIBLE_PIPELINING="true"))
    assert done.returncode == 0, done.stdout.decode()[-3000:]
    return root


@pytest.fixture(name="root")
def fresh_root(play_root, tmp_path):
    """A root of its own, in which it is installed and nothing is rendered."""
    root = str(tmp_path / "root")
    for path in (FOLDER, "etc/systemd"):
        shutil.copytree(os.path.join(play_root, path), os.path.join(root, path), symlinks=True)
    return root


def expected(play_root, release="r4"):
    """The tree that the roles make; for the older releases out of what the tests of each role compare with."""
    found = tree(play_root)
    if release != "r4":
        own = ("run/qubes", "etc/default/", "etc/timezone", "etc/resolv", "etc/X11/")
        found = {path: entry for path, entry in found.items() if not path.startswith(own)}
        for role in ("xkb", "services"):
            known = os.path.join(COLLECTION, "tests", "integration", "targets", "role_" + role, "files", release)
            for path, (mode, text) in tree(known).items() if os.path.isdir(known) else []:
                # Of a file the mode is what a checkout made it.
                found[path] = ("0o100644" if mode.startswith("0o100") else "0o40755", text.replace(b'"pc105"', b'"pc104"'))
        keys = keys_of(release)
        zone, servers = keys["qubes-timezone"], (keys.get("qubes-primary-dns", keys["qubes-gateway"]), keys["qubes-secondary-dns"])
        found["etc/resolv.conf"] = ("0o100644", b"".join([b"nameserver %s\n" % server.encode() for server in servers]))
        found["etc/timezone"] = ("0o100644", zone.encode() + b"\n")
        found["etc/localtime"] = ("0o120777", "../usr/share/zoneinfo/" + zone)
    return found


def touched(root):
    return {path: (os.lstat(os.path.join(root, path)).st_ino, os.lstat(os.path.join(root, path)).st_ctime_ns) for path in tree(root)}


@pytest.mark.parametrize("release", RELEASES)
def test_it_renders_what_the_roles_render(play_root, root, release):
    put(root, "etc/it/gone", "is removed")
    # Nothing of the machine's site packages is there at boot.
    assert start(root, keys_of(release), "-S") == (0, [])
    assert tree(root) == expected(play_root, release)
    before = touched(root)
    assert start(root, keys_of(release)) == (0, [])
    assert touched(root) == before


def test_what_is_installed_is_two_files_and_all_of_an_older_release_is_gone(play_root):
    assert sorted(os.listdir(os.path.join(play_root, FOLDER))) == [os.path.basename(path) for path in (SAID, RENDERER)]
    with open(os.path.join(play_root, RENDERER), "rb") as stream:
        assert stream.read() == renderer()
    with open(os.path.join(play_root, SAID), encoding="utf-8") as stream:
        assert sorted(json.load(stream)["roles"]) == sorted(ROLES)
    # It has what the owner of a store may want to hide.
    assert os.stat(os.path.join(play_root, SAID)).st_mode & 0o7777 == 0o600


def test_systemd_takes_the_unit(play_root):
    done = subprocess.run(["systemd-analyze", "verify", os.path.join(play_root, UNIT)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    # It looks at units of the machine too, and none of them is ours.
    said = [line for line in done.stdout.decode().splitlines() if "qubes-vmconfig" in line and "Failed to open" not in line]
    # What is to be run is not below /.
    assert [line for line in said if FOLDER not in line] == []
    assert os.readlink(os.path.join(play_root, "etc/systemd/system/sysinit.target.wants/qubes-vmconfig.service")) == "/" + UNIT


@pytest.mark.parametrize("key, value, says, stays", [
    ("qubes-timezone", "../../etc/shadow", "timezone: key qubes-timezone: the value '../../etc/shadow' is refused: expected a zone", "etc/timezone"),
    ("qubes-timezone", "Europe/Atlantis", "timezone: the value 'Europe/Atlantis' is refused: there is no such zone", "etc/timezone"),
    ("vm-config/timezone", "UTC\nEvil", "timezone: the value 'UTC\\nEvil' is refused for what key qubes-timezone would hold", "etc/timezone"),
    ("qubes-primary-dns", "\x1b]0;title\x07\u202e", "resolver: key qubes-primary-dns: the value '\\x1b]0;title\\x07\\u202e' is refused", "etc/resolv.conf"),
    ("keyboard-layout", 'us"; reboot #', "xkb: key keyboard-layout: the value 'us\"; reboot #' is refused", "etc/default/keyboard"),
    ("qubes-service/cups", "yes", "services: key qubes-service/cups: the value 'yes' is refused", "run/qubes-service/cups"),
    ("vm-config/proxy", b"\xff\xfe", "vm_config: key vm-config/proxy: the value '\\xff\\xfe' is refused: expected text, in quotes; it is not", "etc/proxy"),
])
def test_a_value_that_is_refused_stops_no_other_role(play_root, root, key, value, says, stays):
    put(root, stays, "as it was")
    code, said = start(root, {**keys_of("r4"), key: value})
    assert code == 1 and len(said) == 1 and ("qubes-vmconfig: " + says) in said[0] and said[0].isprintable()
    assert open(os.path.join(root, stays), encoding="utf-8").read() == "as it was"
    own = "run/qubes" if stays.startswith("run") else stays
    others = ("etc/localtime", "etc/X11", "etc/it", own)
    assert tree(root, *others) == tree(play_root, *others)


@pytest.mark.parametrize("folder", ["etc/qubes", "rw/config"])
def test_what_is_protected_stays(play_root, root, folder):
    put(root, folder + "/protected-files.d/mine", "# comment\n/etc/localtime\n /etc/proxy\n/etc/resolv.conf")
    put(root, folder + "/protected-files.d/old.rpmsave", "/etc/proxy\n")
    assert start(root, keys_of("r4")) == (0, [])
    assert set(tree(play_root)) - set(tree(root)) == {"etc/localtime", "etc/timezone", "etc/resolv.conf"}


def test_what_the_agent_writes_is_left_to_it(play_root, root):
    put(root, AGENT)
    assert start(root, keys_of("r4")) == (0, [])
    # Of the services those that a key names, which the agent writes from the same keys at the same place; its defaults are its own.
    defaults = {path for path in tree(play_root) if path.startswith("run/qubes-service/")} - {"run/qubes-service/cups"}
    assert defaults and set(tree(play_root)) - set(tree(root)) == {"etc/localtime", "etc/timezone", "etc/resolv.conf", *defaults}


def test_what_is_taken_over_is_named_first(play_root, root):
    put(root, AGENT)
    put(root, "etc/qubes/protected-files.d/mine", "/etc/resolv.conf\n")
    change_said(root, lambda said: [said[role].update(take_over=True) for role in ("timezone", "resolver")])
    # /etc of this qube is lost at shutdown, /rw is not.
    for dummy in range(2):
        assert start(root, keys_of("r4")) == (0, [])
        assert open(os.path.join(root, "rw/config/protected-files.d/qubes-vmconfig"), encoding="utf-8").read() == "/etc/timezone\n"
    there = tree(root)
    assert there["etc/localtime"] == tree(play_root)["etc/localtime"] and "etc/resolv.conf" not in there


def test_it_follows_no_link_out(root, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("stays")
    os.makedirs(os.path.join(root, "etc"), exist_ok=True)
    os.symlink(str(outside), os.path.join(root, "etc", "it"))
    os.symlink(str(outside / "secret"), os.path.join(root, "etc", "proxy"))
    code, said = start(root, keys_of("r4"))
    assert code == 1 and said == ["qubes-vmconfig: vm_config: '/etc/it/client.json' could not be written, and is as it was: "
                                  "a symbolic link in its path leads to '%s', which is not there" % outside.parts[1]]
    assert {path.name: path.read_text() for path in outside.iterdir()} == {"secret": "stays"}
    # Of a role all is written, or nothing.
    assert os.path.islink(os.path.join(root, "etc", "proxy"))
    os.unlink(os.path.join(root, "etc", "it"))
    assert start(root, keys_of("r4")) == (0, [])
    assert not os.path.islink(os.path.join(root, "etc", "proxy")) and (outside / "secret").read_text() == "stays"


def test_what_cannot_be_written_stops_no_other_role_and_leaves_nothing_behind(play_root, root):
    put(root, "etc/resolv.conf/a-folder/is-here")
    put(root, "etc/.proxy.qubes-vmconfig", "an interrupted run left this")
    code, said = start(root, keys_of("r4"))
    assert code == 1 and len(said) == 1 and said[0].startswith("qubes-vmconfig: resolver: '/etc/resolv.conf' could not be written, and is as it was: ")
    assert tree(root, "etc/resolv.conf") == tree(play_root, "etc/resolv.conf")


def test_without_keys_nothing_is_written(root, tmp_path):
    for url, says in (("qubesdb://%s" % tmp_path, "qubesdb.sock"), ("xenstore:///dev/null", "pyxs")):
        code, said = start_on(root, url, "-S")
        assert code == 1 and len(said) == 1 and said[0].startswith("qubes-vmconfig: ") and says in said[0]
    assert set(tree(root)) == {"etc"}


def test_no_interface_is_not_the_same_as_no_keys(root):
    code, said = start(root, {"vm-config/proxy": "x"})
    assert code == 1 and len(said) == 1 and "no VM configuration interface" in said[0]


@pytest.mark.parametrize("text, says", [
    ('{"format": 1, ', "Expecting"), ("[]", "another form"), ('{"format": 9, "roles": {}}', "another form"), ("[" * 100000, "another form"),
    ('{"format": 1, "roles": {"xkb": {"family": "Debian", "take_over": false}}}', "another form"), (None, "No such file"),
], ids=["cut", "list", "newer", "deep", "incomplete", "nowhere"])
def test_what_a_play_said_that_is_broken_is_one_error_and_nothing_is_written(root, text, says):
    path = os.path.join(root, SAID)
    os.remove(path)
    if text is None:
        os.symlink("nowhere", path)
    else:
        put(root, SAID, text)
    code, said = start(root, keys_of("r4"))
    assert code == 1 and len(said) == 1 and said[0].startswith("qubes-vmconfig: %s is not as the roles wrote it: " % path) and says in said[0], said
    assert set(tree(root)) == {"etc"}


def test_a_root_that_is_not_there_is_one_error(root, tmp_path):
    with qubesdblab.QubesdbLab() as lab:
        lab.add_own(keys_of("r4"))
        assert start_on(root, lab.url, "-S")[0] == 0
        done = subprocess.run([sys.executable, "-I", os.path.join(root, RENDERER), "--root", str(tmp_path / "nowhere"), "--store", lab.url],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False, encoding="utf-8")
    assert (done.returncode, done.stderr) == (1, "qubes-vmconfig: '%s': there is no such directory\n" % (tmp_path / "nowhere"))


def test_a_start_ends_when_a_daemon_does_not_answer(root, tmp_path, monkeypatch):
    monkeypatch.setattr(_boot, "LIMIT", 1)
    monkeypatch.setattr(_boot, "_read", lambda url: time.sleep(20))
    began = time.monotonic()
    (tmp_path / "there").mkdir()
    assert start_here(tmp_path / "there", "auto", root) == (
        1, ["qubes-vmconfig: it took longer than 1 seconds and was ended; what was not yet written is as it was"])
    assert time.monotonic() - began < 10
