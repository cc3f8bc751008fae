# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sets up what renders at each start, as the roles do, and starts it, as systemd does."""

from __future__ import annotations

import glob
import json
import os
import shutil
import stat
import subprocess
import sys

import qubesdblab
import yaml
from ansible_collections.qubes.vmconfig.plugins.module_utils._formats.every import ROLES

FOLDER = "usr/lib/qubes-vmconfig"
UNIT = "etc/systemd/system/qubes-vmconfig.service"
COLLECTION = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
MODULES = os.path.join(COLLECTION, "plugins", "module_utils")


def set_up(folder, roles=tuple(ROLES), family="Debian"):
    """Below a folder, the parts of these roles, whose user has set no variable."""
    (folder / "parts").mkdir(exist_ok=True)
    for role in roles:
        (folder / "parts" / (role + ".json")).write_text(json.dumps({"family": family, "take_over": False, "variables": {}}))


def modules():
    """What the role copies of the collection: paths below plugins/module_utils."""
    with open(os.path.join(COLLECTION, "roles", "read_keys", "vars", "main.yml"), encoding="utf-8") as stream:
        patterns = yaml.safe_load(stream)["__read_keys_boot_parts"]
    found = [os.path.relpath(path, MODULES) for pattern in patterns for path in glob.glob(os.path.join(MODULES, pattern))]
    return sorted(set(found) - {"_stores/admin.py", "_stores/file.py", "_stores/threads.py"})


def copy_modules(root, names):
    """What a role would install a file at a time, which takes its time."""
    for module in names:
        put(root, os.path.join(FOLDER, "vmconfig", module))
        shutil.copy(os.path.join(MODULES, module), os.path.join(root, FOLDER, "vmconfig", module))


def start(root, keys, *options):
    """One start of a qube that holds these keys. Returns the exit code and what was said."""
    with qubesdblab.QubesdbLab() as lab:
        lab.add_own(keys)
        result = start_on(root, lab.url, *options)
        assert lab.violations("self") == []
    return result


def start_on(root, url, *options):
    command = [sys.executable, "-I", *options, os.path.join(root, FOLDER), "--root", root, "--store", url]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False, encoding="utf-8")
    assert done.stdout == ""
    return done.returncode, done.stderr.splitlines()


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
    whole = os.path.join(root, path)
    os.makedirs(os.path.dirname(whole), exist_ok=True)
    with open(whole, "w", encoding="utf-8") as stream:
        stream.write(text)
