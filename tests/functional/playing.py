# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs playbooks with the real ansible-playbook, and hands back what each task returned and what was printed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any, Dict, NamedTuple


class Played(NamedTuple):
    """What a playbook did: the results of its tasks by their names, and all that it printed."""

    results: Dict[str, Any]
    output: bytes

    @property
    def text(self):
        return self.output.decode("utf-8")


def command(name):
    """A program of Ansible, beside the Python that runs the tests."""
    return os.path.join(os.path.dirname(sys.executable), name)


def environment(**more):
    """The caller's environment, without what would name a store."""
    env = {name: value for name, value in os.environ.items() if name not in ("QUBES_VMCONFIG_STORE", "XENSTORED_PATH", "ANSIBLE_STDOUT_CALLBACK")}
    env.update({"ANSIBLE_NOCOLOR": "1", "LC_ALL": "C.UTF-8"})
    env.update({"ANSIBLE_LOCALHOST_WARNING": "false", "ANSIBLE_DEPRECATION_WARNINGS": "false"})
    return {**env, **more}


def run(folder, playbook, inventory, args=(), env=None):
    """Runs a playbook in a folder as a user would. The inventory is that of `all`; each host in it is this machine."""
    shared = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, **inventory.get("vars", {})}
    with open(os.path.join(str(folder), "hosts.yml"), "w", encoding="utf-8") as stream:
        json.dump({"all": {**inventory, "vars": shared}}, stream)
    return subprocess.run(
        [command("ansible-playbook"), "-i", "hosts.yml", playbook, *args], cwd=str(folder), env=env or environment(),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300, check=False)


def play(folder, tasks, hosts=None, variables=None, args=(), env=None):
    """Plays tasks, given by their names, on the first of the hosts. A task that fails does not end the play."""
    hosts = hosts or {"dom0": {}}
    results = os.path.join(str(folder), "results.json")
    steps = [{"name": name, "register": "result_of_" + name, "ignore_errors": True, **task} for name, task in tasks.items()]
    registered = ", ".join("'%s': %s" % (name, step["register"]) for name, step in zip(tasks, steps))
    steps.append({
        "name": "write the results down", "check_mode": False, "diff": False, "no_log": True,
        "ansible.builtin.copy": {"content": "{{ {%s} | to_json }}" % registered, "dest": results, "mode": "0600"},
    })
    playbook = [{"hosts": next(iter(hosts)), "gather_facts": False, "vars": variables or {}, "tasks": steps}]
    with open(os.path.join(str(folder), "play.yml"), "w", encoding="utf-8") as stream:
        json.dump(playbook, stream)
    if os.path.exists(results):
        os.unlink(results)
    done = run(folder, "play.yml", {"hosts": hosts}, args, env)
    assert done.returncode == 0, done.stdout.decode("utf-8", "replace")[-3000:]
    with open(results, encoding="utf-8") as stream:
        return Played(json.load(stream), done.stdout)


def keys(**options):
    return {"qubes.vmconfig.keys": options}


def keys_info(**options):
    return {"qubes.vmconfig.keys_info": options}


def keys_wait(**options):
    return {"qubes.vmconfig.keys_wait": options}


def say(expression):
    """A task that shows what a template gives."""
    return {"ansible.builtin.set_fact": {"said": "{{ %s }}" % expression}}


def look_up(terms, **options):
    """A task with a lookup; `said` of its facts is what it gave."""
    given = ["%r" % term for term in terms] + ["%s=%s" % (name, value if value in ("true", "none") else "%r" % value) for name, value in options.items()]
    return say("query('qubes.vmconfig.key', %s)" % ", ".join(given))


def said(result):
    assert not result.get("failed"), result
    return result["ansible_facts"]["said"]
