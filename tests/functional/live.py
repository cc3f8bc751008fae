# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The roles uplink and dns_redirect on machines of the tests: their files, and what their modules find missing and set, with the machine's programs."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

from ansible_collections.qubes.vmconfig.plugins.module_utils._machine import Machine
from ansible_collections.qubes.vmconfig.plugins.module_utils._role import names
from ansible_collections.qubes.vmconfig.plugins.module_utils._values.every import ROLES
from ansible_collections.qubes.vmconfig.plugins.plugin_utils import _tables
from ansible_collections.qubes.vmconfig.plugins.plugin_utils._rendering import Table, Templates

# What the module does, with the module's own functions.
LIVE = """
import importlib, json, sys
root, role, does, variables = json.load(sys.stdin)
sys.path.insert(0, root)
shared = "ansible_collections.qubes.vmconfig.plugins.module_utils."
live = importlib.import_module(shared + "_live." + role)
try:
    found = live.missing(variables)
    if does:
        live.set_all(found.commands if role == "uplink" else found)
    print(json.dumps({**found._asdict(), "error": ""}))
except importlib.import_module(shared + "_errors").VmconfigError as error:
    print(json.dumps({"error": str(error)}))
"""
ROOT = _tables.__file__.rpartition("/ansible_collections/")[0]


def missing(machine, role, variables):
    """What the module would set: what its function returns, and its error."""
    return _asked(machine, role, False, variables)


def set_all(machine, role, variables):
    """What it sets, likewise."""
    return _asked(machine, role, True, variables)


def _asked(machine, role, does, variables):
    said = machine.run(sys.executable, "-I", "-S", "-c", LIVE, stdin=json.dumps([ROOT, role, does, variables]))
    return SimpleNamespace(**json.loads(said))


def files(role, variables, **there):
    """The files of a role on a Debian of which the rest is given."""
    table = Table(role, _tables.rows(role), Templates(_tables.stock()))
    return table.files(names(role, {**ROLES[role].values({}), **variables}, {}, Machine("Debian", **there), "Ansible managed"))
