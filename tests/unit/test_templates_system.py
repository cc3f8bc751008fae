# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of the time zone, the host name and the resolvers: which there are, and their texts."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from ansible_collections.qubes.vmconfig.plugins.module_utils import _role
from ansible_collections.qubes.vmconfig.plugins.module_utils._machine import Machine
from rolefiles import files_of, texts, tree

DNS = {"network": {"dns": ["10.139.1.1", "10.139.1.2"]}}
# What the trees have beside what is written.
SYSCTL = "/etc/sysctl.d/81-qubes-hostname.conf"
BESIDE = {"/usr/share/systemd/kbd-model-map", "/etc/systemd/resolved.conf"}

# A role, the ``config`` of keys_info, a family of systems, and the texts of some of the files that the role has then.
CASES = [
    ("timezone", {"timezone": "Asia/Tokyo"}, "Debian", {"/etc/timezone": "Asia/Tokyo\n"}),
    ("hostname", {"name": "work"}, "Archlinux", {"/etc/hostname": "work\n"}),
    ("resolver", DNS, "RedHat", {"/etc/resolv.conf": "nameserver 10.139.1.1\nnameserver 10.139.1.2\n"}),
]


@pytest.mark.parametrize("role, config, family, expected", CASES)
def test_a_file_has_its_text(role, config, family, expected):
    found = texts(files_of(role, config, machine=Machine(family)))
    assert {path: found.get(path) for path in expected} == expected


@pytest.mark.parametrize("expected, config, machine", [
    ("r4", {"timezone": "Asia/Tokyo"}, Machine("Debian", sysconfig=True)),
    ("r2", {"timezone": "UTC", "vm_config": {"timezone": "Europe/Warsaw"}}, Machine("Debian")),
    ("fedora", {"timezone": "Asia/Tokyo"}, Machine("RedHat", sysconfig=True)),
    ("", {"timezone": "Asia/Tokyo"}, Machine("RedHat")),
    ("", {"timezone": "Asia/Tokyo"}, Machine("Archlinux", sysconfig=True)),
])
def test_the_files_of_a_zone(expected, config, machine):
    files = files_of("timezone", config, machine=machine)
    assert texts(files) == (tree("timezone", expected) if expected else {})
    zone = config.get("vm_config", config)["timezone"]
    assert files["/etc/localtime"].link == "../usr/share/zoneinfo/" + zone
    assert all(file.agent and tuple(file.protected_by) == ("/etc/timezone", "/etc/localtime") for file in files.values())


@pytest.mark.parametrize("expected, config, machine", [
    ("r4", DNS, Machine("Debian")),
    ("r4", {**DNS, "services": {"network-manager": True}}, Machine("Debian")),
    ("r4", {**DNS, "services": {"network-manager": False}, "vm_type": "NetVM"}, Machine("Debian")),
    ("disabled", {**DNS, "services": {"disable-dns-server": True}}, Machine("RedHat")),
    ("resolved", DNS, Machine("RedHat", resolved=True)),
    ("resolved", {**DNS, "services": {"network-manager": False}, "vm_type": "NetVM"}, Machine("RedHat", resolved=True, network_manager=True)),
    ("resolved-none", {**DNS, "services": {"disable-dns-server": True}}, Machine("Archlinux", resolved=True)),
    ("manager", {**DNS, "services": {"network-manager": True}}, Machine("RedHat", resolved=True, network_manager=True)),
    ("manager-none", {**DNS, "services": {"network-manager": True, "disable-dns-server": True}}, Machine("Debian", network_manager=True)),
    ("manager-one", {"network": {"dns": ["10.137.2.1"]}, "vm_type": "NetVM"}, Machine("Debian", network_manager=True)),
])
def test_the_files_of_resolvers(expected, config, machine):
    there = tree("resolver", expected)
    beside = BESIDE | ({"/etc/resolv.conf"} if expected.startswith("manager") else set())
    files = files_of("resolver", config, machine=machine)
    assert texts(files) == {path: text for path, text in there.items() if path not in beside}
    assert all(file.agent for file in files.values())


def test_resolved_and_networkmanager_are_left_to_an_agent_that_is_not_taken_over():
    manages = {**DNS, "services": {"network-manager": True}}
    for machine, config, there in (({"resolved": True}, DNS, {"/etc/resolv.conf"}), ({"network_manager": True}, manages, set())):
        assert set(files_of("resolver", config, machine=Machine("Debian", agent=True, leaves=True, **machine))) == there


@pytest.mark.parametrize("expected, name, machine", [
    ("r4", "it-r4", Machine("Debian")),
    ("r2", "it-hostname-r2", Machine("Debian")),
    ("of-its-own", "mail.corp", Machine("Debian", hostname=True)),
    ("fedora", "it-r4", Machine("RedHat", hostname=True)),
    ("arch", "it-r4", Machine("Archlinux", hostname=True)),
    # Without a file of hosts.
    ("none", "it-r4", Machine("Debian")),
])
def test_the_files_of_a_host_name(expected, name, machine):
    there = tree("hostname", expected)
    files = files_of("hostname", {"name": name}, machine=machine, asked={"hosts": there.get("/etc/hosts", "")})
    assert texts(files) == there
    assert {path for path, file in files.items() if file.agent} == set(there) - {SYSCTL}
    assert all("/etc/hostname" in (path, *(file.protected_by or ())) for path, file in files.items())


def test_what_the_kernel_is_told_at_a_start_goes_where_the_agent_tells_it():
    files = files_of("hostname", {"name": "work"}, machine=Machine("Debian", hostname=True, agent=True, leaves=True), asked={"hosts": "127.0.1.1 work\n"})
    assert {path: file.absent for path, file in files.items()} == {"/etc/hosts": False, SYSCTL: True}


@pytest.mark.parametrize("role", ["timezone", "hostname", "resolver"])
def test_without_keys_there_is_nothing_to_write(role):
    assert files_of(role, machine=Machine("Debian", resolved=True, network_manager=True, sysconfig=True)) == {}


def test_what_makes_a_role_of_keys_needs_nothing_but_the_standard_library():
    # As at a start: no site packages, no Ansible.
    collection = _role.__file__.rpartition("/plugins/")[0]
    code = ("import sys; sys.path.insert(0, %r); import plugins.module_utils._role, plugins.module_utils._asking; "
            "assert not any('ansible' in name for name in sys.modules)" % collection)
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True, cwd=os.sep)
