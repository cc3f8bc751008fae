#!/usr/bin/python
# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: place_info
short_description: Tell what kind of place a machine is
version_added: 0.1.0
description:
  - Tells the family of systems, whether the stock agent of Qubes is installed, which files its owner protects, and which of some paths are there.
  - Roles decide by it which files they write; P(qubes.vmconfig.render#module) looks for itself at what it has to know.
author:
  - qubes.vmconfig contributors (@qubes-vmconfig)
extends_documentation_fragment:
  - qubes.vmconfig.attributes
  - qubes.vmconfig.attributes.read_only
options:
  destdir:
    description:
      - A directory to look in, as for the build of an image. It need not be there.
      - Links in it never lead out of it; one to an absolute path means a path in it.
      - By default the variable C(vmconfig_destdir), else the running system.
    type: str
  paths:
    description: Paths to look for.
    type: list
    elements: str
    default: []
  texts:
    description:
      - Files whose text is returned. One that is not there is left out. What is no regular file, is large, or is reached by a link and not for
        everybody to read, is an error.
    type: list
    elements: str
    default: []
  states:
    description:
      - Files of which is returned what they are, to compare them with what they should be.
      - Where the last part of a path is V(*), those of that directory.
    type: list
    elements: str
    default: []
seealso:
  - module: qubes.vmconfig.render
"""

EXAMPLES = r"""
- name: See what is there
  qubes.vmconfig.place_info:
    paths: [/usr/sbin/NetworkManager, /etc/sysconfig]
  register: place

- name: Say whether the agent is
  ansible.builtin.debug:
    msg: "{{ place.agent }}, and of these are there: {{ place.paths | join(', ') }}"
"""

RETURN = r"""
family:
  description:
    - The family of systems, as C(ansible_facts.os_family) names it, from os-release(5) of O(destdir), or of the running system where that has none.
    - What the system calls itself where its family is none that the roles know.
  type: str
  returned: success
  sample: Debian
agent:
  description: Whether the stock agent is installed. Never under O(destdir), where its rules do not hold.
  type: bool
  returned: success
  sample: false
protected:
  description: The names in C(protected-files.d) below C(/etc/qubes) and C(/rw/config), less those that are protected from the agent alone.
  type: list
  elements: str
  returned: success
  sample: [/etc/hosts]
paths:
  description: The paths that are there, each as V(file), V(dir), V(link) or V(other).
  type: dict
  returned: success
  sample: {/etc/sysconfig: dir}
destdir:
  description: Where that is, empty for the running system.
  type: str
  returned: success
  sample: ""
texts:
  description: The texts of O(texts).
  type: dict
  returned: success
  sample: {/etc/vconsole.conf: "KEYMAP=us\n"}
states:
  description:
    - For each path of O(states) at which something is, C(kind) (V(file), V(dir), V(link) or V(other)), and what belongs to that, C(target) of a
      link, and C(sha256), C(mode), C(owner) and C(group) of a file. Of a large one C(sha256) is empty.
  type: dict
  returned: success
  sample: {/etc/timezone: {kind: file, sha256: 0123456789abcdef, mode: "0644", owner: 0, group: 0, target: ""}}
taken:
  description: The names that roles of this collection have told the agent to leave to them.
  type: list
  elements: str
  returned: success
  sample: [/etc/timezone]
"""

from ansible_collections.qubes.vmconfig.plugins.module_utils._python import refuse_an_old_one

refuse_an_old_one()

import hashlib

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.qubes.vmconfig.plugins.module_utils._arguments import run
from ansible_collections.qubes.vmconfig.plugins.module_utils._machine import AGENT, family
from ansible_collections.qubes.vmconfig.plugins.module_utils._placing import Place
from ansible_collections.qubes.vmconfig.plugins.module_utils._tree import Tree


def main():
    module = AnsibleModule(
        argument_spec=dict(
            destdir=dict(type="str"),
            paths=dict(type="list", elements="str", default=[]),
            texts=dict(type="list", elements="str", default=[]),
            states=dict(type="list", elements="str", default=[]),
        ),
        supports_check_mode=True,
    )

    def work(params):
        destdir = params["destdir"] or ""
        place = Place(destdir or "/")
        kinds = {path: place.kind(path) for path in params["paths"]}
        return {
            "changed": False, "destdir": destdir, "family": family(place) or family(Tree("/")),
            "agent": not destdir and place.exists(AGENT), "protected": [] if destdir else sorted(place.protected()),
            "taken": [] if destdir else sorted(place.own()),
            "paths": {path: kind for path, kind in kinds.items() if kind},
            "texts": {path: place.read(path) for path in params["texts"] if place.exists(path)},
            "states": {path: state for asked in params["states"] for path, state in states(place, asked)}}

    run(module, work)


def states(place, asked):
    """What is at a path, or at those of a folder."""
    for path in place.listed(asked[:-2]) if asked.endswith("/*") else [asked]:
        state = place.state(path)
        if state.kind:
            digest = hashlib.sha256(state.content).hexdigest() if state.kind == "file" and not state.too_many else ""
            yield path, {"kind": state.kind, "sha256": digest, "mode": "%04o" % state.mode, "owner": state.owner, "group": state.group, "target": state.target}


if __name__ == "__main__":
    main()
