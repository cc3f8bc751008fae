#!/usr/bin/python
# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: zone_info
short_description: Tell whether a machine has a time zone
version_added: 0.1.0
description:
  - Looks for a zone in C(/usr/share/zoneinfo) of the target. A zone is a compiled file there, or a link to one that does not leave
    C(/usr/share/zoneinfo).
  - What is there and is no zone that a machine is set to is none, C(localtime), C(posixrules), C(Factory) and all below C(posix) and
    C(right). The first is a link to the file that says which zone is set; the last count leap seconds.
author:
  - qubes.vmconfig contributors (@qubes-vmconfig)
extends_documentation_fragment:
  - qubes.vmconfig.attributes
  - qubes.vmconfig.attributes.read_only
options:
  zone:
    description: The zone, such as V(Europe/Warsaw).
    type: str
    required: true
  root:
    description: Another root than that of the target, such as that of an image. Without a zoneinfo of its own it is measured by the target's.
    type: path
    default: /
  family:
    description:
      - The family of systems, as C(ansible_facts.os_family) names it.
      - With V(Debian) an old name that is missing is told from one that never was, since such names are in a package of their own.
    type: str
    default: ''
seealso:
  - ref: role timezone <ansible_collections.qubes.vmconfig.timezone_role>
    description: The role that sets a zone.
"""

EXAMPLES = r"""
- name: Look for a zone
  qubes.vmconfig.zone_info:
    zone: Europe/Warsaw
  register: warsaw

- name: Go on with a zone that is there alone
  ansible.builtin.assert:
    that: warsaw.objection == ''
    fail_msg: "{{ warsaw.objection }}"
"""

RETURN = r"""
objection:
  description: Why the zone is not to be set, and what was expected. Empty where it is good.
  returned: success
  type: str
  sample: there is no such zone in /usr/share/zoneinfo; expected a zone of the Olson database, such as Europe/Warsaw
"""

from ansible_collections.qubes.vmconfig.plugins.module_utils._python import refuse_an_old_one

refuse_an_old_one()

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.qubes.vmconfig.plugins.module_utils._zoneinfo import objection


def main():
    module = AnsibleModule(
        argument_spec=dict(
            zone=dict(type="str", required=True),
            root=dict(type="path", default="/"),
            family=dict(type="str", default=""),
        ),
        supports_check_mode=True,
    )
    module.exit_json(changed=False, objection=objection(module.params["root"], module.params["zone"], module.params["family"]))


if __name__ == "__main__":
    main()
