# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of the time zone and the resolvers, and what holds for the tables and templates of all roles."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from ansible_collections.qubes.vmconfig.plugins.module_utils._machine import Machine
from ansible_collections.qubes.vmconfig.plugins.module_utils._role import names, role
from ansible_collections.qubes.vmconfig.plugins.module_utils._values.every import ROLES
from ansible_collections.qubes.vmconfig.plugins.plugin_utils._rendering import Table, Templates
from ansible_collections.qubes.vmconfig.plugins.plugin_utils._tables import rows, stock
from rolefiles import HOME, files_of, texts, tree

ZONE, TOKYO = {"timezone": "UTC", "vm_config": {"timezone": "Europe/Warsaw"}}, {"timezone": "Asia/Tokyo"}
DNS = {"network": {"dns": ["10.139.1.1", "10.139.1.2"]}}
OFF, ON, DISABLED = {"network-manager": False}, {"network-manager": True}, {"disable-dns-server": True}
RESOLVED, MANAGER = {"resolved": True}, {"resolved": True, "network_manager": True}
CONNECTIONS = "/etc/NetworkManager/conf.d/qubes-dns.conf"


# -- the time zone --


@pytest.mark.parametrize("expected, config, family, sysconfig, zone", [
    ("r4", TOKYO, "Debian", True, "Asia/Tokyo"), ("r2", ZONE, "Debian", False, "Europe/Warsaw"), ("fedora", TOKYO, "RedHat", True, "Asia/Tokyo"),
    ("", TOKYO, "RedHat", False, "Asia/Tokyo"), ("", TOKYO, "Archlinux", True, "Asia/Tokyo"),
])
def test_the_files_of_the_zone_are_those_that_the_role_writes(expected, config, family, sysconfig, zone):
    files = files_of("timezone", config, machine=Machine(family, sysconfig=sysconfig))
    assert files.pop("/etc/localtime").link == "../usr/share/zoneinfo/" + zone
    assert texts(files) == (tree("timezone", expected) if expected else {})


def test_the_zone_is_the_agents_and_is_protected_by_both_its_names():
    for family in ("Debian", "RedHat", "Archlinux"):
        for file in files_of("timezone", TOKYO, machine=Machine(family, sysconfig=True)).values():
            assert (file.agent, file.protected_by, file.mode) == (True, ("/etc/timezone", "/etc/localtime"), "0644")


# -- the resolvers --


@pytest.mark.parametrize("expected, config, family, machine", [
    ("r4", DNS, "Debian", {}),
    ("r4", {**DNS, "services": ON}, "Debian", {}),
    ("r4", {**DNS, "services": OFF, "vm_type": "NetVM"}, "Debian", {}),
    ("disabled", {**DNS, "services": DISABLED}, "RedHat", {}),
    ("resolved", DNS, "RedHat", RESOLVED),
    ("resolved", {**DNS, "services": OFF, "vm_type": "NetVM"}, "RedHat", MANAGER),
    ("resolved-none", {**DNS, "services": DISABLED}, "Archlinux", RESOLVED),
    ("manager", {**DNS, "services": ON}, "RedHat", MANAGER),
    ("manager-none", {**DNS, "services": {**ON, **DISABLED}}, "Debian", MANAGER),
    ("manager-one", {"network": {"dns": ["10.137.2.1"]}, "vm_type": "NetVM"}, "Debian", MANAGER),
])
def test_the_files_of_the_resolvers_are_those_that_the_role_writes(expected, config, family, machine):
    there = tree("resolver", expected)
    if CONNECTIONS in there:
        there = {CONNECTIONS: there[CONNECTIONS]}
    files = files_of("resolver", config, machine=Machine(family, **machine))
    assert texts(files) == there and all(file.agent and file.protected_by is None for file in files.values())


def test_resolved_and_networkmanager_are_left_to_an_agent_that_is_not_taken_over():
    for machine, config in ((RESOLVED, DNS), (MANAGER, {**DNS, "services": ON})):
        left = files_of("resolver", config, machine=Machine("Debian", agent=True, leaves=True, **machine))
        assert set(left) == ({"/etc/resolv.conf"} if machine is RESOLVED else set())


def test_the_template_on_the_page_adds_search_domains_and_options():
    own = {"resolver/resolv.conf.j2": '{% extends "qubes.vmconfig/resolver/resolv.conf.j2" %}\n{% block servers %}\n{{ super() }}'
                                      'search corp.example.org\noptions edns0 trust-ad\n{% endblock %}\n'}
    text = texts(files_of("resolver", DNS, own=own))["/etc/resolv.conf"]
    assert text == "nameserver 10.139.1.1\nnameserver 10.139.1.2\nsearch corp.example.org\noptions edns0 trust-ad\n"


# -- all roles --


@pytest.mark.parametrize("name", ROLES)
def test_without_keys_there_is_nothing_to_write(name):
    for family in ("Debian", "RedHat", "Archlinux"):
        asked = {"keymap": "", "layout": "", "console": {"kept": [], "keymap": ""}} if name == "xkb" else {}
        machine = Machine(family, network_manager=True, networkd=True, resolved=True, ifupdown=True, systemd=True, sysconfig=True)
        assert files_of(name, machine=machine, asked=asked) == {}


def test_every_template_is_that_of_a_row():
    named = {"%s/%s" % (name, row["src"]) for name in ROLES for row in rows(name) if "src" in row and "{" not in row["src"]}
    assert set(stock()) - named == {"vm_config/file.j2"} and named <= set(stock())


@pytest.mark.parametrize("name", ROLES)
def test_every_template_has_at_a_start_all_that_it_uses(name):
    given = {"files": [{"name": "proxy", "dest": "/etc/proxy"}]} if name == "vm_config" else {}
    templates = Templates(stock())
    found = names(name, {**role(name, {"config": {}, "invalid": {}, "denied": []}, given).variables,
                         **({"console": {}} if name == "xkb" else {})}, {}, Machine(), "")
    used = Table(name, rows(name), templates).used(found)
    assert len(used) == len([row for row in rows(name) if "src" in row])
    for template, offered in used:
        assert templates.objections(template, offered) == []


def test_values_need_nothing_but_the_standard_library():
    # No site packages, no Ansible, no Jinja.
    code = ("import sys; sys.path.insert(0, %r); import plugins.module_utils._role; "
            "assert not any(name.split('.')[0] in ('ansible', 'jinja2', 'yaml') for name in sys.modules)" % os.path.abspath(HOME))
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)
