# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A target whose Python is too old is told so, in one error."""

from __future__ import annotations

import ast
import glob
import json
import os
import pwd
import subprocess

import pytest
from ansible.release import __version__ as core
from playing import keys_info, play
from starting import RENDERER, install

COLLECTION = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OLD = ["2.7", "3.6", "3.7"]
# Which of them a core still drives. What others wrap around a module is nothing that these Pythons can read.
DRIVEN = {"2.16": OLD, "2.17": ["3.7"]}.get(core.rpartition(".")[0], [])


def interpreter(version):
    """A Python of this version, of the system or of pyenv."""
    folders = ["/usr/bin", "/usr/local/bin"]
    folders += sorted(glob.glob(os.path.join(pwd.getpwuid(os.getuid()).pw_dir, ".pyenv", "versions", version + ".*", "bin")))
    for folder in folders:
        path = os.path.join(folder, "python" + version)
        if os.access(path, os.X_OK):
            return path
    pytest.skip("NO PYTHON %s HERE, so nothing was tested with it" % version)
    return None


def run(command, **more):
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False, encoding="utf-8", **more)


def has_code(path):
    """An action alone has a file with its documentation."""
    with open(path, encoding="utf-8") as stream:
        return "\ndef main():" in stream.read()


MODULES = sorted(os.path.basename(path)[:-3] for path in glob.glob(os.path.join(COLLECTION, "plugins", "modules", "*.py")) if has_code(path))


@pytest.mark.parametrize("module", MODULES)
def test_a_module_can_be_read_by_an_old_one_and_refuses_it_first(module):
    with open(os.path.join(COLLECTION, "plugins", "modules", module + ".py"), encoding="utf-8") as stream:
        tree = ast.parse(stream.read(), feature_version=(3, 6))
    code = [node for node in tree.body if not isinstance(node, ast.Assign)]
    assert not [node for node in code if isinstance(node, ast.ImportFrom) and node.module == "__future__"], "Python 3.6 does not have it"
    assert isinstance(code[0], ast.ImportFrom) and code[0].module.endswith(".module_utils._python"), ast.dump(code[0])
    assert ast.dump(code[1]) == ast.dump(ast.parse("refuse_an_old_one()").body[0]), ast.dump(code[1])


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("version", ["3.6", "3.7"])
def test_a_module_says_so_before_it_reads_anything_else(version, module):
    tree = os.path.dirname(os.path.dirname(os.path.dirname(COLLECTION)))
    done = run([interpreter(version), os.path.join(COLLECTION, "plugins", "modules", module + ".py")], env={"PYTHONPATH": tree, "PYTHONDONTWRITEBYTECODE": "1"})
    assert (done.returncode, done.stderr) == (1, "")
    result = json.loads(done.stdout)
    assert result["failed"] and result["msg"].startswith("qubes.vmconfig needs Python 3.8 or newer on the target; ")
    assert " has %s." % version in result["msg"] and result["msg"].endswith("Set ansible_python_interpreter to a newer one")


@pytest.mark.parametrize("version", OLD)
def test_a_task_says_so(tmp_path, version):
    # The tasks that write the results down have the Python of the tests.
    task = {**keys_info(qubes=["work"], store="file:///nowhere.json"), "vars": {"ansible_python_interpreter": interpreter(version)}}
    result = play(tmp_path, {"asked": task}, {"old": {}}).results["asked"]
    assert result["failed"]
    if version in DRIVEN:
        assert result["msg"].startswith("qubes.vmconfig needs Python 3.8 or newer on the target; ") and " has %s." % version in result["msg"], result
    else:
        assert result["msg"].startswith("qubes.vmconfig needs Python 3.8 or newer on the target, and so does this ansible-core; "), result


@pytest.mark.parametrize("version", OLD)
def test_a_start_says_so(tmp_path, version):
    install(tmp_path)
    done = run([interpreter(version), "-E", "-B", str(tmp_path / RENDERER)])
    assert done.returncode == 1 and done.stderr.startswith("qubes-vmconfig: nothing was rendered: it needs Python 3.8 or newer, and ")
    assert len(done.stderr.splitlines()) == 1
