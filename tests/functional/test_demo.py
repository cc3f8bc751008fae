# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The demo keeps its promises: it is short and as quick as it says, what it shows can be copied, and it ends where what it says does not hold."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
LINES = 150
TOLD = ["the diff has each key", "something changed", "nothing changed", "each key has its value", "they say what the keys say",
        "the audit lists /etc/timezone and vm-config/proxy"]
sys.path.append(str(ROOT / "tests" / "demo"))

import demo  # noqa: E402  # pylint: disable=wrong-import-position


@pytest.fixture(name="folder")
def project_folder(tmp_path):
    """What the demo uses of the project's folder."""
    for name in ("examples", "tests/demo", "tests/lab"):
        shutil.copytree(str(ROOT / name), str(tmp_path / name))
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "tree").symlink_to(ROOT.parent.parent.parent)
    return tmp_path


def demonstrate(folder, store="file"):
    """The demo's exit status, and what it prints."""
    done = subprocess.run([sys.executable, "tests/demo/demo.py", "--store", store], cwd=str(folder), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, encoding="utf-8", timeout=demo.TIMEOUT, check=False)
    return done.returncode, done.stdout


def copied(folder, commands):
    """What a newcomer's own shell prints who pastes these commands into it."""
    env = {"HOME": str(folder), "PATH": "/usr/local/bin:/usr/bin:/bin"}
    env.update({name: os.environ[name] for name in ("XENLAB_CACHE",) if name in os.environ})
    done = subprocess.run(["bash"], cwd=str(folder), env=env, input="".join(command + "\n" for command in commands), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, encoding="utf-8", timeout=demo.TIMEOUT, check=True)
    return [line for line in done.stdout.splitlines() if line.strip()]


@pytest.mark.parametrize("store", ["file", *(pytest.param(store, marks=pytest.mark.long) for store in ("xenstore", "qubesdb"))])
def test_it_keeps_its_promises(store, folder, request):
    if store == "xenstore":
        request.getfixturevalue("xen")
    code, output = demonstrate(folder, store)
    assert code == 0, output[-3000:]
    assert len(demo.OPENING.splitlines()) + len(output.splitlines()) <= LINES, output
    assert re.findall(r"(?m)^As it should be: (.*)\.$", output) == TOLD
    # The commands make it all again, without anything of what the demo has in its environment.
    shutil.rmtree(str(folder / "build" / "demo" / demo.QUBE))
    steps = output[output.index("\n### 1."):output.index("\nThe command of step")].splitlines()
    said = [line for line in steps if line and not line.startswith(("$ ", "### ", "As it should be: "))]
    assert copied(folder, [line[2:] for line in steps if line.startswith("$ ")]) == said


@pytest.mark.parametrize("declared, told", [
    ("Europe/Warsaw", "Europe/Berlin"),
    ("vm-config/timezone", "qubes-timezones"),
], ids=["another value", "a key that there is not"])
def test_it_ends_where_that_does_not_hold(declared, told, folder):
    declaration = folder / "examples" / "qubes.yml"
    declaration.write_text(declaration.read_text().replace(declared, told))
    code, output = demonstrate(folder)
    assert code == 1
    expected = "this does not hold: the diff has each key" if declared == "Europe/Warsaw" else "that command ended with 2"
    assert output.splitlines()[-1].endswith(expected)
    assert "### 4." not in output
