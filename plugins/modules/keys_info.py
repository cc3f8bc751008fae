#!/usr/bin/python
# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: keys_info
short_description: Read the configuration keys that qubes see
version_added: 0.1.0
description:
  - Reads keys of the Qubes VM configuration interface and returns them decoded, validated and nested.
  - A qube can write any text into keys of its own. What is not as the interface says is kept apart in RV(qubes.invalid),
    and never fails the task.
author:
  - qubes.vmconfig contributors (@qubes-vmconfig)
extends_documentation_fragment:
  - qubes.vmconfig.store
  - qubes.vmconfig.attributes
  - qubes.vmconfig.attributes.read_only
  - qubes.vmconfig.attributes.action_group
options:
  qubes:
    description:
      - The qubes to read, each by its name, its domid or as V(self). V(*) is all of them. An empty name is an error before any store
        is opened.
      - Without it, all qubes where the store has all of them, and V(self) inside a qube.
      - A qube that was not named and goes away meanwhile is left out. Where one that was named is not there the task fails, and returns the others.
    type: list
    elements: str
  keys:
    description:
      - Names of keys, and globs with V(*), V(?), V([ab]) and V([!ab]), all of which also match a slash. Any well-formed name is taken,
        documented or not. A glob that can match no name is an error.
      - Without it, every documented key.
    type: list
    elements: str
    default: []
  raw:
    description:
      - Also return the exact text of every key, including keys that are not in the interface.
    type: bool
    default: false
notes:
  - C(qubes-random-seed) is a secret and is never returned.
  - Without O(store) the variable C(vmconfig_store) of the target is used, then the environment variable
    E(QUBES_VMCONFIG_STORE) of the target.
seealso:
  - module: qubes.vmconfig.keys
  - plugin: qubes.vmconfig.key
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: What this qube sees, inside a qube
  qubes.vmconfig.keys_info:
  register: own

- name: The time zone
  ansible.builtin.debug:
    var: own.qubes.self.config.timezone

- name: Services and the administrator's settings of two qubes
  qubes.vmconfig.keys_info:
    qubes: [work, personal]
    keys: ["qubes-service/*", "vm-config/*"]
  register: two

- name: What is not as it should be, in any qube
  qubes.vmconfig.keys_info:
    qubes: ["*"]
  register: all_of_them
"""

RETURN = r"""
qubes:
  description: What was read, by the names that the task gave.
  returned: success, and where some qubes cannot be read the others
  type: dict
  contains:
    config:
      description:
        - The keys that are as the interface says, decoded to their types and nested by subject.
        - C(services) maps a name to a boolean, C(vm_config) holds the settings C(vm-config/*). C(network.dns) is the list of
          resolvers, the gateway first where there is no C(qubes-primary-dns), and C(network.prefix) the netmask as a number.
      type: dict
      sample:
        timezone: Europe/Warsaw
        keyboard: {layout: us, variant: "", options: ""}
        services: {cups: true}
        network: {ip: 10.137.0.12, gateway: 10.138.2.5, netmask: 255.255.255.255, prefix: 32, dns: [10.139.1.1, 10.139.1.2]}
    invalid:
      description: For each key that is not as the interface says, its C(value), escaped and cut, and the C(reason).
      type: dict
      sample:
        qubes-timezone: {value: "'../../etc/passwd'", reason: "expected a zone of the Olson database, such as Europe/Warsaw"}
    denied:
      description: The keys that may not be read.
      type: list
      elements: str
      sample: []
    untold:
      description: The keys that are there, and whose value the store V(admin) does not tell because qubesd computes it.
      type: list
      elements: str
      returned: when there are any
      sample: [qubes-mac, qubes-timezone]
    defaults:
      description: The keys whose value is the default of a property of the store V(admin), and was not set for the qube.
      type: list
      elements: str
      returned: when there are any
      sample: [qubes-debug-mode]
    raw:
      description: The exact text by key. Bytes that are not UTF-8 are a dictionary with the one key C(base64).
      type: dict
      returned: O(raw=true)
      sample: {qubes-timezone: Europe/Warsaw}
  sample:
    work:
      config: {timezone: Europe/Warsaw}
      invalid: {}
      denied: []
"""

from ansible_collections.qubes.vmconfig.plugins.module_utils._python import refuse_an_old_one

refuse_an_old_one()

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.qubes.vmconfig.plugins.module_utils._arguments import run, store_arguments
from ansible_collections.qubes.vmconfig.plugins.module_utils._errors import SomeUnread, Stopped
from ansible_collections.qubes.vmconfig.plugins.module_utils._inspect import asked, read, report, selected
from ansible_collections.qubes.vmconfig.plugins.module_utils._stores.opening import open_store


def main():
    module = AnsibleModule(
        argument_spec=dict(
            store_arguments(),
            qubes=dict(type="list", elements="str"),
            keys=dict(type="list", elements="str", default=[], no_log=False),
            raw=dict(type="bool", default=False),
        ),
        supports_check_mode=True,
    )

    def work(params):
        selection = selected(params["keys"])
        qubes = asked(params["qubes"])
        store = open_store(params["store"], params["store_timeout"], qubes or [])

        def result(found):
            return {"changed": False, "qubes": {qube: report(snapshot, selection, params["raw"]) for qube, snapshot in found.items()}}

        try:
            return result(read(store, qubes, selection))
        except SomeUnread as error:
            stopped = Stopped(str(error), result(error.found))
        finally:
            store.close()
        raise stopped

    run(module, work)


if __name__ == "__main__":
    main()
