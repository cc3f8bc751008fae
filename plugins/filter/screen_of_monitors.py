# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: screen_of_monitors
short_description: The screen that some monitors make
version_added: 0.1.0
description:
  - Checks a list of monitors, and tells the size of the screen that has them all on it, and the video memory that it needs.
  - The list is that of P(qubes.vmconfig.rpc#module), option O(qubes.vmconfig.rpc#module:monitor_layout).
author:
  - qubes.vmconfig contributors (@qubes-vmconfig)
options:
  _input:
    description:
      - The monitors, as dictionaries with C(width), C(height), C(x), C(y), C(width_mm), C(height_mm) and C(output), or as a line such as
        V(1920x1080+0+0 2560x1440+1920+0/600x340), where millimetres follow a slash.
    type: raw
    required: true
  minimum:
    description: The least video memory, in KiB, as C(qubes-gui-videoram-min) says.
    type: int
  overhead:
    description: The video memory for more, in KiB, as C(qubes-gui-videoram-overhead) says. By default that of a monitor of 1920 by 1080.
    type: int
"""

EXAMPLES = r"""
- name: How much video memory two monitors need
  ansible.builtin.debug:
    msg: "{{ ('1920x1080+0+0 1280x1024+1920+0' | qubes.vmconfig.screen_of_monitors).memory }} KiB"
"""

RETURN = r"""
_value:
  description:
    - A dictionary with C(problems), a list of sentences. Where that is empty, C(monitors) are the monitors as dictionaries, C(width) and
      C(height) the size in pixels, and C(memory) the KiB.
  type: dict
"""

from ansible.errors import AnsibleFilterError
from ansible_collections.qubes.vmconfig.plugins.module_utils import _monitors


def screen(given, minimum=None, overhead=None):
    """What the documentation says."""
    parsed = _monitors.parse(str(given)) if isinstance(given, str) else given
    problems = _monitors.problems(parsed)
    if problems:
        return {"problems": problems, "monitors": [], "width": 0, "height": 0, "memory": 0}
    found = _monitors.monitors(parsed)
    size = _monitors.screen(found)
    memory = _monitors.memory(size, _kib("minimum", minimum), _kib("overhead", overhead))
    return {"problems": [], "monitors": _monitors.as_dicts(found), "width": size.width, "height": size.height, "memory": memory}


def _kib(name, value):
    found = _monitors.kib(value)
    if found is None and value is not None and value != "":
        raise AnsibleFilterError("%s is no number of KiB" % name)
    return found


class FilterModule:
    """The filter of this file."""

    def filters(self):
        return {"screen_of_monitors": screen}
