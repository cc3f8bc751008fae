# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a play writes now is what a start writes: all cases of the roles' integration targets, in each family of systems, through both on equal trees."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
from typing import Any, Dict, NamedTuple

import jinja2
import pytest
import qubesdblab
import yaml
from ansible_collections.qubes.vmconfig.plugins.module_utils._machine import FAMILIES
from ansible_collections.qubes.vmconfig.plugins.module_utils._values.every import ROLES
from playing import environment, run
from starting import COLLECTION, FOLDER, install, start_here

TARGETS = os.path.join(COLLECTION, "tests", "integration", "targets")
# It is there for starts to come, whether or not there are rules now.
WITH_START = "qubes-vmconfig-dns-redirect.service"


class Case(NamedTuple):
    """A qube that holds keys, and what is on it before a role runs there with variables."""

    role: str
    keys: Dict[str, str]
    begin: str
    prepare: str
    family: str
    variables: Dict[str, Any]


class _Loader(yaml.SafeLoader):
    """With Ansible's own tag."""


class Unsafe(str):
    """A text that is no template."""


_Loader.add_constructor("!unsafe", lambda loader, node: Unsafe(loader.construct_scalar(node)))


class Variables:
    """The variables of a target, whose templates are expressions."""

    def __init__(self, role):
        self._found = {}
        for path in ("setup_rendering/vars/main/qubes.yml", "role_%s/vars/main.yml" % role):
            with open(os.path.join(TARGETS, path), encoding="utf-8") as stream:
                self._found.update(yaml.load(stream, _Loader))
        self._environment = jinja2.Environment()
        self._environment.globals["lookup"] = self._looked_up
        self._environment.filters["combine"] = lambda first, *others: {name: value for each in (first, *others) for name, value in each.items()}

    @staticmethod
    def _looked_up(plugin, command):
        assert plugin == "ansible.builtin.pipe"
        return subprocess.run(["sh", "-ec", command], stdout=subprocess.PIPE, check=True).stdout.decode().rstrip("\n")

    def __getitem__(self, name):
        return self._resolved(self._found[name])

    def _resolved(self, value):
        if isinstance(value, dict):
            return {name: self._resolved(each) for name, each in value.items()}
        if isinstance(value, list):
            return [self._resolved(each) for each in value]
        if not isinstance(value, str) or isinstance(value, Unsafe) or "{{" not in value:
            return value
        names = {name: self[name] for name in re.findall(r"\b(?:setup_rendering|role)_\w+", value) if name in self._found}
        whole = re.fullmatch(r"\s*{{((?:(?!}}).)*)}}\s*", value, re.DOTALL)
        return self._environment.compile_expression(whole.group(1))(**names) if whole else self._environment.from_string(value).render(names)


def cases():
    """By a name for a host."""
    found = {}
    for role in ROLES:
        variables = Variables(role)
        keys = variables["setup_qubes_keys"]
        for name, case in variables["setup_rendering_cases"].items():
            given = dict(case.get("variables", {}))
            # A template of the user's own goes along from a play alone; test_boot.py has one.
            if any("template" in entry for entry in given.get("vm_config_files", [])):
                continue
            family = given.pop("vmconfig_family", "Debian")
            found["%s-%s" % (role, name)] = Case(
                role, {"name": "it", "qubes-vm-type": "AppVM", **keys[case["qube"]]}, case.get("begin", ""), case.get("prepare", ""), family, given)
            # The other families have no trees to compare with, but each mode has the other.
            if "refused" not in case:
                for other in set(FAMILIES) - {family}:
                    found["%s-%s-%s" % (role, name, other)] = found["%s-%s" % (role, name)]._replace(family=other)
    return {name.replace("_", "-"): case for name, case in sorted(found.items())}


CASES = cases()


def begun(root, case):
    """A tree as it is before."""
    if case.begin:
        shutil.copytree(os.path.join(TARGETS, "role_" + case.role, "files", case.begin), root, symlinks=True)
    else:
        os.makedirs(root)
    subprocess.run(["sh", "-ec", case.prepare or ":"], cwd=root, check=True)
    # What a start has is there, where a play would make it.
    for path in ("usr", "usr/lib"):
        os.makedirs(os.path.join(root, path), exist_ok=True)


def tree(root):
    """All that is there, with modes, links and texts."""
    found = {}
    for path, folders, names in os.walk(root):
        folders[:] = [name for name in folders if os.path.relpath(os.path.join(path, name), root) != FOLDER]
        for name in folders + names:
            whole = os.path.join(path, name)
            status = os.lstat(whole)
            content = os.readlink(whole) if stat.S_ISLNK(status.st_mode) else open(whole, "rb").read() if stat.S_ISREG(status.st_mode) else ""
            found[os.path.relpath(whole, root)] = (oct(status.st_mode), content)
    return found


@pytest.fixture(name="played", scope="module")
def trees_of_a_play(tmp_path_factory):
    """The folder of the trees that a play wrote, and those of its hosts that were refused, with the reasons."""
    folder = tmp_path_factory.mktemp("modes")
    (folder / "store.json").write_text(json.dumps({name: case.keys for name, case in CASES.items()}))
    (folder / "play.yml").write_text(json.dumps([{"name": "Render", "hosts": "all", "gather_facts": False, "tasks": [
        {"name": "Render", "ansible.builtin.include_role": {"name": "qubes.vmconfig.{{ role_of_it }}"}}]}]))
    for name, case in CASES.items():
        begun(str(folder / name), case)
    hosts = {name: {"role_of_it": case.role, "vmconfig_family": case.family, "vmconfig_destdir": str(folder / name), **case.variables}
             for name, case in CASES.items()}
    done = run(folder, "play.yml", {"hosts": hosts, "vars": {"vmconfig_store": "file://%s/store.json" % folder}}, (),
               environment(ANSIBLE_FORKS="3", ANSIBLE_PIPELINING="true", ANSIBLE_DISPLAY_SKIPPED_HOSTS="false", ANSIBLE_DISPLAY_OK_HOSTS="false"))
    text = done.stdout.decode()
    assert done.returncode == 2 and "Traceback" not in text, text[-3000:]
    return folder, {host: json.loads(result)["msg"] for host, result in re.findall(r"(?m)^fatal: \[(\S+)\]: FAILED! => (.*)$", text)}


@pytest.mark.long
@pytest.mark.parametrize("name", CASES)
def test_a_start_writes_what_a_play_writes(played, tmp_path, name):
    folder, refused = played
    case = CASES[name]
    root = str(tmp_path / "root")
    begun(root, case)
    install(root, [case.role], case.family, **{case.role: {each[len(case.role) + 1:]: value for each, value in case.variables.items()}})
    with qubesdblab.QubesdbLab() as lab:
        lab.add_own(case.keys)
        code, said = start_here(root, lab.url)
    assert (code == 1) == (name in refused), (said, refused.get(name))
    for line in said if code else []:
        # The same reason, less where it was met.
        reason = line.partition(": ")[2].partition(": ")[2].replace(root, str(folder / name))
        assert reason.partition("the value")[2] in refused[name].replace("qube %s" % name, ""), (line, refused[name])
    now, then = tree(str(folder / name)), tree(root)
    if case.role == "dns_redirect":
        then = {path: entry for path, entry in then.items() if path in now or os.path.basename(path) != WITH_START and not path.startswith("etc/systemd")}
    assert then == now
