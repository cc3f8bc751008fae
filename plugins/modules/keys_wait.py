#!/usr/bin/python
# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: keys_wait
short_description: Wait until a configuration key of a qube is as it should be
version_added: 0.1.0
description:
  - Waits until one key of the Qubes VM configuration interface is there, is gone, has a value or another value than before.
  - A live store tells when the key changes. A file is looked at ten times a second.
author:
  - qubes.vmconfig contributors (@qubes-vmconfig)
extends_documentation_fragment:
  - qubes.vmconfig.store
  - qubes.vmconfig.attributes
  - qubes.vmconfig.attributes.read_only
  - qubes.vmconfig.attributes.action_group
attributes:
  check_mode:
    details: Looks once and does not wait, because what would bring the change about did not happen. RV(met) tells what it saw.
options:
  qube:
    description:
      - The qube, by its name, its domid or as V(self).
    type: str
    required: true
  key:
    description:
      - The name of the key. Any well-formed name is taken, documented or not.
    type: str
    required: true
  state:
    description:
      - What to wait for.
      - V(present) is a key that is there, V(absent) one that is not.
      - V(equal) is a key that holds O(value), V(matching) one whose text O(regexp) is found in.
      - V(changed) is a key that is not what it was when the task began, which includes that it came or went.
    type: str
    choices: [present, absent, equal, matching, changed]
    default: present
  value:
    description:
      - The value, as in O(qubes.vmconfig.keys#module:keys).
    type: raw
  regexp:
    description:
      - A regular expression of Python, looked for anywhere in the text.
    type: str
  timeout:
    description:
      - The seconds after which the task fails.
    type: float
    default: 300
notes:
  - Of C(qubes-random-seed), which is a secret, it can be waited for V(present) and V(absent) alone, and its value is never
    returned.
  - The value may have been written by the qube, and may be anything. It is returned as it is, and escaped in a message.
  - On QubesDB a key is V(absent) too while the qube's daemon has been started anew and qubesd has not written the key yet.
  - Without O(store) the variable C(vmconfig_store) of the target is used, then the environment variable
    E(QUBES_VMCONFIG_STORE) of the target.
seealso:
  - module: qubes.vmconfig.keys
  - module: qubes.vmconfig.keys_info
"""

EXAMPLES = r"""
- name: Until the qube has taken its random seed
  qubes.vmconfig.keys_wait:
    qube: work
    key: qubes-random-seed
    state: absent
    timeout: 60

- name: Until the agent has told which system it runs on
  qubes.vmconfig.keys_wait:
    qube: work
    key: qubes-tools/os
    state: matching
    regexp: ^(Linux|FreeBSD)$

- name: Until the service is on
  qubes.vmconfig.keys_wait:
    qube: work
    key: qubes-service/cups
    state: equal
    value: true
"""

RETURN = r"""
met:
  description: Whether the key is as it should be. False in check mode alone, for otherwise the task fails.
  returned: success
  type: bool
  sample: true
present:
  description: Whether the key was there at last.
  returned: success
  type: bool
  sample: true
value:
  description: Its exact text at last, or null. Bytes that are not UTF-8 are a dictionary with the one key C(base64).
  returned: success
  type: raw
  sample: Linux
elapsed:
  description: How long that took, in seconds.
  returned: success
  type: float
  sample: 1.27
"""

from ansible_collections.qubes.vmconfig.plugins.module_utils._python import refuse_an_old_one

refuse_an_old_one()

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.qubes.vmconfig.plugins.module_utils._arguments import run, store_arguments
from ansible_collections.qubes.vmconfig.plugins.module_utils._stores.opening import open_store
from ansible_collections.qubes.vmconfig.plugins.module_utils._wait import Task, named, wait


def main():
    module = AnsibleModule(
        argument_spec=dict(
            store_arguments(),
            qube=dict(type="str", required=True),
            key=dict(type="str", required=True, no_log=False),
            state=dict(type="str", choices=["present", "absent", "equal", "matching", "changed"], default="present"),
            value=dict(type="raw"),
            regexp=dict(type="str"),
            timeout=dict(type="float", default=300),
        ),
        required_if=[("state", "equal", ["value"]), ("state", "matching", ["regexp"])],
        supports_check_mode=True,
    )

    def work(params):
        task = named(Task(params["qube"], params["key"], params["state"], params["value"], params["regexp"], params["timeout"], module.check_mode))
        store = open_store(params["store"], params["store_timeout"], [task.qube])
        try:
            return wait(store, task)
        finally:
            store.close()

    run(module, work)


if __name__ == "__main__":
    main()
