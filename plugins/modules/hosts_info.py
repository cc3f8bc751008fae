#!/usr/bin/python
# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: hosts_info
short_description: Tell what /etc/hosts is to be with a host name
version_added: 0.1.0
description:
  - Reads C(/etc/hosts) of the target, and returns its text with a host name in its place. That is the line of C(127.0.1.1) in the family of Debian, and
    the lines of C(127.0.0.1) and C(::1) elsewhere. All else of it stays as it is.
  - Of several lines of an address the first is meant. The host name is its last name; a C(localhost) or C(ip6-loopback) there is none, and stays. Where a
    line of the address has the name already, nothing is changed.
  - An address that has no line is added. A file that is not there, or is empty, is none.
  - A file that cannot be read, is larger than 1 MiB, or is not UTF-8, is an error.
author:
  - qubes.vmconfig contributors (@qubes-vmconfig)
extends_documentation_fragment:
  - qubes.vmconfig.attributes
  - qubes.vmconfig.attributes.read_only
options:
  name:
    description: The host name, as the key C(name) has it.
    type: str
    required: true
  root:
    description: Another root than that of the target, such as that of an image.
    type: path
    default: /
  family:
    description: The family of systems, as C(ansible_facts.os_family) names it.
    type: str
    required: true
seealso:
  - ref: role hostname <ansible_collections.qubes.vmconfig.hostname_role>
    description: The role that writes it.
"""

EXAMPLES = r"""
- name: See what /etc/hosts would be
  qubes.vmconfig.hosts_info:
    name: work
    family: Debian
  register: hosts_file
"""

RETURN = r"""
text:
  description: The text that the file is to have. Empty where there is none.
  returned: success
  type: str
  sample: "127.0.0.1 localhost\n127.0.1.1 work\n"
"""

from ansible_collections.qubes.vmconfig.plugins.module_utils._python import refuse_an_old_one

refuse_an_old_one()

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.qubes.vmconfig.plugins.module_utils._arguments import run
from ansible_collections.qubes.vmconfig.plugins.module_utils._hosts import hosts


def main():
    module = AnsibleModule(
        argument_spec=dict(
            name=dict(type="str", required=True),
            root=dict(type="path", default="/"),
            family=dict(type="str", required=True),
        ),
        supports_check_mode=True,
    )
    run(module, lambda params: dict(changed=False, text=hosts(params["root"], params["name"], params["family"])))


if __name__ == "__main__":
    main()
