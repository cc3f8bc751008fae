# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that the table and templates of a role say for some keys, and the golden trees of the integration targets."""

from __future__ import annotations

import os

from ansible_collections.qubes.vmconfig.plugins.module_utils._machine import Machine
from ansible_collections.qubes.vmconfig.plugins.module_utils._role import names
from ansible_collections.qubes.vmconfig.plugins.module_utils._values.every import ROLES
from ansible_collections.qubes.vmconfig.plugins.plugin_utils._rendering import Table, Templates
from ansible_collections.qubes.vmconfig.plugins.plugin_utils._tables import rows, stock

HOME = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def files_of(role, config=None, given=None, machine=Machine("Debian"), asked=None, own=None, with_start=False):
    """The files for the ``config`` of keys_info, variables that a play gave, what the machine said, and templates of a user's; by their paths."""
    config = config or {}
    variables = {**ROLES[role].values(config), **(given or {}), **(asked or {})}
    found = names(role, variables, config, machine, "Ansible managed")
    return {file.dest: file for file in Table(role, rows(role), Templates(stock(), own)).files(found, with_start)}


def texts(files):
    """The text of each file that is to be there."""
    return {dest: file.text for dest, file in files.items() if file.text is not None}


def tree(role, name):
    """The files of one of the trees of a role's integration target: their texts, by their paths."""
    root = os.path.join(HOME, "tests", "integration", "targets", "role_" + role, "files", name)
    found = {}
    for folder, dummy, names in os.walk(root):
        for each in names:
            with open(os.path.join(folder, each), encoding="utf-8") as stream:
                found[os.path.join(folder, each)[len(root):]] = stream.read()
    assert found, root
    return found
