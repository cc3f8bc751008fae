# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tarball, installed as the README says: its playbook, and every file of examples/."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET

import pytest
import yaml
from freshmachine import SOURCES

COLLECTION = "~/.ansible/collections/ansible_collections/qubes/vmconfig"
SEEN = {"qubes-vm-type": "AppVM", "qubes-timezone": "Asia/Tokyo", "keyboard-layout": "us++", "qubes-primary-dns": "10.139.1.1",
        "qubes-secondary-dns": "10.139.1.2"}


@pytest.fixture(name="playing", scope="module")
def machine_with_ansible_on_path(installed):
    """Its commands run in a shell with Ansible on PATH, in the clone."""
    def shell(line, **more):
        return installed.succeed("bash", "-ec", 'PATH=~/ansible/bin:$PATH; cd ~/qubes.vmconfig; ' + line, **more)

    command, = re.findall(r"(?m)^    (ansible-galaxy collection install [^#\n]*)", (SOURCES / "README.md").read_text(encoding="utf-8"))
    shell(command)
    return shell


def playbook_of_the_readme():
    """The block of YAML that is a list of plays."""
    blocks = re.findall(r"(?ms)^```yaml\n(.*?)^```$", (SOURCES / "README.md").read_text(encoding="utf-8"))
    found, = [block for block in blocks if isinstance(yaml.safe_load(block), list)]
    return found


def test_the_playbook_of_the_readme_runs(installed, playing):
    playbook = playbook_of_the_readme()
    store = "/root/site/store.json"
    qubes = {name: {"vmconfig_qube": name, "vmconfig_store": "file://" + store, "vmconfig_destdir": "/root/site/" + name, "ansible_connection": "local"}
             for name in ("work", "anon-whonix")}
    installed.put("/root/site/site.yml", playbook.encode())
    installed.put("/root/site/hosts.json", json.dumps({"all": {"children": {"qubes": {"hosts": qubes}}}}).encode())
    installed.put(store, json.dumps({name: SEEN for name in qubes}).encode())
    line = "cd ~/site; QUBES_VMCONFIG_STORE=file://%s ansible-playbook -i hosts.json site.yml" % store
    playing(line)
    assert installed.read("/root/site/work/etc/timezone") == "Europe/Warsaw\n"
    assert 'XKBLAYOUT="pl"\n' in installed.read("/root/site/work/etc/default/keyboard")
    for name in qubes:
        assert installed.read("/root/site/%s/etc/resolv.conf" % name) == "nameserver 10.139.1.1\nnameserver 10.139.1.2\n"
    held = json.loads(installed.read(store))
    assert held["work"]["qubes-service/cups"] == "1"
    assert "qubes-timezone" not in held["anon-whonix"]
    again = playing(line)
    assert set(re.findall(r"changed=(\d+)", again)) == {"0"}, again


@pytest.mark.long
def test_every_example_runs(installed, playing):
    """The tests of the examples are in the tarball; here they run on what was installed, with what the labs of theirs need."""
    needs = "import sys; sys.path.insert(0, 'tests/tools'); import setup; setup.packages('compiler', 'xkb')"
    playing("pip install --quiet -r tests/requirements/test.txt; python3 -c \"%s\"" % needs)
    playing("cd %s; PYTHONPATH=~/.ansible/collections python3 -m pytest -p no:cacheprovider --junitxml ~/examples.xml"
            " -m 'long or not long' tests/functional/test_examples.py" % COLLECTION)
    cases = [case.get("name") for case in ET.fromstring(installed.read("/root/examples.xml")).iter("testcase") if case.find("skipped") is None]
    files = sorted(path.name for path in (SOURCES / "examples").iterdir())
    assert files
    for name in files:
        assert "test_it_does_what_it_says[examples/%s]" % name in cases
