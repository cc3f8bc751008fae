#!/usr/bin/python
# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: xkb_server
short_description: Give a running X server a keyboard
version_added: 0.1.0
description:
  - Asks an X server of the target which keyboard it has, and gives it another one where that differs. Options that are no longer wanted are dropped.
  - Without any of O(model), O(layout), O(variant), O(options) and O(keymap) it gets what the role P(qubes.vmconfig.xkb#role) makes of the keys of the
    qube and of its variables. Nothing is done then where that role touches no X server, which are those with C(vmconfig_destdir), those that the stock
    agent serves, and with C(vmconfig_apply) set to V(boot) all of them.
  - Needs C(setxkbmap), or C(xkbcomp) for a whole keymap. Each is ended after ten seconds. Where the program is not there, RV(left) says so.
author:
  - qubes.vmconfig contributors (@qubes-vmconfig)
extends_documentation_fragment:
  - qubes.vmconfig.attributes
  - qubes.vmconfig.keyboard
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  display:
    description:
      - The X server, such as V(:0).
      - V(auto) is the first that has a socket in C(/tmp/.X11-unix). That one need not be there, or let itself be asked; RV(left) then says why.
      - With a keyboard from the keys, by default the variable C(xkb_display).
    type: str
    default: auto
  keymap:
    description:
      - A keymap as C(xkbcomp) takes it, in place of the names.
    type: str
    default: ""
seealso:
  - module: qubes.vmconfig.xkb_keymap
"""

EXAMPLES = r"""
- name: Give the first X server two layouts
  qubes.vmconfig.xkb_server:
    layout: us,se
    options: grp:alt_shift_toggle

- name: Give it what the keys of this qube say
  qubes.vmconfig.xkb_server:
"""

RETURN = r"""
server:
  description: The X server; empty where there is none.
  type: str
  returned: success
  sample: ":0"
left:
  description: Why the server was left as it is; empty where it has the keyboard.
  type: str
  returned: success
"""

from ansible_collections.qubes.vmconfig.plugins.module_utils._python import refuse_an_old_one

refuse_an_old_one()

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.qubes.vmconfig.plugins.module_utils._arguments import keyboard_arguments, run
from ansible_collections.qubes.vmconfig.plugins.module_utils._errors import Refused
from ansible_collections.qubes.vmconfig.plugins.module_utils._xkb.keyboard import checked
from ansible_collections.qubes.vmconfig.plugins.module_utils._xkb.server import give


def main():
    module = AnsibleModule(
        argument_spec=dict(
            display=dict(type="str", default="auto"),
            **keyboard_arguments(),
            keymap=dict(type="str", default="", no_log=False),
        ),
        supports_check_mode=True,
    )

    def work(params):
        names = checked(params)
        if not names["layout"] and not names["keymap"]:
            raise Refused("neither a layout nor a keymap is given; expected one of them")
        return give(params["display"], names, names["keymap"], not module.check_mode)._asdict()

    run(module, work)


if __name__ == "__main__":
    main()
