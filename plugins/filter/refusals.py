# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: refusals
short_description: Why keys of a qube cannot be used
version_added: 0.1.0
description:
  - Takes what P(qubes.vmconfig.keys_info#module) returned for one qube, and says for each of the keys that a role is going
    to use why it must not, as a complete sentence.
  - The result is empty when all of them are good. A key that is not there is good.
author:
  - qubes.vmconfig contributors (@qubes-vmconfig)
options:
  _input:
    description: One qube's part of the result of P(qubes.vmconfig.keys_info#module).
    type: dict
    required: true
  qube:
    description: The qube's name, for the sentences.
    type: str
    required: true
  keys:
    description: The keys that are going to be used.
    type: list
    elements: str
    required: true
  given:
    description:
      - Values that come from variables, each with the key whose form it must have.
      - An empty value is not looked at.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Read the keys of this qube
  qubes.vmconfig.keys_info:
    qubes: [self]
  register: own

- name: Go on with a good time zone alone
  ansible.builtin.assert:
    that: own.qubes.self | qubes.vmconfig.refusals('self', ['qubes-timezone']) | length == 0
"""

RETURN = r"""
_value:
  description: The sentences.
  type: list
  elements: str
"""

from ansible_collections.qubes.vmconfig.plugins.module_utils import _interface
from ansible_collections.qubes.vmconfig.plugins.module_utils._errors import Refused
from ansible_collections.qubes.vmconfig.plugins.module_utils._text import show


def refusals(found, qube, keys, given=None):
    """The sentences, in the order of the keys."""
    return _of_keys(found, qube, keys) + _of_variables(qube, given or {})


def _of_keys(found, qube, keys):
    invalid = ["qube %s, key %s: the value %s is refused: %s" % (qube, key, found["invalid"][key]["value"], found["invalid"][key]["reason"])
               for key in keys if key in found["invalid"]]
    denied = ["qube %s, key %s: it may not be read here" % (qube, key) for key in keys if key in found["denied"]]
    return invalid + denied


def _of_variables(qube, given):
    sentences = []
    for key, values in given.items():
        for value in values if isinstance(values, (list, tuple)) else [values]:
            try:
                if value:
                    _interface.decode(key, str(value).encode("utf-8"))
            except Refused as error:
                sentences.append("qube %s: the value %s is refused for what key %s would hold: %s" % (qube, show(value), key, error))
    return sentences


class FilterModule:
    """The filter of this file."""

    def filters(self):
        return {"refusals": refusals}
