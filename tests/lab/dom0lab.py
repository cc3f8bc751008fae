# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How Ansible is set up in dom0 of Qubes R4.3, as far as the lab has it: the default strategy, and the connection of qubes."""

from __future__ import annotations

import os
from typing import Dict

HERE = os.path.dirname(os.path.abspath(__file__))


def environment(template: str, after_failure: str = "drops") -> Dict[str, str]:
    """Variables for `ansible-playbook`. ``template`` has the collections that are installed for the disposables."""
    return {
        "ANSIBLE_STRATEGY": "lab_proxy",
        "ANSIBLE_STRATEGY_PLUGINS": os.path.join(HERE, "dom0", "strategy"),
        "ANSIBLE_CONNECTION_PLUGINS": os.path.join(HERE, "dom0", "connection"),
        "LAB_PROXY_TEMPLATE": template,
        "LAB_PROXY_AFTER_FAILURE": after_failure,
    }
