# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: escaped
short_description: Text, escaped for a terminal
version_added: 0.1.0
description:
  - Escapes control, bidirectional and other invisible characters, and puts the text on one line.
  - For messages that quote a value, or the output of a program that read one.
author:
  - qubes.vmconfig contributors (@qubes-vmconfig)
options:
  _input:
    description: The text.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Say what a program said
  ansible.builtin.debug:
    msg: "{{ 'two\nlines' | qubes.vmconfig.escaped }}"
"""

RETURN = r"""
_value:
  description: The escaped text.
  type: str
"""

from ansible_collections.qubes.vmconfig.plugins.module_utils._text import escape


class FilterModule:
    """The filter of this file."""

    def filters(self):
        return {"escaped": lambda text: escape(str(text))}
