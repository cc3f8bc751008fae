# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: wanted
short_description: What a role makes of the keys, and why it must not
version_added: 0.1.0
description:
  - Takes what P(qubes.vmconfig.keys_info#module) returned for one qube, and what a play gave for the variables of a role. Gives the
    variables as the role uses them, now and at each start.
  - A variable that the play gave is converted to its type, so that V(false), V("false"), V("no") and V("0") are the same, and so are a list,
    the same list as JSON, and text with commas. One that is null is made of the keys.
author:
  - qubes.vmconfig contributors (@qubes-vmconfig)
options:
  _input:
    description: One qube's part of the result of P(qubes.vmconfig.keys_info#module).
    type: dict
    required: true
  role:
    description: The role's name without the collection, such as V(services).
    type: str
    required: true
  qube:
    description: The qube's name, for the sentences.
    type: str
    default: self
  given:
    description: What the play gave, by the names of the variables less the role's name and an underscore in front.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Read the keys of this qube
  qubes.vmconfig.keys_info:
    qubes: [self]
  register: own

- name: Go on with good resolvers alone
  ansible.builtin.assert:
    that: (own.qubes.self | qubes.vmconfig.wanted('resolver', given={'disabled':'no'})).refusals | length == 0

- name: Which services are on in this qube
  ansible.builtin.debug:
    msg: "{{ (own.qubes.self | qubes.vmconfig.wanted('services')).variables.states }}"
"""

RETURN = r"""
_value:
  description: What the role goes by.
  type: dict
  contains:
    variables:
      description: All variables by their names, each of its type. Where something is refused, they are not to be used.
      type: dict
    given:
      description: Those that the play gave, each of its type.
      type: dict
    refusals:
      description:
        - For each key that is read and must not be used, and for each variable that is not as it should be, why, as a complete sentence.
        - A key that is not there is good, and one that is not read does not matter.
      type: list
      elements: str
"""

from ansible.errors import AnsibleFilterError
from ansible_collections.qubes.vmconfig.plugins.module_utils import _wanted
from ansible_collections.qubes.vmconfig.plugins.module_utils._formats.every import ROLES


def wanted(found, role, qube="self", given=None):
    """What that role goes by."""
    if role not in ROLES:
        raise AnsibleFilterError("there is no role %s; the roles are %s" % (role, ", ".join(sorted(ROLES))))
    result = _wanted.wanted(role, found, _decrypted(given or {}))
    return {"variables": result.variables, "given": result.given, "refusals": _wanted.sentences("qube %s" % qube, result.refusals)}


def _decrypted(value):
    """The same, with text in place of what ansible-core before 2.19 makes of an encrypted value."""
    if isinstance(value, dict):
        return {name: _decrypted(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_decrypted(each) for each in value]
    return str(value) if getattr(value, "__ENCRYPTED__", False) else value


class FilterModule:
    """The filter of this file."""

    def filters(self):
        return {"wanted": wanted}
