# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one file that renders at each start: the same whoever makes it, small, and run by a Python that has nothing else."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import zipfile

import jinja2
import markupsafe
import pytest
import qubesdblab
import yaml
from ansible_collections.qubes.vmconfig.plugins.module_utils._values.every import ROLES
from ansible_collections.qubes.vmconfig.plugins.plugin_utils._bundle import renderer
from machines import NETVM
from starting import COLLECTION, RENDERER, install, put, start_here, start_on, tree
from test_pythons import interpreter

LARGEST = 1_000_000
# Makes the file without Ansible, of what is imported from where the second argument says, and tells what it is.
MAKE = """
import hashlib, sys
sys.path[:0] = sys.argv[1:]
from plugins.plugin_utils._bundle import renderer
assert not [name for name in sys.modules if name.partition(".")[0].startswith("ansible")]
print(hashlib.sha256(renderer()).hexdigest())
"""
# Runs the file, and tells of which files the modules were.
RUN = """
import json, runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as error:
    assert not error.code, error.code
import jinja2
print(json.dumps([jinja2.__version__, sorted({getattr(module, "__file__", None) or "" for name, module in sys.modules.items() if name != "__main__"})]))
"""
NETWORKD = "etc/systemd/system/multi-user.target.wants/systemd-networkd.service"


@pytest.fixture(name="qube", scope="module")
def one_netvm():
    with qubesdblab.QubesdbLab() as lab:
        lab.add_own(NETVM)
        yield lab


@pytest.fixture(name="libraries")
def folder_of_libraries(tmp_path):
    """What a controller has beside Ansible, and nothing of it that is compiled, so that every Python can use it."""
    (tmp_path / "libraries").mkdir()
    for library in (jinja2, markupsafe, yaml):
        os.symlink(os.path.dirname(library.__file__), tmp_path / "libraries" / library.__name__)
    return str(tmp_path / "libraries")


def made(python, libraries, umask, seed):
    done = subprocess.run(
        [python, "-S", "-B", "-c", MAKE, os.path.abspath(COLLECTION), libraries], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False,
        encoding="utf-8", cwd="/", env={"PYTHONHASHSEED": str(seed), "TZ": "Asia/Tokyo" if seed else "UTC", "LC_ALL": "C"}, umask=umask)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12", "3.13"])
def test_whoever_makes_it_makes_the_same(version, libraries):
    """Of the Python and the ansible-core of a controller nothing is in it."""
    digest = hashlib.sha256(renderer()).hexdigest()
    assert [made(interpreter(version), libraries, umask, seed) for umask, seed in ((0o022, 0), (0o077, 1))] == [digest, digest]


def test_it_is_small_and_has_no_more_than_it_needs():
    assert len(renderer()) < LARGEST
    with zipfile.ZipFile(io.BytesIO(renderer())) as archive:
        entries = archive.infolist()
    assert [entry.filename for entry in entries] == sorted({entry.filename for entry in entries})
    assert {(entry.date_time, entry.compress_type) for entry in entries} == {((1980, 1, 1, 0, 0, 0), zipfile.ZIP_STORED)}
    assert {entry.filename.partition("/")[0] for entry in entries} == {"__main__.py", "roles.json", "vmconfig", "jinja2", "markupsafe"}
    ours = {entry.filename for entry in entries if entry.filename.startswith("vmconfig/") and not entry.filename.endswith("__init__.py")}
    assert {"vmconfig/module_utils/_values/%s.py" % role for role in ROLES} <= ours
    # It reads its own live store, and does not wait for keys.
    assert not [name for name in ours if name.rpartition("/")[2] in ("admin.py", "file.py", "_wait.py", "_bundle.py", "_role_action.py")]
    assert not [name for name in ours if name.startswith(("vmconfig/modules/", "vmconfig/action/", "vmconfig/module_utils/_rpc/"))]


@pytest.mark.parametrize("version", ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13"])
def test_each_python_renders_the_same_with_it_alone(version, qube, tmp_path):
    roots = [tmp_path / name for name in ("by-it", "here")]
    for root in roots:
        install(root)
        put(root, NETWORKD)
    done = subprocess.run(
        [interpreter(version), "-I", "-S", "-B", "-c", RUN, str(roots[0] / RENDERER), "--root", str(roots[0]), "--store", qube.url],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120, check=False, encoding="utf-8")
    assert (done.returncode, done.stderr) == (0, "")
    its_jinja, files = json.loads(done.stdout)
    assert its_jinja == jinja2.__version__
    assert start_here(roots[1], qube.url) == (0, [])
    assert tree(roots[0]) == tree(roots[1]) and len(tree(roots[0])) > 20
    beside = [path for path in files if not path.startswith((str(roots[0] / RENDERER), os.path.dirname(os.path.dirname(interpreter(version))) + "/"))]
    assert [path for path in beside if path and not path.startswith(("/usr/lib/python", "/usr/local/lib/python"))] == []
    assert not [path for path in files if "site-packages" in path or "dist-packages" in path]


def test_it_needs_no_temporary_directory_and_leaves_nothing(qube, tmp_path):
    install(tmp_path)
    folder = tmp_path / os.path.dirname(RENDERER)
    folder.chmod(0o500)
    assert start_on(tmp_path, qube.url)[0] == 0
    assert sorted(os.listdir(folder)) == sorted(["play.json", os.path.basename(RENDERER)])
