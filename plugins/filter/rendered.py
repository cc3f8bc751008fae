# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: rendered
short_description: The text of a file that a role writes
version_added: 0.1.0
description:
  - Puts a value into the form of a file. The templates of the roles are made of these texts, and what renders at boot makes
    the same.
  - It checks nothing; a role does that before it renders.
author:
  - qubes.vmconfig contributors (@qubes-vmconfig)
options:
  _input:
    description: The value, in the form that the file needs.
    type: raw
    required: true
  text:
    description:
      - The name of the text, such as V(resolv.conf), which takes a list of addresses.
      - Some texts take more, as keyword arguments.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show a resolv.conf
  ansible.builtin.debug:
    msg: "{{ ['10.139.1.1', '10.139.1.2'] | qubes.vmconfig.rendered('resolv.conf') }}"
"""

RETURN = r"""
_value:
  description: The text, with its line ends.
  type: str
"""

from ansible.errors import AnsibleFilterError
from ansible_collections.qubes.vmconfig.plugins.module_utils._formats.every import TEXTS


def rendered(value, text, **more):
    """The text of that name."""
    if text not in TEXTS:
        raise AnsibleFilterError("there is no text %s; the texts are %s" % (text, ", ".join(sorted(TEXTS))))
    return TEXTS[text](value, **more)


class FilterModule:
    """The filter of this file."""

    def filters(self):
        return {"rendered": rendered}
