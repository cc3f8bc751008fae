# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No task of a role waits for a program for ever."""

from __future__ import annotations

import glob
import os

import pytest
import yaml

ROLES = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "roles")
FILES = sorted(glob.glob(os.path.join(ROLES, "*", "tasks", "*.yml")) + glob.glob(os.path.join(ROLES, "*", "handlers", "*.yml")))
# Modules of Ansible that run a program, or tell one something, and have no timeout of their own.
RUN = {"command", "shell", "raw", "script", "expect", "service", "systemd", "systemd_service", "sysvinit", "package", "apt", "dnf", "pacman"}
MOST = 300


def endless(tasks, inherited=0):
    """The names of the tasks that may run for ever; a block's timeout is that of each of its tasks."""
    for task in tasks or []:
        seconds = task.get("timeout", inherited)
        modules = {name.rpartition(".")[2] for name in task if name.startswith(("ansible.builtin.", "ansible.legacy.")) or name in RUN}
        if modules & RUN and not (isinstance(seconds, int) and 0 < seconds <= MOST):
            yield task.get("name", "one without a name")
        for part in ("block", "rescue", "always"):
            yield from endless(task.get(part), seconds)


@pytest.mark.parametrize("path", FILES, ids=[os.path.relpath(path, ROLES) for path in FILES])
def test_each_task_that_runs_a_program_has_an_end(path):
    with open(path, encoding="utf-8") as stream:
        assert list(endless(yaml.safe_load(stream))) == []


@pytest.mark.parametrize("tasks, found", [
    ([{"name": "a", "ansible.builtin.command": "ip"}], ["a"]),
    ([{"name": "a", "command": "ip", "timeout": 0}], ["a"]),
    ([{"name": "a", "ansible.builtin.service": {}, "timeout": 100000}], ["a"]),
    ([{"name": "a", "block": [{"name": "b", "rescue": [{"name": "c", "ansible.builtin.systemd_service": {}}]}]}], ["c"]),
    ([{"name": "a", "timeout": 60, "block": [{"name": "b", "ansible.builtin.command": "ip"}]}], []),
    ([{"name": "a", "ansible.builtin.command": "ip", "timeout": 60}, {"name": "b", "ansible.builtin.file": {}}], []),
])
def test_it_finds_them(tasks, found):
    assert list(endless(tasks)) == found


def test_every_role_is_looked_at():
    assert {os.path.relpath(path, ROLES).split(os.sep)[0] for path in FILES} == set(os.listdir(ROLES))
