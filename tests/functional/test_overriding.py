# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Templates of a user in place of those of the roles: now, by Ansible where they need it, and at each start, by Jinja alone."""

from __future__ import annotations

import json
import os
import re
import shutil

import pytest
from playing import environment, run
from starting import COLLECTION, FOLDER, RENDERER, SAID, start, tree

KEYS = {
    "name": "it", "type": "AppVM", "qubes-vm-type": "ProxyVM", "qubes-vm-persistence": "full", "qubes-timezone": "Europe/Warsaw",
    "qubes-primary-dns": "10.139.1.1", "qubes-secondary-dns": "10.139.1.2", "qubes-netvm-network": "10.137.0.12",
    "qubes-netvm-primary-dns": "10.139.1.1", "keyboard-layout": "us++",
    "vm-config/proxy": "{{ lookup('pipe', 'touch MARKER') }}{% raw %}{{ 40 + 2 }}",
}
DECLARED = [{"name": "proxy", "dest": "/etc/proxy", "template": "proxy.j2"}]
PROXY = "# {{ ansible_managed }} {{ config.name }} {{ machine.family }}\n{{ value }}\n"


def on_page():
    """The two examples of the page, by the role and name that it says."""
    with open(os.path.join(COLLECTION, "docs", "roles.md"), encoding="utf-8") as stream:
        found = re.findall(r"`my-templates/([a-z_]+/[a-z0-9.-]+[.]j2)`:\n\n```jinja\n(.*?)```", stream.read(), re.DOTALL)
    assert len(found) == 2
    return dict(found)


class User:
    """Who has templates in a directory, and renders for a tree."""

    def __init__(self, folder):
        self.folder, self.root = folder, folder / "image"
        (folder / "store.json").write_text(json.dumps({"it": KEYS}))

    def has(self, templates, directory="my-templates"):
        for name, text in templates.items():
            path = self.folder / directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def play(self, roles, *args, hosts=None, **variables):
        """Plays the roles, on other trees where there are ``hosts``, each with its directory of templates."""
        (self.folder / "play.yml").write_text(json.dumps(
            [{"name": "Render", "hosts": "all", "gather_facts": False, "roles": ["qubes.vmconfig." + role for role in roles]}]))
        shared = {"vmconfig_family": "Debian", "vmconfig_store": "file://%s/store.json" % self.folder, "vmconfig_qube": "it", **variables}
        own = {host: {"vmconfig_destdir": str(self.folder / host), "vmconfig_templates": directory}
               for host, directory in (hosts or {"image": "my-templates"}).items()}
        done = run(self.folder, "play.yml", {"hosts": own, "vars": shared}, args, environment(ANSIBLE_PIPELINING="true"))
        return done.returncode, done.stdout.decode()

    def refusals(self, hosts, **variables):
        """Why each of the hosts fails in a play, which writes nothing."""
        before = {host: tree(self.folder / host) for host in hosts}
        code, text = self.play(["timezone"], hosts=hosts, **variables)
        found = re.findall(r"(?m)^fatal: \[(\S+)\]: FAILED! => (.*)$", text)
        assert code == 2 and "Traceback" not in text and sorted(host for host, dummy in found) == sorted(hosts), text[-3000:]
        assert {host: tree(self.folder / host) for host in hosts} == before
        assert not [host for host in hosts if os.path.lexists(self.folder / host / RENDERER)]
        return {host: json.loads(result)["msg"] for host, result in found}

    def text(self, path):
        return (self.root / path).read_text(encoding="utf-8")


@pytest.fixture(name="user")
def one_user(tmp_path):
    return User(tmp_path)


def test_templates_of_a_user_are_those_of_the_page_now_and_at_a_start(user, tmp_path):
    user.has({**on_page(), "vm_config/proxy.j2": PROXY, "timezone/timezone.j2": "{% include 'timezone/zone/of.j2' %}", "timezone/zone/of.j2": "{{ zone }}!\n",
              # What no role has is not looked at.
              "timezone/notes.txt": "{{", "README.md": "{{"})
    code, text = user.play(["resolver", "dns_redirect", "timezone", "vm_config"], vmconfig_apply="both", vm_config_files=DECLARED)
    assert code == 0, text[-3000:]
    assert user.text("etc/resolv.conf") == "search corp.example\nnameserver 10.139.1.1\nnameserver 10.139.1.2\noptions timeout:1 edns0\n"
    assert user.text("etc/sysctl.d/81-qubes-vmconfig.conf") == "# Ansible managed\nnet.ipv4.ip_forward = 1\nnet.ipv4.conf.all.rp_filter = 1\n"
    assert user.text("etc/timezone") == "Europe/Warsaw!\n"
    # A value is text, whatever it looks like.
    assert user.text("etc/proxy") == "# Ansible managed it Debian\n%s\n" % KEYS["vm-config/proxy"]
    again = tmp_path / "again"
    shutil.copytree(user.root / FOLDER, again / FOLDER)
    # They went along to the start, with what they include.
    shutil.rmtree(tmp_path / "my-templates")
    assert start(again, KEYS, "-S") == (0, [])
    assert tree(again) == tree(user.root)
    assert not list(tmp_path.rglob("MARKER"))


