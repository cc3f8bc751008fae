# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An audit is never falsely clean, and neither playbook is green for having done nothing."""

from __future__ import annotations

import json
import re

import pytest
from playing import environment, run

QUBE = {"qubes-vm-type": "AppVM", "qubes-timezone": "Asia/Tokyo"}
ESCAPES = "\x1b[31m{{ 7 * 191 }}"


class Machine:
    """Qubes in a file, and an inventory of them."""

    def __init__(self, folder, **keys):
        self.folder = folder
        self.hosts = {qube: {} for qube in keys}
        self.shared = {}
        (folder / "store.json").write_text(json.dumps({qube: {**QUBE, **more} for qube, more in keys.items()}))

    def play(self, name, *args, hosts=None):
        shared = {"vmconfig_store": "file://%s/store.json" % self.folder, "vmconfig_family": "Debian",
                  "vmconfig_destdir": str(self.folder / "root" / "{{ inventory_hostname }}"), **self.shared}
        done = run(self.folder, name, {"hosts": self.hosts if hosts is None else hosts, "vars": shared}, args, environment())
        return done.returncode, done.stdout.decode()

    def declare(self, **keys):
        (self.folder / "declaration.json").write_text(json.dumps(keys))
        return ["-e", "vmconfig_declaration=declaration.json"]


def listed(said):
    """The list at the end."""
    shown = re.search(r'(?s)TASK \[Show the list\] \*+\nok: \[localhost\] => (\{.*?\n\})\n', said)
    return json.loads(shown.group(1))["msg"] if shown else None


FAIL = ["-e", "audit_fail_on_drift=true"]
ONE_ROLE = ["--tags", "keys,timezone"]


def test_every_host_that_was_meant_is_in_the_list(tmp_path):
    """One is as it should be, one drifted, one is not reached, one has a refused value, one fails in the middle, one is left out."""
    machine = Machine(tmp_path, clean={}, drifted={}, gone={}, hostile={"qubes-timezone": "../" + ESCAPES}, broken={}, limited={})
    machine.hosts["gone"] = {"ansible_remote_tmp": "/proc/there/is/none"}
    machine.hosts["broken"] = {"ansible_python_interpreter": "/proc/there/is/none"}
    for qube in ("clean", "drifted"):
        (tmp_path / "root" / qube / "etc").mkdir(parents=True)
        (tmp_path / "root" / qube / "etc" / "timezone").write_text("Asia/Tokyo\n")
        (tmp_path / "root" / qube / "etc" / "localtime").symlink_to("../usr/share/zoneinfo/Asia/Tokyo")
    (tmp_path / "root" / "drifted" / "etc" / "timezone").write_text("UTC\n")
    declared = machine.declare(clean={"qubes-timezone": "Asia/Tokyo"}, nowhere={"qubes-timezone": "UTC"}, drifted={"qubes-service/cups": True})
    code, said = machine.play("qubes.vmconfig.audit", *declared, *FAIL, *ONE_ROLE, "--limit", "all:localhost:!limited")
    # 4: Ansible's own for a host that is not reached
    assert code == 4, said
    lines = listed(said)
    refused = "hostile: was not compared: qube hostile, key qubes-timezone: the value '../\\x1b[31m{{ 7 * 191 }}' is refused"
    broken, = [line for line in lines if line.startswith("broken: ")]
    assert broken.startswith("broken: was not compared: ")
    assert [line.replace("\\\\", "\\")[:len(refused)] if line.startswith("hostile") else line for line in lines if line != broken] == [
        "drifted (file): qubes-service/cups is not there, should be '1'",
        "nowhere: is not in the store",
        "drifted: /etc/timezone differs (qubes.vmconfig.timezone)",
        "gone: was not compared: not reached",
        refused,
        "limited: was not compared: left out by --limit",
        "clean: nothing differs in timezone"]
    # each says it at its own end too, and fails there
    assert '"drifted: /etc/timezone differs (qubes.vmconfig.timezone)"' in said
    assert {host: int(failed) for host, failed in re.findall(r"(?m)^(\w+) +: ok=.* failed=(\d+) ", said)} == {
        "localhost": 1, "clean": 0, "drifted": 1, "gone": 0, "hostile": 1, "broken": 1}
    # nothing was changed, so nothing is counted
    assert set(re.findall(r"changed=(\d+)", said)) == {"0"}
    assert "1337" not in said and "\x1b" not in said


def test_the_list_is_shown_where_every_host_differs(tmp_path):
    code, said = Machine(tmp_path, work={}).play("qubes.vmconfig.audit", *FAIL, *ONE_ROLE)
    assert code == 2
    assert listed(said) == ["work: /etc/localtime differs (qubes.vmconfig.timezone)", "work: /etc/timezone differs (qubes.vmconfig.timezone)"]


