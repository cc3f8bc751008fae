# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection laid out under build/: its sources, the artifact, what is installed from it, and the environment to run it in."""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import typing as t

import setup
from setup import CACHE, ROOT, Failed, Venv

BUILD = os.path.join(ROOT, "build")
LOGS = os.path.join(BUILD, "log")
HOME = os.path.join(CACHE, "home")
SOURCES, TREE, FRESH = (os.path.join(BUILD, name) for name in ("src", "tree", "fresh"))
COLLECTION = os.path.join("ansible_collections", "qubes", "vmconfig")


def lay_out(venv: Venv) -> str:
    """Copies the sources, builds the artifact and installs it. Returns the artifact's path."""
    _make_home()
    sources = os.path.join(SOURCES, COLLECTION)
    for folder in (SOURCES, TREE):
        shutil.rmtree(folder, ignore_errors=True)
    for name in _source_files():
        target = os.path.join(sources, name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy2(os.path.join(ROOT, name), target, follow_symlinks=False)
    for old in glob.glob(os.path.join(BUILD, "qubes-vmconfig-*.tar.gz")):
        os.unlink(old)
    _galaxy(venv, "build", sources, "--output-path", BUILD)
    artifact, = glob.glob(os.path.join(BUILD, "qubes-vmconfig-*.tar.gz"))
    _galaxy(venv, "install", artifact, "--collections-path", TREE, "--offline")
    return artifact


def _source_files() -> t.List[str]:
    """What git tracks or would track; without git, or in a checkout that git does not trust, everything but our own output."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout.decode().split("\0")
        return [name for name in names if os.path.lexists(os.path.join(ROOT, name)) and name]
    except (OSError, subprocess.CalledProcessError):
        found = []
        for folder, folders, names in os.walk(ROOT):
            folders[:] = [name for name in folders if name not in (".git", ".cache", "build", "output", "__pycache__")]
            found += [os.path.relpath(os.path.join(folder, name), ROOT) for name in names]
        return found


def _galaxy(venv: Venv, *args: str) -> None:
    done = subprocess.run(
        [os.path.join(venv.bin, "ansible-galaxy"), "collection", *args],
        env=environment(venv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", check=False,
    )
    if done.returncode:
        raise Failed("ansible-galaxy collection %s failed:\n%s" % (args[0], done.stdout))


def environment(venv: Venv, **more: str) -> t.Dict[str, str]:
    """The caller's environment less all that would change a result, and with a home of our own, so that nothing of the user's is read."""
    ours = ("ANSIBLE_", "GIT_", "PYENV_", "PYTEST_", "PYTHON", "QUBES_", "VIRTUAL_ENV", "XDG_", "XENLAB_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    env.update(
        HOME=HOME,
        PATH=os.pathsep.join((venv.bin, setup.SYSTEM_PATH)),
        LC_ALL="C.UTF-8",
        ANSIBLE_COLLECTIONS_PATH=TREE,
        ANSIBLE_CONFIG=os.path.join(HOME, "ansible.cfg"),
        XENLAB_CACHE=CACHE,
        # Tools that ask git for files would find the checkout, which ignores build/, and quietly look at none.
        GIT_CEILING_DIRECTORIES=BUILD,
    )
    return {**env, **more}


def _make_home() -> None:
    """Our home has an empty configuration, and knows where the user's pip finds packages."""
    os.makedirs(os.path.join(HOME, ".config"), exist_ok=True)
    with open(os.path.join(HOME, "ansible.cfg"), "a", encoding="utf-8"):
        pass
    for name in (".config/pip", ".pip"):
        user, ours = os.path.join(os.path.expanduser("~"), name), os.path.join(HOME, name)
        if os.path.isdir(user) and not os.path.lexists(ours):
            os.symlink(user, ours)
