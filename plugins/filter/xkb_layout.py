# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: xkb_layout
short_description: The layouts in an XKB keymap
version_added: 0.1.0
description:
  - Reads the layouts and variants from the symbols that an C(xkb_keymap) text includes, as C(qubes-keyboard) of Qubes R1 to
    R4.0 holds it.
  - A keymap that spells its symbols out instead gives empty texts.
author:
  - qubes.vmconfig contributors (@qubes-vmconfig)
options:
  _input:
    description: The keymap, with its line ends and tabs.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Shows fr and oss
  ansible.builtin.debug:
    msg: "{{ 'xkb_keymap { xkb_symbols { include \"pc+fr(oss)+inet(evdev)\" }; };' | qubes.vmconfig.xkb_layout }}"
"""

RETURN = r"""
_value:
  description: Layouts and variants, each with commas between, as C(setxkbmap) takes them.
  type: dict
  contains:
    layout:
      description: The layouts.
      type: str
    variant:
      description: Their variants.
      type: str
"""

from ansible_collections.qubes.vmconfig.plugins.module_utils._formats.xkb import layouts


class FilterModule:
    """The filter of this file."""

    def filters(self):
        return {"xkb_layout": layouts}
