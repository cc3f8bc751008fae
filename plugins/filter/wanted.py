# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: wanted
short_description: What a role makes of the keys
version_added: 0.1.0
description:
  - Takes the C(config) that P(qubes.vmconfig.keys_info#module) returns for a qube, and gives the variables of a role, less the
    role's name and an underscore in front, as they are by default.
author:
  - qubes.vmconfig contributors (@qubes-vmconfig)
options:
  _input:
    description: The C(config) of one qube.
    type: dict
    required: true
  role:
    description: The role's name without the collection, such as V(services).
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Which services are on by default in such a qube of R4
  ansible.builtin.debug:
    msg: "{{ ({'type': 'AppVM', 'vm_type': 'AppVM', 'persistence': 'rw-only'} | qubes.vmconfig.wanted('services')).states }}"
"""

RETURN = r"""
_value:
  description: The variables by their names.
  type: dict
"""

from ansible.errors import AnsibleFilterError
from ansible_collections.qubes.vmconfig.plugins.module_utils._formats import ROLES


def wanted(config, role):
    """The variables of that role."""
    if role not in ROLES:
        raise AnsibleFilterError("there is no role %s; the roles are %s" % (role, ", ".join(sorted(ROLES))))
    return ROLES[role].wanted(config)


class FilterModule:
    """The filter of this file."""

    def filters(self):
        return {"wanted": wanted}
