#!/usr/bin/python
# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: keys
short_description: Set the configuration keys that qubes see
version_added: 0.1.0
description:
  - Sets and removes keys of the Qubes VM configuration interface, of any number of qubes in one task.
  - Compares first, and writes only what differs; where nothing differs nothing is written, so no watch fires.
  - All values are checked before the first is written. Each qube then gets all of its changes or none. QubesDB and the
    Admin API have no transactions; there, what was written before a failure is undone as far as that is possible, and the error lists what stands.
author:
  - qubes.vmconfig contributors (@qubes-vmconfig)
extends_documentation_fragment:
  - qubes.vmconfig.store
  - qubes.vmconfig.attributes
  - qubes.vmconfig.attributes.action_group
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Values are escaped, and cut when they are long. A secret is never shown.
  idempotent:
    support: full
options:
  qubes:
    description:
      - For each qube, by its name, its domid or as V(self), the keys and their values. An empty name is an error before
        any store is opened, and so is V(*). Two names of one qube are an error too.
      - V(null) removes a key. A key that is not mentioned is left alone.
      - Keys with a type take YAML's types and text alike. Free text takes strings alone, because YAML has changed what
        is not quoted by then (V(12:30) is 750, V(1.10) is 1.1).
      - Bytes that are not UTF-8 are given in base64, as a dictionary with the one key C(base64).
      - A key may be written with a leading slash, and C(qubes-vm-updateable) as the document spells it, C(qubes-vm-updatable).
    type: dict
  qube:
    description:
      - The one qube that O(keys) are for.
    type: str
  keys:
    description:
      - The keys of O(qube), as in O(qubes).
    type: dict
  src:
    description:
      - A JSON or YAML file with what O(qubes) would hold. Its values are never templated.
      - It is looked for as C(ansible.builtin.copy) looks for its O(ansible.builtin.copy#module:src), and may be encrypted
        with vault, as a whole or value by value.
      - A key that is given twice in it is an error. So are dates, numbers that are not finite and tags other than C(!unsafe) and
        C(!vault), which YAML would make something else of than what is written.
      - It is UTF-8, has at most 8 MiB of which each value takes 25 bytes and its own, and 32 levels. Aliases and merge keys (C(<<))
        count as what they stand for, and a number has at most 64 characters, so no document takes all time or memory.
    type: path
  remote_src:
    description:
      - Read O(src) on the target. Vault cannot be used then, and YAML needs PyYAML there.
    type: bool
    default: false
  purge:
    description:
      - Directories of keys, such as V(qubes-service/). What is under them and not given is removed, for all qubes of the task.
    type: list
    elements: str
    default: []
  unknown:
    description:
      - What to do with a key that the interface does not have. V(reject) is an error that suggests the nearest, by the name of its
        setting too (C(service.cups) is V(qubes-service/cups)). V(allow) writes it.
    type: str
    choices: [reject, allow]
    default: reject
  access:
    description:
      - What the qube itself may do with each of the keys that are set. V(inherit) leaves it as it is, which for a new
        key is as for its directory.
      - V(write) is to read and to write, V(none) is no entry for the qube. Dom0 is the owner.
      - An error on a store without permissions.
    type: str
    choices: [inherit, read, write, none]
    default: inherit
  force:
    description:
      - Also change keys that qubesd itself keeps in a live QubesDB, such as a qube's identity, addresses, firewall and
        devices. Without it, a change of such a key is an error.
    type: bool
    default: false
  missing:
    description:
      - What to do about a qube that is not in the store. V(skip) leaves it out and reports it in RV(missing), also where it goes away before it is written.
    type: str
    choices: [fail, skip]
    default: fail
notes:
  - The target is the machine that has the store, such as dom0 (C(localhost) in a play that runs there), not the qube.
  - Without O(store) the variable C(vmconfig_store) of the target is used, then the environment variable
    E(QUBES_VMCONFIG_STORE) of the target.
  - On QubesDB a write lasts until qubesd writes the key again. The task then warns, and names the settings that would last.
  - With the store V(admin), V(null) resets a property and removes a feature, and what is right by default is unchanged. A key
    without a setting is refused, and the error says what computes it.
  - On QubesDB and with the store V(admin) a qube that is stuck delays and fails no other. The others are completed, and then
    the task fails and names it.
seealso:
  - module: qubes.vmconfig.keys_info
  - plugin: qubes.vmconfig.key
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: What each qube sees
  qubes.vmconfig.keys:
    qubes:
      work:
        qubes-timezone: Europe/Warsaw
        qubes-service/cups: true
        qubes-vm-updateable: false
        vm-config/proxy: http://10.137.0.1:3128
        qubes-keyboard: null
      anon-whonix:
        qubes-timezone: null
    purge:
      - qubes-service/

- name: One qube
  qubes.vmconfig.keys:
    qube: work
    keys:
      keyboard-layout: us,se++grp:alt_shift_toggle

- name: From a file beside the playbook, leaving out qubes that do not run
  qubes.vmconfig.keys:
    src: qubes.yml
    missing: skip

- name: Settings that last, of a qube that may be halted
  qubes.vmconfig.keys:
    qube: work
    keys:
      qubes-service/cups: true
      vm-config/timezone: Europe/Warsaw
    store: admin

- name: A key that only dom0 may read
  qubes.vmconfig.keys:
    qube: work
    keys:
      vm-config/ticket: "4711"
    access: none
    store: xenstore
"""

RETURN = r"""
qubes:
  description: For each qube of the task what was changed, or in check mode would be. Before and after are in the diff.
  returned: success, and after a failure the qubes that were changed
  type: dict
  contains:
    changed_keys:
      description: The keys that were set or removed.
      type: list
      elements: str
      sample: [qubes-service/cups, qubes-timezone]
    lasts:
      description: For each of them how long that lasts, V(persistent), V(until_restart) or V(until_netvm_change).
      type: dict
      sample: {qubes-service/cups: until_restart, qubes-timezone: until_restart}
    effective:
      description: For each of them when the qube takes notice, V(now) or V(restart).
      type: dict
      sample: {qubes-service/cups: restart, qubes-timezone: restart}
  sample:
    work:
      changed_keys: [qubes-timezone]
      lasts: {qubes-timezone: until_restart}
      effective: {qubes-timezone: restart}
missing:
  description: The qubes that were left out because they are not in the store.
  returned: success
  type: list
  elements: str
  sample: []
"""

from ansible_collections.qubes.vmconfig.plugins.module_utils._python import refuse_an_old_one

refuse_an_old_one()

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.qubes.vmconfig.plugins.module_utils._apply import Task, apply
from ansible_collections.qubes.vmconfig.plugins.module_utils._arguments import run, store_arguments
from ansible_collections.qubes.vmconfig.plugins.module_utils._declaration import declared_qubes, read_remote
from ansible_collections.qubes.vmconfig.plugins.module_utils._stores.opening import open_store


def main():
    module = AnsibleModule(
        argument_spec=dict(
            store_arguments(),
            qubes=dict(type="dict"),
            qube=dict(type="str"),
            keys=dict(type="dict", no_log=False),
            src=dict(type="path"),
            remote_src=dict(type="bool", default=False),
            purge=dict(type="list", elements="str", default=[]),
            unknown=dict(type="str", choices=["reject", "allow"], default="reject"),
            access=dict(type="str", choices=["inherit", "read", "write", "none"], default="inherit"),
            force=dict(type="bool", default=False),
            missing=dict(type="str", choices=["fail", "skip"], default="fail"),
        ),
        mutually_exclusive=[("qubes", "qube", "src")],
        required_one_of=[("qubes", "qube", "src")],
        required_together=[("qube", "keys")],
        supports_check_mode=True,
    )

    def work(params):
        qubes = read_remote(params["src"]) if params["src"] else declared_qubes(params)
        task = Task(qubes, params["purge"], params["access"], params["unknown"], params["missing"], params["force"], module.check_mode, module._diff)
        store = open_store(params["store"], params["store_timeout"], list(qubes))
        try:
            return apply(store, task)
        finally:
            store.close()

    run(module, work)


if __name__ == "__main__":
    main()
