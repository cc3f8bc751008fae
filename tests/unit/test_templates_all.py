# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for the tables and templates of all roles."""

from __future__ import annotations

import pytest
from ansible_collections.qubes.vmconfig.plugins.module_utils._machine import Machine
from ansible_collections.qubes.vmconfig.plugins.module_utils._role import names, role
from ansible_collections.qubes.vmconfig.plugins.module_utils._values.every import ROLES
from ansible_collections.qubes.vmconfig.plugins.plugin_utils._rendering import Table, Templates
from ansible_collections.qubes.vmconfig.plugins.plugin_utils._tables import rows, stock
from rolefiles import files_of


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
