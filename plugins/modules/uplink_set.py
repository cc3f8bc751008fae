#!/usr/bin/python
# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: uplink_set
short_description: Set the uplink of a running qube
version_added: 0.1.0
description:
  - Compares the running interface to the netvm with what the keys of the qube say, and has C(ip) set what is missing, in one process. Nothing is run
    where all is right, and the interface is never taken down.
  - The options are the variables of the role P(qubes.vmconfig.uplink#role), less its name in front. One that is not given is that variable, and one
    that this is not is what the keys say.
  - What an earlier run set, and the keys no longer say, is removed after the new is there. What others set stays.
  - Which interface it is, is not guessed. Where there is none, or more than one, it is an error, and nothing is set.
  - With C(vmconfig_destdir), and with C(vmconfig_apply=boot), nothing is looked at or set.
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
    details: Shows what goes and what comes, in the words of C(ip).
  idempotent:
    support: full
options:
  interface:
    description: The interface's name. Empty is the one with the MAC address O(mac), else C(eth0).
    type: str
  mac:
    description: The interface's MAC address.
    type: str
  ip:
    description: The IPv4 address. Empty sets nothing of IPv4.
    type: str
  prefix:
    description: The bits of the IPv4 netmask.
    type: int
  gateway:
    description: The IPv4 gateway.
    type: str
  ip6:
    description: The IPv6 address. Empty sets nothing of IPv6.
    type: str
  prefix6:
    description: The bits of the IPv6 prefix.
    type: int
  gateway6:
    description: The IPv6 gateway. Empty is none, and no route.
    type: str
  neighbours:
    description: Set the gateways' link address, V(fe:ff:ff:ff:ff:ff), so that nobody is asked for it.
    type: bool
  default_route:
    description: Set the default routes.
    type: bool
seealso:
  - ref: role uplink <ansible_collections.qubes.vmconfig.uplink_role>
    description: The role that also writes it down for the next start.
"""

EXAMPLES = r"""
- name: Set the uplink as the keys say
  qubes.vmconfig.uplink_set:

- name: See what is missing of it
  qubes.vmconfig.uplink_set:
  check_mode: true
  register: uplink

- name: Say it
  ansible.builtin.debug:
    msg: "{{ uplink.commands | join('; ') }}"
"""

RETURN = r"""
interface:
  description: The interface's name; empty where nothing is to be set, or C(ip) is not there.
  type: str
  returned: success
  sample: eth0
commands:
  description: What C(ip) had, or would have, to do, a line of C(ip -batch) each. Empty where all is right.
  type: list
  elements: str
  returned: success
  sample: [address replace 10.137.0.12/32 dev eth0]
differing:
  description: What differs, by the name that an audit lists.
  type: list
  elements: str
  returned: success
  sample: [interface eth0]
left:
  description:
    - Why not all is set that is wanted, as where the program C(ip) is not there, or the interface has IPv6 switched off.
    - Empty where all is.
  type: str
  returned: success
  sample: eth0 has IPv6 switched off (net.ipv6.conf.eth0.disable_ipv6), so fd09:24ef:4179::a89:c is not set
"""

from ansible_collections.qubes.vmconfig.plugins.module_utils._python import refuse_an_old_one

refuse_an_old_one()

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.qubes.vmconfig.plugins.module_utils._arguments import run
from ansible_collections.qubes.vmconfig.plugins.module_utils._live.uplink import diff, missing, set_all
from ansible_collections.qubes.vmconfig.plugins.module_utils._values.uplink import values


def main():
    module = AnsibleModule(
        argument_spec=dict(
            interface=dict(type="str"),
            mac=dict(type="str"),
            ip=dict(type="str"),
            prefix=dict(type="int"),
            gateway=dict(type="str"),
            ip6=dict(type="str"),
            prefix6=dict(type="int"),
            gateway6=dict(type="str"),
            neighbours=dict(type="bool"),
            default_route=dict(type="bool"),
        ),
        supports_check_mode=True,
    )

    def work(params):
        found = missing({**values({}), **{name: value for name, value in params.items() if value is not None}})
        if found.commands and not module.check_mode:
            set_all(found.commands)
        differing = ["interface " + found.interface] if found.commands else []
        shown = dict(diff=diff(found.interface, found.commands)) if module._diff else {}
        return dict(shown, **found._asdict(), changed=bool(differing), differing=differing)

    run(module, work)


if __name__ == "__main__":
    main()
