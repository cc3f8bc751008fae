# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who adds a file to a role as CONTRIBUTING.md says needs one template, one row and one case, and has it in both modes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys

import qubesdblab
from playing import environment, run
from starting import COLLECTION, RENDERER, start_on

KEYS = {"qubes-vm-type": "AppVM", "name": "work"}


def test_a_file_is_a_template_a_row_and_a_case(tmp_path):
    mine = tmp_path / "ansible_collections" / "qubes" / "vmconfig"
    shutil.copytree(COLLECTION, str(mine), ignore=shutil.ignore_patterns("output", ".git", ".cache", "build"))
    page = (mine / "CONTRIBUTING.md").read_text(encoding="utf-8")
    template, row, case = (re.search("```%s\n(.*?)```" % kind, page, re.DOTALL).group(1) for kind in ("jinja", "yaml", "python"))
    (mine / "roles/hostname/templates/qube.issue.j2").write_text(template, encoding="utf-8")
    for path, more in (("roles/hostname/vars/main.yml", row), ("tests/unit/test_templates_system.py", "\n\n" + case)):
        with open(str(mine / path), "a", encoding="utf-8") as stream:
            stream.write(more)

    env = {**environment(ANSIBLE_COLLECTIONS_PATH=str(tmp_path), PYTHONDONTWRITEBYTECODE="1"), "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_templates_system.py", "-k", "login"]
    done = subprocess.run(command, cwd=str(mine / "tests/unit"), env=env,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False, encoding="utf-8")
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout[-3000:]

    (tmp_path / "store.json").write_text(json.dumps({"it": KEYS}))
    (tmp_path / "play.yml").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "roles": ["qubes.vmconfig.hostname"]}]))
    host = {"vmconfig_destdir": str(tmp_path / "root"), "vmconfig_family": "Debian", "vmconfig_store": "file://%s/store.json" % tmp_path,
            "vmconfig_apply": "both"}
    played = run(tmp_path, "play.yml", {"hosts": {"it": host}}, env=env)
    assert played.returncode == 0, played.stdout.decode()[-3000:]
    issue = tmp_path / "root/etc/issue.d/qube.issue"
    assert issue.read_text(encoding="utf-8") == "This is the qube work.\n"
    os.remove(str(issue))
    with qubesdblab.QubesdbLab() as lab:
        lab.add_own(KEYS)
        assert start_on(tmp_path / "root", lab.url) == (0, [])
    assert issue.read_text(encoding="utf-8") == "This is the qube work.\n" and os.path.exists(str(tmp_path / "root" / RENDERER))
