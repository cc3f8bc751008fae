# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Dom0's default strategy, qubesos.security.qubes_proxy, pickles each play: see what it needs of them."""

from __future__ import annotations

import itertools
import json
import os
import pathlib
import subprocess
import sys

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir())
HERE = pathlib.Path(__file__).resolve().parent


def problems(*paths):
    done = subprocess.run(
        [sys.executable, str(HERE / "compiling.py"), *map(str, paths)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT.parent.parent.parent)}, timeout=300, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def test_the_play_of_each_playbook_can_be_pickled():
    paths = [*(ROOT / "playbooks").glob("*.yml"), *(ROOT / "examples").glob("*.yml")]
    # A declaration is no list.
    assert problems(*[path for path in paths if isinstance(yaml.safe_load(path.read_text()), list)]) == {}


@pytest.mark.parametrize("form", ["roles", "import", "include"])
def test_the_play_of_each_pair_of_roles_can_be_pickled(tmp_path, form):
    plays = []
    # The same one twice in a play is what Ansible itself cannot pickle, whatever is in the role.
    for pair in [*itertools.permutations(ROLES, 2), tuple(ROLES)]:
        names = ["qubes.vmconfig." + role for role in pair]
        tasks = [{"ansible.builtin.%s_role" % form: {"name": name}} for name in names]
        plays.append({"name": " and ".join(pair), "hosts": "all", "gather_facts": False, **({"roles": names} if form == "roles" else {"tasks": tasks})})
    (tmp_path / "play.yml").write_text(json.dumps(plays))
    assert problems(tmp_path / "play.yml") == {}


def test_what_cannot_be_pickled_is_found(tmp_path):
    """A role that two others depend on, as it was before."""
    for role, dependencies in (("shared", []), ("one", ["shared"]), ("two", ["shared"])):
        for folder, data in (("tasks", [{"name": role, "ansible.builtin.debug": {}}]), ("meta", {"dependencies": dependencies})):
            (tmp_path / "roles" / role / folder).mkdir(parents=True)
            (tmp_path / "roles" / role / folder / "main.yml").write_text(json.dumps(data))
    (tmp_path / "play.yml").write_text(json.dumps([{"name": "Both", "hosts": "all", "roles": ["one", "two"]}]))
    found = problems(tmp_path / "play.yml")
    assert list(found) == ["%s: Both" % (tmp_path / "play.yml")]
