# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: misnamed_variables
short_description: Which variables look like those of this collection and are not
version_added: 0.1.0
description:
  - Finds names of variables that the roles and playbooks of this collection do not have, and that somebody may have set for them.
  - A name that begins with C(vmconfig_) or C(audit_) and is not documented is one. So is a name that begins with that of a role, such as C(xkb_),
    and is all but equal to one of its variables. Other names that begin so are left to their owners.
author:
  - qubes.vmconfig contributors (@qubes-vmconfig)
options:
  _input:
    description: The names of the variables, by the host that has them.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Refuse to go on with a mistake
  ansible.builtin.assert:
    that: mistakes | length == 0
    fail_msg: "{{ mistakes | join('; ') }}"
  vars:
    mistakes: "{{ {inventory_hostname: query('ansible.builtin.varnames', '^(vmconfig|xkb)_')} | qubes.vmconfig.misnamed_variables }}"
"""

RETURN = r"""
_value:
  description: A sentence for each such name, with where it is set and the nearest name that there is.
  type: list
  elements: str
"""

from ansible_collections.qubes.vmconfig.plugins.plugin_utils._variables import misnamed


class FilterModule:
    """The filter of this file."""

    def filters(self):
        return {"misnamed_variables": misnamed}