BY_ANSIBLE = {
    "filter": ("{{ zone | b64encode }}\n", "the filter b64encode", "RXVyb3BlL1dhcnNhdw==\n"),
    "full-name": ("{{ zone | ansible.builtin.b64encode }}\n", "the filter ansible.builtin.b64encode", "RXVyb3BlL1dhcnNhdw==\n"),
    "lookup": ("{{ lookup('ansible.builtin.env', 'NOWHERE') }}{{ zone }}\n", "the name lookup", "Europe/Warsaw\n"),
    "test": ("{% if zone is match('Eu') %}{{ zone }}{% endif %}\n", "the test match", "Europe/Warsaw\n"),
    "variable": ("{{ zone }}\n# {{ inventory_hostname }}\n", "the name inventory_hostname", "Europe/Warsaw\n# variable\n"),
    "unreached": ("{{ zone }}\n{% if false %}{{ zone | to_json }}{% endif %}\n", "the filter to_json", "Europe/Warsaw\n"),
    "extended": ('{% extends "qubes.vmconfig/timezone/timezone.j2" %}\n{% block zone %}{{ inventory_hostname }}{% endblock %}\n', "the name inventory_hostname",
                 "Europe/Warsaw\n"),
    "hostile": ("{{ zone | quote }} {{ vm }} {{ config.vm_config.proxy }}\n", "the filter quote", "Europe/Warsaw x %s\n" % KEYS["vm-config/proxy"]),
}


def test_what_needs_ansible_is_rendered_now_and_refused_for_a_start(user):
    for name, (template, dummy, dummy) in BY_ANSIBLE.items():
        user.has({"timezone/timezone.j2": template}, name + "-own")
    hosts = {name: name + "-own" for name in BY_ANSIBLE}
    for name, message in user.refusals(hosts, vmconfig_apply="boot", vm="x").items():
        template, what, dummy = BY_ANSIBLE[name]
        line = [number for number, each in enumerate(template.splitlines(), 1) if what.rpartition(" ")[2] in each][0]
        assert "the template timezone/timezone.j2, line %d uses %s" % (line, what) in message, (name, message)
    code, said = user.play(["timezone"], hosts=hosts, vm="x")
    assert code == 0, said[-3000:]
    for name, (dummy, dummy, text) in BY_ANSIBLE.items():
        assert (user.folder / name / "etc/timezone").read_text(encoding="utf-8") == text, name
    assert not list(user.folder.rglob("MARKER"))


WRONG = {
    "syntax": ("{{ zone }}\n{% if %}\n", "the template timezone/timezone.j2, line 2"),
    "undefined": ("\n{{ zoen }}\n", "zoen"),
    "division": ("\n\n{{ 1 / 0 }}\n", "zero"),
    "nowhere": ("{% include 'timezone/nowhere.j2' %}\n", "timezone/nowhere.j2"),
    "out": ("{% include 'timezone/../../store.json' %}\n", "store.json"),
    "by-name": ("{% include zone %}\n", "includes another by a name that is not written in it"),
    "sandbox": ("{{ zone.__class__.__mro__[1].__subclasses__() }}\n", "unsafe"),
}


def test_what_is_wrong_with_a_template_of_a_user_is_one_error_in_both_ways(user):
    for name, (template, dummy) in WRONG.items():
        user.has({"timezone/timezone.j2": template}, name + "-own")
    hosts = {**{name: name + "-own" for name in WRONG}, "missing": "nowhere", "list": ["x"]}
    expected = {**{name: said for name, (dummy, said) in WRONG.items()}, "missing": "vmconfig_templates is 'nowhere'; expected a directory on the controller",
                "list": "vmconfig_templates is a list; expected text"}
    for apply in ("now", "both"):
        for name, message in user.refusals(hosts, vmconfig_apply=apply).items():
            assert expected[name] in message and message.isprintable(), (name, apply, message)


def test_another_template_is_another_start(user):
    user.has({"timezone/timezone.j2": "one {{ zone }}\n"})
    for template in ("one {{ zone }}\n", "one {{ zone }}\n", "two {{ zone }}\n"):
        before = user.text(SAID) if (user.root / SAID).exists() else ""
        user.has({"timezone/timezone.j2": template})
        code, text = user.play(["timezone"], vmconfig_apply="boot")
        assert code == 0 and ("changed=0 " in text) == (before == user.text(SAID)), text[-3000:]
        assert json.loads(user.text(SAID))["roles"]["timezone"]["templates"] == {"timezone/timezone.j2": template}
