# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Modules that look at a machine and write to it, run alone: what is given to them and is none of what they take, and what they leave."""

from __future__ import annotations

import json
import os
import types

import pytest
from ansible.module_utils import basic
from ansible_collections.qubes.vmconfig.plugins.modules import place_info, render


@pytest.fixture(name="run")
def run_of_a_module(monkeypatch, capsys):
    """Runs a module in this process, and returns its result."""
    def run(module, **params):
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": params}).encode())
        # Newer cores are told how the module's arguments are written.
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        with pytest.raises(SystemExit):
            module.main()
        return json.loads(capsys.readouterr().out)

    return run


class SELinux(types.SimpleNamespace):
    """The library of a system with SELinux, on which all that there is has one context, and all should have another."""

    def __init__(self):
        super().__init__(set={})

    def is_selinux_enabled(self):
        return 1

    def is_selinux_mls_enabled(self):
        return 1

    def matchpathcon(self, path, mode):
        return 0, "system_u:object_r:etc_t:s0"

    def lgetfilecon_raw(self, path):
        os.lstat(path)
        return 0, "system_u:object_r:unlabeled_t:s0"

    def lsetfilecon(self, path, context):
        os.lstat(path)
        self.set[path] = context
        return 0


def test_a_file_that_goes_has_no_context_of_selinux(run, monkeypatch, tmp_path):
    library = SELinux()
    monkeypatch.setattr(basic, "HAVE_SELINUX", True)
    monkeypatch.setattr(basic, "selinux", library, raising=False)
    going, coming = tmp_path / "going", tmp_path / "coming"
    going.write_text("x\n")
    result = run(render, files=[{"dest": str(going), "absent": True}, {"dest": str(coming), "content": "x\n"}])
    assert result.get("changed_files") == [str(going), str(coming)], result
    assert library.set == {str(coming): "system_u:object_r:etc_t:s0"} and not going.exists()


# -- what is no file: the entry, and what its error says. Add yours --

NONE = {
    "absent-and-is-not": ({"absent": False}, "src, content, link and absent"),
    "absent-and-is-not-as-text": ({"absent": "no"}, "src, content, link and absent"),
    "template-that-nobody-rendered": ({"src": "x.j2"}, "src, content, link and absent"),
    "link-to-nothing": ({"link": ""}, "expected where it leads"),
    "link-with-a-nul": ({"link": "a\0b"}, "'a\\x00b'"),
    "mode": ({"content": "x", "mode": "rw-r--r--"}, "'rw-r--r--'"),
    "owner-that-is-too-large": ({"content": "x", "owner": "99999999999"}, "'99999999999'"),
    "owner-that-means-nobody": ({"content": "x", "owner": str(2**32 - 1)}, "'4294967295'"),
    "group-of-other-digits": ({"content": "x", "group": "²"}, "'²'"),
    "group-that-is-not-there": ({"content": "x", "group": "no-such-group"}, "'no-such-group'"),
}


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("name", NONE)
def test_what_is_no_file_is_refused_before_the_first_is_written(run, tmp_path, name, check):
    entry, said = NONE[name]
    there = tmp_path / "there"
    there.write_text("of long standing\n")
    result = run(render, files=[{"dest": str(tmp_path / "first"), "content": "x\n"}, {"dest": str(there), **entry}], _ansible_check_mode=check)
    assert result.get("failed") and said in result["msg"] and "there" in result["msg"], result
    assert there.read_text() == "of long standing\n" and [path.name for path in tmp_path.iterdir()] == ["there"]


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("dest", ["/etc/\0x", "/\0/x", "/etc/\ud800"], ids=ascii)
def test_what_no_file_can_be_called_is_refused_by_a_dry_run_too(run, tmp_path, dest, check):
    result = run(render, files=[{"dest": dest, "content": "x\n"}], destdir=str(tmp_path), _ansible_check_mode=check)
    assert result.get("failed") and "could not be written" in result["msg"] and not list(tmp_path.rglob("*")), result


def test_one_file_is_not_written_twice(run, tmp_path):
    result = run(render, files=[{"dest": "/a", "content": "x\n"}, {"dest": "/b", "content": "x\n"}, {"dest": "/a", "absent": True}], destdir=str(tmp_path))
    assert result.get("failed") and "'/a': two of the files have this dest" in result["msg"] and not list(tmp_path.iterdir()), result


PATHS = ["/etc/\0x", "\0", "/etc/" + 5000 * "x", 3000 * "/etc", "", "/", "/..", "/etc/passwd/x"]


@pytest.mark.parametrize("path", PATHS, ids=map(ascii, PATHS))
def test_what_is_no_path_is_not_there(run, tmp_path, path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("x\n")
    root = str(tmp_path)
    for given in ({"paths": [path], "destdir": root}, {"texts": [path], "destdir": root}, {"paths": ["/etc"], "destdir": root + path}):
        result = run(place_info, **given)
        assert "exception" not in result and (result.get("failed") or not set(result["paths"]) - {"/etc", "/", "/..", ""} and not result["texts"]), result
