# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pickles each play of the playbooks that the arguments name, compiled by Ansible's own classes, and says in JSON what of them could not be.

A process of its own, because Ansible takes over how collections are imported.
"""

from __future__ import annotations

import json
import pickle
import sys

from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.playbook import Playbook
from ansible.plugins.loader import init_plugin_loader
from ansible.vars.manager import VariableManager


def problems(paths):
    """By the path of a playbook and the name of a play, what is wrong with it."""
    init_plugin_loader()
    loader = DataLoader()
    variables = VariableManager(loader=loader, inventory=InventoryManager(loader=loader, sources=["localhost,"]))
    found = {}
    for path in paths:
        for play in Playbook.load(path, variable_manager=variables, loader=loader).get_plays():
            try:
                # What the strategy hands to its worker holds these; the compiled play alone has what roles are made of.
                pickle.dumps((play, play.compile()))
            except Exception as error:  # pylint: disable=broad-except
                found["%s: %s" % (path, play.get_name())] = str(error)
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(problems(sys.argv[1:])))
