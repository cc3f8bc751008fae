# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sets up what renders at each start, as the roles do, and starts it, as systemd does."""

from __future__ import annotations

import contextlib
import io
import json
import os
import stat
import subprocess
import sys
from unittest import mock

import qubesdblab
from ansible_collections.qubes.vmconfig.plugins.module_utils._values.every import ROLES
from ansible_collections.qubes.vmconfig.plugins.plugin_utils import _boot, _starting
from ansible_collections.qubes.vmconfig.plugins.plugin_utils._bundle import renderer

FOLDER = _starting.UNIT_BELOW.lstrip("/")
RENDERER = _starting.renderer_at(False).lstrip("/")
SAID = _starting.said_at(False).lstrip("/")
UNIT = _starting.UNIT.lstrip("/")
COLLECTION = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def install(root, roles=tuple(ROLES), family="Debian", **variables):
    """Installs below a root what renders these roles; a play has given the variables, by their roles."""
    os.makedirs(os.path.join(str(root), FOLDER), exist_ok=True)
    with open(os.path.join(str(root), RENDERER), "wb") as stream:
        stream.write(renderer())
    put(root, SAID, _starting.document(
        {role: _starting.Part(family, False, variables.get(role, {}), "Ansible managed", {})._asdict() for role in roles}))


def change_said(root, change):
    """Has a function change what the play said, by the role."""
    with open(os.path.join(str(root), SAID), encoding="utf-8") as stream:
        said = json.load(stream)
    change(said["roles"])
    put(root, SAID, json.dumps(said))


def start(root, keys, *options):
    """One start of a qube that holds these keys. Returns the exit code and what was said."""
    with qubesdblab.QubesdbLab() as lab:
        lab.add_own(keys)
        result = start_on(root, lab.url, *options)
        assert lab.violations("self") == []
    return result


def start_on(root, url, *options):
    command = [sys.executable, "-I", *options, os.path.join(str(root), RENDERER), "--root", str(root), "--store", url]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False, encoding="utf-8")
    assert done.stdout == ""
    return done.returncode, done.stderr.splitlines()


def start_here(root, url, installed=None):
    """The same in this process, which is quicker. What is ``installed`` may be below another root."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), mock.patch.object(sys, "argv", [os.path.join(str(installed or root), RENDERER)]):
        code = _boot.main(["--root", str(root), "--store", url])
    return code, said.getvalue().splitlines()


def tree(root, *left_out):
    """All that there is below a folder: path to mode, and link or text."""
    found = {}
    for path, folders, names in os.walk(str(root)):
        for name in folders + names:
            whole = os.path.join(path, name)
            below = os.path.relpath(whole, str(root))
            if below.startswith((FOLDER, "etc/systemd", *left_out)) or below in ("usr", "usr/lib"):
                continue
            mode = os.lstat(whole).st_mode
            if stat.S_ISLNK(mode):
                found[below] = (oct(mode), os.readlink(whole))
            else:
                found[below] = (oct(mode), open(whole, "rb").read() if stat.S_ISREG(mode) else b"")
    return found


def put(root, path, text=""):
    whole = os.path.join(str(root), path)
    os.makedirs(os.path.dirname(whole), exist_ok=True)
    with open(whole, "w", encoding="utf-8") as stream:
        stream.write(text)
