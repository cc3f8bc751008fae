# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: drift
short_description: Where what a qube sees is not what is set for it
version_added: 0.1.0
description:
  - Compares the settings of a qube with the keys that it sees, key by key, and says why a key differs.
  - Both are what P(qubes.vmconfig.keys_info#module) returned for the qube with O(qubes.vmconfig.keys_info#module:raw=true),
    from the store V(admin) and from a live store.
author:
  - qubes.vmconfig contributors (@qubes-vmconfig)
options:
  _input:
    description: The qube's part of the result for the store V(admin).
    type: dict
    required: true
  seen:
    description: The qube's part of the result for the live store.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show a key that was written by hand
  ansible.builtin.debug:
    msg: "{{ settings | qubes.vmconfig.drift(seen) }}"
  vars:
    settings: {raw: {vm-config/proxy: "http://10.137.0.1:3128"}, denied: []}
    seen: {raw: {vm-config/proxy: "http://203.0.113.66:3128"}, denied: []}
"""

RETURN = r"""
_value:
  description:
    - For each key that differs a dictionary of C(key), C(seen) and C(should) (escaped and cut, or null where the key is not
      there), and C(reason).
  type: list
  elements: dict
"""

from ansible_collections.qubes.vmconfig.plugins.module_utils._drift import drift


class FilterModule:
    """The filter of this file."""

    def filters(self):
        return {"drift": drift}
