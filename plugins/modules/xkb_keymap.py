#!/usr/bin/python
# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: xkb_keymap
short_description: Tell what a keyboard comes to on a machine
version_added: 0.1.0
description:
  - Makes the keymap of a keyboard on the target, and tells its layouts, variants and options, and the keymap of consoles. The role
    P(qubes.vmconfig.xkb#role) writes its files from this.
  - The rules of XKB are read by the libraries of the machine. The X tools have C(libxkbfile) and C(xkbcomp), and need no X server for
    this. C(xkbcli) of libxkbcommon is taken where those are missing. Each is ended after ten seconds.
  - Where neither is there, or the package C(xkb-data) is missing, no keymap is made, and RV(notes) says so.
  - Beside layouts without Latin letters stands C(us), as the last one. Without it nobody can log in on a console, and Ctrl with a letter
    does nothing in many programs. Of four such layouts none is replaced, and RV(notes) says so.
author:
  - qubes.vmconfig contributors (@qubes-vmconfig)
extends_documentation_fragment:
  - qubes.vmconfig.attributes
  - qubes.vmconfig.attributes.read_only
  - qubes.vmconfig.keyboard
options:
  keymap:
    description:
      - A keymap as C(xkbcomp) takes it, as the key C(qubes-keyboard) holds it. An include names files of the keyboard's data, and none by a path.
      - Without O(layout) the layouts, variants and options are those that it names.
    type: str
    default: ""
  family:
    description:
      - The family of systems, as C(ansible_facts.os_family) names it. On V(Debian) a console has the keyboard of X, on others a keymap of its own.
      - By default what the system calls itself.
    type: str
    default: ""
  destdir:
    description:
      - The directory that is the root of the system whose console is looked at. By default the running system.
    type: str
    default: ""
seealso:
  - module: qubes.vmconfig.xkb_server
"""

EXAMPLES = r"""
- name: Make a keymap
  qubes.vmconfig.xkb_keymap:
    layout: ru
    options: grp:shifts_toggle
  register: keyboard

- name: Show that it has two layouts
  ansible.builtin.debug:
    msg: "{{ keyboard.layout }}"
"""

RETURN = r"""
model:
  description: The keyboard model.
  type: str
  returned: success
layout:
  description: The layouts, with commas between.
  type: str
  returned: success
  sample: ru,us
variant:
  description: The variants, with commas between.
  type: str
  returned: success
options:
  description: The options, with commas between.
  type: str
  returned: success
  sample: grp:shifts_toggle
keymap:
  description:
    - O(keymap) as it is, else what C(setxkbmap -print) would print, or all that C(xkbcli) made. Empty where none was made.
  type: str
  returned: success
console:
  description: What C(/etc/vconsole.conf) is made of where a console has a keymap of its own.
  type: dict
  returned: success
  contains:
    kept:
      description: The lines of the file that is there that say nothing of the keyboard.
      type: list
      elements: str
    keymap:
      description: The keymap of consoles that is most like the keyboard, where C(localectl) looks too. Empty where there is none.
      type: str
      sample: us
refusal:
  description: Why the keymap does not compile; empty where it does, or where nothing can tell.
  type: str
  returned: success
notes:
  description: What could not be done, and what is missing for it.
  type: list
  elements: str
  returned: success
"""

from ansible_collections.qubes.vmconfig.plugins.module_utils._python import refuse_an_old_one

refuse_an_old_one()

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.qubes.vmconfig.plugins.module_utils._arguments import keyboard_arguments, run
from ansible_collections.qubes.vmconfig.plugins.module_utils._machine import family
from ansible_collections.qubes.vmconfig.plugins.module_utils._tree import Tree
from ansible_collections.qubes.vmconfig.plugins.module_utils._xkb.keyboard import asked


def main():
    module = AnsibleModule(
        argument_spec=dict(
            **keyboard_arguments(),
            keymap=dict(type="str", default="", no_log=False),
            family=dict(type="str", default=""),
            destdir=dict(type="str", default=""),
        ),
        supports_check_mode=True,
    )

    def work(params):
        root = params["destdir"] or "/"
        return dict(asked(params, root, params["family"] or family(Tree(root)) or family(Tree("/"))), changed=False)

    run(module, work)


if __name__ == "__main__":
    main()
