#!/usr/bin/python
# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: hostname_set
short_description: Set the host name of a running qube
version_added: 0.1.0
description:
  - Compares the host name that the kernel has with what the keys of the qube say, and sets it where it differs. No file is written, and no program run.
  - The option is the variable of the role P(qubes.vmconfig.hostname#role), less its name in front. Not given, it is that variable, and where
    this is not set either, what the keys say.
  - Where C(/etc/hostname) is protected, with C(vmconfig_destdir), and with C(vmconfig_apply=boot), nothing is looked at or set.
author:
  - qubes.vmconfig contributors (@qubes-vmconfig)
extends_documentation_fragment:
  - qubes.vmconfig.attributes
attributes:
  check_mode:
    support: full
    details: Where the stock agent is installed, it is as in check mode without C(vmconfig_take_over). What differs is told, and left to the agent.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  name:
    description: The host name. Empty sets nothing.
    type: str
seealso:
  - ref: role hostname <ansible_collections.qubes.vmconfig.hostname_role>
    description: The role that also writes it down for the next start.
"""

EXAMPLES = r"""
- name: Give the qube the host name that the keys say
  qubes.vmconfig.hostname_set:
"""

RETURN = r"""
differing:
  description: What differs, or did, by the name that an audit lists.
  type: list
  elements: str
  returned: success
  sample: [kernel.hostname]
"""

from ansible_collections.qubes.vmconfig.plugins.module_utils._python import refuse_an_old_one

refuse_an_old_one()

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.qubes.vmconfig.plugins.module_utils._arguments import run
from ansible_collections.qubes.vmconfig.plugins.module_utils._live.hostname import missing, set_all


def main():
    module = AnsibleModule(argument_spec=dict(name=dict(type="str")), supports_check_mode=True)

    def work(params):
        variables = {"name": params["name"] or ""}
        found = missing(variables)
        if found.differing and not module.check_mode:
            set_all(variables)
        shown = dict(diff=found.diff) if module._diff else {}
        return dict(shown, changed=bool(found.differing), differing=found.differing)

    run(module, work)


if __name__ == "__main__":
    main()
