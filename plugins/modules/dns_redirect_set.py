#!/usr/bin/python
# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: dns_redirect_set
short_description: Redirect the DNS queries of other qubes in a running netvm
version_added: 0.1.0
description:
  - Compares the chain C(dnat-dns) of the table C(ip qubes), and whether the kernel forwards, with what the keys of the qube say. Loads the chain's rules
    with C(nft), all of them or nothing, and nothing else of that table. Switches forwarding on. Only where it differs.
  - The options are variables of the role P(qubes.vmconfig.dns_redirect#role), less its name in front. One that is not given is that variable, and one
    that this is not is what the keys say.
  - Rules that C(nft) does not take are an error, in check mode too, and nothing is set.
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
  idempotent:
    support: full
options:
  addresses:
    description: The addresses that other qubes send queries to, in their order. Empty touches nothing of the redirect.
    type: list
    elements: str
  upstreams:
    description:
      - Where the queries go, an address of IPv4 for each of O(addresses). When there are fewer, they begin again.
      - Empty is what the machine itself uses, by C(/etc/resolv.conf), or where that names a local resolver alone, by what systemd-resolved or
        NetworkManager have behind it. Where they have none, queries are dropped.
    type: list
    elements: str
  disabled:
    description: Have no rule in the chain.
    type: bool
  forward:
    description: Switch forwarding of IPv4 on. V(false) leaves it as it is.
    type: bool
  forward6:
    description: Switch forwarding of IPv6 on, where IPv4 is forwarded.
    type: bool
seealso:
  - ref: role dns_redirect <ansible_collections.qubes.vmconfig.dns_redirect_role>
    description: The role that also writes it down for the next start.
"""

EXAMPLES = r"""
- name: Serve other qubes as the keys say
  qubes.vmconfig.dns_redirect_set:

- name: See which resolvers the netvm uses
  qubes.vmconfig.dns_redirect_set:
  check_mode: true
  register: redirect

- name: Say it
  ansible.builtin.debug:
    msg: "Queries go to {{ redirect.upstreams | join(', ') or 'nobody' }}"
"""

RETURN = r"""
upstreams:
  description: Where the queries go, O(upstreams) or what the machine itself uses. Empty without O(addresses), and where queries are dropped.
  type: list
  elements: str
  returned: success
  sample: [192.0.2.1]
differing:
  description: What differs, or did, by the names that an audit lists.
  type: list
  elements: str
  returned: success
  sample: [chain dnat-dns, net.ipv4.ip_forward]
left:
  description: Why the rules were neither checked nor loaded, as where the program C(nft) is not there. Empty where they are as wanted.
  type: str
  returned: success
"""

from ansible_collections.qubes.vmconfig.plugins.module_utils._python import refuse_an_old_one

refuse_an_old_one()

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.qubes.vmconfig.plugins.module_utils._arguments import run
from ansible_collections.qubes.vmconfig.plugins.module_utils._live.dns_redirect import missing, set_all
from ansible_collections.qubes.vmconfig.plugins.module_utils._values.dns_redirect import values


def main():
    module = AnsibleModule(
        argument_spec=dict(
            addresses=dict(type="list", elements="str"),
            upstreams=dict(type="list", elements="str"),
            disabled=dict(type="bool"),
            forward=dict(type="bool"),
            forward6=dict(type="bool"),
        ),
        supports_check_mode=True,
    )

    def work(params):
        found = missing({**values({}), **{name: value for name, value in params.items() if value is not None}})
        if not module.check_mode:
            set_all(found)
        shown = dict(diff=found.diff) if module._diff else {}
        return dict(shown, changed=bool(found.differing), upstreams=found.upstreams, differing=found.differing, left=found.left)

    run(module, work)


if __name__ == "__main__":
    main()
