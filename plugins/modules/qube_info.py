#!/usr/bin/python
# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: qube_info
short_description: Tell what the qube of a host is told, and what its machine is
version_added: 0.1.0
description:
  - Reads the keys of the qube that a host is, and looks at the machine, as the roles of this collection do. That is done once a play for each host,
    so after one of these roles, or before them, it costs nothing.
  - Which qube it is, and where its keys are, the variables C(vmconfig_qube), C(vmconfig_store) and C(vmconfig_read_from) say.
author:
  - qubes.vmconfig contributors (@qubes-vmconfig)
extends_documentation_fragment:
  - qubes.vmconfig.attributes
  - qubes.vmconfig.attributes.read_only
options:
  qubes:
    description:
      - Reads the keys of these qubes instead, in one go, for the other hosts of the play, whose C(vmconfig_read_from) is the host that this task is
        delegated to. P(qubes.vmconfig.read_keys#role) does it.
    type: list
    elements: str
  read:
    description: With V(false) nothing is read, and the host is not reached. What must not be is refused all the same.
    type: bool
    default: true
attributes:
  action:
    description: It runs on the controller, and has modules run on the host.
    support: full
seealso:
  - module: qubes.vmconfig.keys_info
  - module: qubes.vmconfig.place_info
"""

EXAMPLES = r"""
- name: See what this qube is told
  qubes.vmconfig.qube_info:
  register: own

- name: Say it
  ansible.builtin.debug:
    msg: "{{ own.qube }} is in the zone {{ own.config.timezone | default('that the machine has') }}, on {{ own.machine.family }}"
"""

RETURN = r"""
qube:
  description: Which qube the host is.
  type: str
  returned: unless O(qubes) or O(read=false)
  sample: self
config:
  description: What P(qubes.vmconfig.keys_info#module) returns of it, the keys typed and by their levels.
  type: dict
  returned: unless O(qubes) or O(read=false)
  sample: {timezone: Europe/Warsaw, type: AppVM}
invalid:
  description: The keys with a value that is refused, each with C(value) and C(reason), escaped.
  type: dict
  returned: unless O(qubes) or O(read=false)
  sample: {}
denied:
  description: The keys that may not be read.
  type: list
  elements: str
  returned: unless O(qubes) or O(read=false)
  sample: []
machine:
  description:
    - What tables and templates of the roles have as C(machine), C(family) (V(Debian), V(RedHat) or V(Archlinux)), and booleans, C(agent) (the stock
      agent of Qubes is installed), C(leaves) (what it does is left to it), C(network_manager), C(networkd), C(resolved), C(ifupdown), C(systemd)
      and C(sysconfig).
  type: dict
  returned: unless O(qubes) or O(read=false)
  sample: {family: Debian, agent: false, resolved: true}
protected:
  description: The files that the owner of the machine protects.
  type: list
  elements: str
  returned: unless O(qubes) or O(read=false)
  sample: [/etc/hosts]
destdir:
  description: The directory that everything is put under, empty for the running system.
  type: str
  returned: unless O(qubes) or O(read=false)
  sample: ""
noted:
  description:
    - By the role, the C(changed) files and states of this play, or those that would be in check mode, and those that differ and are C(left) to the
      agent.
  type: dict
  returned: unless O(qubes)
  sample: {timezone: {changed: [/etc/timezone], left: []}}
qubes:
  description: For each qube what P(qubes.vmconfig.keys_info#module) returns.
  type: dict
  returned: with O(qubes)
  sample: {work: {config: {timezone: Europe/Warsaw}, invalid: {}, denied: []}}
"""
