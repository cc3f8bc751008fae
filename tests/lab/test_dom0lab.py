# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stand-in for dom0's strategy does what the notes on the real one say."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import dom0lab
import pytest

SITE = """
- name: Elsewhere
  hosts: qubes
  gather_facts: false
  vars: {of_play: "of the play"}
  tasks:
    - ansible.builtin.debug: {msg: "said {{ of_extra }}, {{ of_all }}, {{ of_group }}, {{ of_host }}, {{ of_play }} by {{ ansible_connection }}"}
    - ansible.builtin.set_fact: {told: true}
    - ansible.builtin.command: cat /proc/net/dev
      register: devices
      changed_when: false
    - ansible.builtin.debug: {msg: "devices {{ devices.stdout | regex_findall('[a-z0-9]+:') }} home {{ lookup('env', 'HOME') is match('.*/lab-disposable-') }}"}
    - ansible.builtin.debug: {msg: "\\e[31mescapes"}
    - ansible.builtin.fail: {msg: "as asked"}
      when: inventory_hostname == failing | default('')

- name: Here
  hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.debug: {msg: "told {{ hostvars.work.told is defined }}"}
"""


def play(folder, text, *args, after="drops", template=None):
    (folder / "site.yml").write_text(text)
    (folder / "hosts.json").write_text(json.dumps({"all": {
        "hosts": {"localhost": {"ansible_connection": "local"}},
        "vars": {"ansible_connection": "qubes", "ansible_python_interpreter": sys.executable, "of_all": "{{ of_host }} of all"},
        "children": {"qubes": {"hosts": {"work": {"of_host": "of work"}, "personal": {"of_host": "of personal"}}, "vars": {"of_group": "of the group"}}}}}))
    env = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    env.update(dom0lab.environment(str(template or folder / "template"), after), ANSIBLE_NOCOLOR="1", LC_ALL="C.UTF-8", ANSIBLE_DEPRECATION_WARNINGS="false",
               ANSIBLE_LOCALHOST_WARNING="false")
    done = subprocess.run(
        [os.path.join(os.path.dirname(sys.executable), "ansible-playbook"), "-i", "hosts.json", "site.yml", "-e", "of_extra='of the command line'", *args],
        cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False, encoding="utf-8")
    counted = {host: (int(ok), int(failed)) for host, ok, failed in re.findall(r"(?m)^(\w+) +: ok=(\d+) .* failed=(\d+) ", done.stdout)}
    return done.returncode, done.stdout, counted


def test_a_play_is_run_elsewhere_with_the_variables_of_the_host(tmp_path):
    code, said, counted = play(tmp_path, SITE)
    assert code == 0, said
    for qube in ("work", "personal"):
        assert "said of the command line, of %s of all, of the group, of %s, of the play by qubes" % (qube, qube) in said
        assert "QUBESOS [disp-mgmt-%s: PLAY Elsewhere]" % qube in said
    assert "devices ['lo:'] home True" in said.replace('"', "")
    assert "\x1b" not in said
    # nothing but an exit code comes back
    assert "told False" in said
    assert counted == {"localhost": (1, 0), "work": (1, 0), "personal": (1, 0)}


@pytest.mark.parametrize("after, code, later", [("goes_on", 0, True), ("drops", 2, True), ("ends", 2, False)])
def test_a_host_that_fails(tmp_path, after, code, later):
    ended, said, counted = play(tmp_path, SITE, "-e", "failing=work", after=after)
    assert (ended, "told False" in said) == (code, later), said
    assert counted["work"] == (0, 1)
    assert counted["personal"] == (1, 0)


def test_what_ends_a_play(tmp_path):
    """The name of what is in its way is in what is printed: a tag that is not YAML's, a role whose collection is not there."""
    tagged = SITE.replace("vars: {of_play: \"of the play\"}", "vars: {of_play: !unsafe of the play}")
    assert "could not determine a constructor for the tag '!unsafe'" in play(tmp_path, tagged)[1]
    role = tmp_path / "full" / "ansible_collections" / "lab" / "only" / "roles" / "it" / "tasks"
    role.mkdir(parents=True)
    (role / "main.yml").write_text("- ansible.builtin.debug: {msg: it is there}\n")
    included = SITE.replace("  tasks:\n", "  tasks:\n    - ansible.builtin.include_role: {name: lab.only.it}\n", 1)
    code, said, counted = play(tmp_path, included)
    assert code == 2 and "role 'lab.only.it' was not found" in said, said
    code, said, counted = play(tmp_path, included, template=tmp_path / "full")
    assert code == 0 and said.count("it is there") == 2, said


def test_a_role_of_the_playbook_is_shipped_and_its_folder_is_not(tmp_path):
    (tmp_path / "roles" / "own" / "tasks").mkdir(parents=True)
    (tmp_path / "roles" / "own" / "tasks" / "main.yml").write_text("- ansible.builtin.debug: {msg: own role}\n")
    (tmp_path / "beside.txt").write_text("beside")
    text = SITE.replace("  tasks:\n", "  roles: [own]\n  tasks:\n    - ansible.builtin.debug: {msg: \"{{ lookup('file', 'beside.txt') }}\"}\n", 1)
    code, said, counted = play(tmp_path, text)
    assert said.count("own role") == 2 and code == 2 and "beside.txt" in said, said


def test_the_command_line(tmp_path):
    said = play(tmp_path, SITE.replace("- ansible.builtin.set_fact", "- tags: [one]\n      ansible.builtin.set_fact"), "--tags", "one", "--check", "-v")[1]
    assert "said of" not in said and said.count('"told": true') == 2
    # a host that is not meant is not started
    assert "disp-mgmt-personal" not in play(tmp_path, SITE, "--limit", "work")[1]