def test_without_the_list_each_host_speaks_for_itself(tmp_path):
    machine = Machine(tmp_path, work={}, other={})
    code, said = machine.play("qubes.vmconfig.audit", *FAIL, *ONE_ROLE, "--limit", "work")
    assert code == 2 and listed(said) is None and "Nothing differs" not in said
    assert '"work: /etc/timezone differs (qubes.vmconfig.timezone)"' in said


def test_keys_that_cannot_be_compared_are_an_error_after_the_list(tmp_path):
    machine = Machine(tmp_path, work={})
    code, said = machine.play("qubes.vmconfig.audit", *machine.declare(work={"qubes-timezome": "UTC"}), *ONE_ROLE)
    assert code == 2
    assert listed(said)[0].startswith("the keys: were not compared: qube 'work', key 'qubes-timezome'") and "qubes-timezone" in listed(said)[0]
    assert "work: /etc/timezone differs (qubes.vmconfig.timezone)" in listed(said)


def test_what_the_tags_leave_out_is_said(tmp_path):
    machine = Machine(tmp_path, work={})
    code, said = machine.play("qubes.vmconfig.audit", *machine.declare(work={}), *FAIL, "--tags", "nothing")
    assert code == 2
    assert listed(said) == ["the declaration: was not compared: left out by --tags or --skip-tags",
                            "work: was not compared: no role of it was asked for, by --tags or --skip-tags"]


def test_a_host_that_failed_before_is_not_clean(tmp_path):
    machine = Machine(tmp_path, work={}, other={})
    fail = {"name": "Fail", "ansible.builtin.fail": {"msg": "before"}, "when": "inventory_hostname == 'work'", "tags": "always"}
    (tmp_path / "site.yml").write_text(json.dumps([
        {"name": "Before", "hosts": "all", "gather_facts": False, "tasks": [fail]}, {"name": "Audit", "import_playbook": "qubes.vmconfig.audit"}]))
    code, said = machine.play("site.yml", *FAIL, *ONE_ROLE)
    assert code == 2
    assert "work: was not compared: it had failed, or was not reached, before this" in listed(said)


REFUSED = {
    "nothing": ({}, [], "There is nothing to do: the inventory has no host but localhost"),
    "only localhost": ({"localhost": {}}, [], "There is nothing to do: the inventory has no host but localhost"),
    "only dom0": ({"dom0": {}}, [], "There is nothing to do: the inventory has no host but localhost"),
    "a mistake on the command line": (None, ["-e", "vmconfig_decleration="],
                                      "vmconfig_decleration, which is set for localhost, work: the nearest is vmconfig_declaration"),
    "no such host": (None, ["-e", "vmconfig_hosts=wrok"], "vmconfig_hosts wrok matches no host of the inventory"),
    "no such host beside a declaration": (None, ["-e", "vmconfig_hosts=wrok", "-e", "vmconfig_declaration=declaration.json"],
                                          "vmconfig_hosts wrok matches no host"),
    "no such host of the store": (None, ["-e", "vmconfig_keys_host=xne"], "vmconfig_keys_host xne matches no host of the inventory"),
    "a mistake of a host": ({"work": {"xkb_layuot": "us"}}, [], "there is no variable xkb_layuot, which is set for work: the nearest is xkb_layout"),
    "a mistake of the inventory": (None, ["audit_fail_on_drfit"], "audit_fail_on_drfit, which is set for localhost, work: the nearest is audit_fail_on_drift"),
    "hosts of the inventory": (None, ["vmconfig_hosts"], "vmconfig_hosts and vmconfig_keys_host have to be given on the command line"),
}


@pytest.mark.parametrize("name", ["apply", "audit"])
@pytest.mark.parametrize("case", REFUSED)
def test_what_makes_no_sense_is_refused_before_anything_is_changed(tmp_path, name, case):
    hosts, args, error = REFUSED[case]
    machine = Machine(tmp_path, work={})
    machine.declare(work={"qubes-timezone": "UTC"})
    if args and not args[0].startswith("-"):
        machine.shared, args = {args[0]: "work"}, []
    elif args == [] and hosts == {"work": {"xkb_layuot": "us"}}:
        args = ["-e", "vmconfig_declaration=declaration.json"]
    before = (tmp_path / "store.json").read_text()
    code, said = machine.play("qubes.vmconfig." + name, *args, hosts=hosts)
    assert code == 2, said
    assert error in said
    assert "Nothing differs" not in said
    assert (tmp_path / "store.json").read_text() == before and not (tmp_path / "root").exists()


def test_a_play_of_roles_refuses_a_mistake_too(tmp_path):
    machine = Machine(tmp_path, work={})
    (tmp_path / "site.yml").write_text(json.dumps([{"name": "Render", "hosts": "work", "gather_facts": False, "roles": ["qubes.vmconfig.timezone"],
                                                    "vars": {"vmconfig_destdirs": "/nowhere", "display_manager": "lightdm"}}]))
    code, said = machine.play("site.yml")
    assert code == 2 and "there is no variable vmconfig_destdirs, which is set for work: the nearest is vmconfig_destdir. Nothing was changed" in said
    assert not (tmp_path / "root").exists()
