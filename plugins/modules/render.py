#!/usr/bin/python
# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: render
short_description: Write files from templates, where they are not somebody else's
version_added: 0.1.0
description:
  - Renders templates on the controller, and makes files and symbolic links of the machine what they should be. All roles of this collection
    write with it, and a role of your own can.
  - It obeys the rules of the place. A file that its owner protects is left alone. One that the stock agent of Qubes writes is compared and
    told, and written only with O(take_over). In a template nothing is written that comes from keys.
  - Each file is replaced as a whole, or not at all. What can be found out before the first is written, is found out before.
  - A symbolic link in place of the file is replaced, never written through. In the path to it a link is followed where it lies in a directory
    in which nobody but root, or who runs this, may write; else it is refused, as is one that leads nowhere.
  - What is at the place of a file and is neither a regular file nor a link is an error, and is not opened.
author:
  - qubes.vmconfig contributors (@qubes-vmconfig)
extends_documentation_fragment:
  - qubes.vmconfig.attributes
options:
  role:
    description:
      - The role of this collection whose files are written, such as V(resolver). Which these are, and what they hold, follows from the keys of the
        qube, the variables of the role, and what is on the machine.
      - With C(vmconfig_apply) set to V(boot) or V(both) they are also rendered at each start.
    type: str
  files:
    description:
      - The files, beside those of O(role). Each has one of O(files[].src), O(files[].content), O(files[].link) and O(files[].absent).
    type: list
    elements: dict
    default: []
    suboptions:
      dest:
        description: Where the file is, an absolute path without V(.) and V(..) in it.
        type: str
        required: true
      src:
        description:
          - A template on the controller, looked for where M(ansible.builtin.template) does, such as the directory C(templates) of the role.
          - It has the same variables too, such as C(ansible_managed), and beside them C(config), the typed keys of the qube as
            P(qubes.vmconfig.keys_info#module) returns them, and C(machine).
        type: str
      vars:
        description: More variables for the template. They are not templated again.
        type: dict
      content:
        description: The text, as it is.
        type: str
      link:
        description: What a symbolic link points to.
        type: str
      content_base64:
        description: The bytes of a file that is no text, as base64.
        type: str
      absent:
        description: There should be no such file. V(false) alone is an error, for it does not say what the file should be.
        type: bool
      recurse:
        description: With O(files[].absent=true), a directory goes too, with all that is in it.
        type: bool
        default: false
      mode:
        description: The mode, as octal digits in quotes.
        type: raw
        default: "0644"
      owner:
        description: The owner, a name or a number. By default who has it now, or who writes it.
        type: str
      group:
        description: The group, a name or a number. By default that which has it now, or that of who writes it.
        type: str
      protected_by:
        description:
          - The names that protect the file, beside its own. By the first of them the agent knows it.
          - By default O(files[].dest).
        type: list
        elements: str
      agent:
        description: Whether the stock agent writes it too.
        type: bool
        default: false
  destdir:
    description:
      - A directory that everything is put under. It is created. None of the rules of the place hold there, and no link in it leads out of it;
        one to an absolute path means a path in it.
      - By default the variable C(vmconfig_destdir), else the running system.
    type: str
  take_over:
    description:
      - Also write what the agent writes. It is told first, in C(protected-files.d/qubes-vmconfig) below C(/etc/qubes), or below C(/rw/config)
        where C(/etc) is lost at shutdown. Without it the names are taken out again.
      - By default the variable C(vmconfig_take_over), else not.
    type: bool
  apply:
    description:
      - V(now) and V(both) write, and fail in a template. With V(boot) nothing is done.
      - V(always) is for what comes from no key; it writes, in a template too.
      - By default the variable C(vmconfig_apply), else V(now).
    type: str
    choices: [now, boot, both, always]
  config:
    description:
      - What C(config) of P(qubes.vmconfig.keys_info#module) says of the qube. Only what its type is, and what it keeps, are looked at.
      - By default the keys are read, once a play. With this, none are. With O(role) they always are.
    type: dict
attributes:
  check_mode:
    support: full
    details: What is left to the agent, and differs, counts as a change.
  diff_mode:
    support: full
    details: One entry a file. Control characters and other characters that a terminal acts on are shown escaped, and written as they are.
  idempotent:
    support: full
seealso:
  - module: qubes.vmconfig.place_info
  - module: ansible.builtin.template
"""

EXAMPLES = r"""
- name: Write the files of the resolvers
  qubes.vmconfig.render:
    role: resolver

- name: Say at the login which qube this is
  qubes.vmconfig.render:
    files:
      - dest: /etc/issue.d/qube.issue
        src: qube.issue.j2

- name: Write some files, and see that an old one is gone
  qubes.vmconfig.render:
    files:
      - dest: /etc/my-service/token
        content: "4711\n"
        mode: "0600"
      - dest: /etc/my-service/current
        link: token
      - dest: /etc/my-service/token.old
        absent: true
  register: written
"""

RETURN = r"""
names:
  description: What the table and the templates of O(role) were given, by the names that its README lists.
  type: dict
  returned: with O(role)
  sample: {zone: Europe/Warsaw}
changed_files:
  description: The files that changed, or would in check mode, by O(files[].dest). Where the agent was told of some, its file too.
  type: list
  elements: str
  returned: success
  sample: [/etc/timezone]
left_to_agent:
  description: The files that differ, and were left to the agent.
  type: list
  elements: str
  returned: success
  sample: []
protected:
  description: The files that were left alone because they are protected.
  type: list
  elements: str
  returned: success
  sample: []
"""

from ansible_collections.qubes.vmconfig.plugins.module_utils._python import refuse_an_old_one

refuse_an_old_one()

import base64
import re

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.qubes.vmconfig.plugins.module_utils import _child
from ansible_collections.qubes.vmconfig.plugins.module_utils._arguments import run
from ansible_collections.qubes.vmconfig.plugins.module_utils._errors import Refused, names
from ansible_collections.qubes.vmconfig.plugins.module_utils._filediff import difference
from ansible_collections.qubes.vmconfig.plugins.module_utils._machine import AGENT, kept
from ansible_collections.qubes.vmconfig.plugins.module_utils._placing import Place, Rules, settle
from ansible_collections.qubes.vmconfig.plugins.module_utils._text import escape, show
from ansible_collections.qubes.vmconfig.plugins.module_utils._filespec import File

KINDS = ("src", "content", "content_base64", "link", "absent")
SYSTEMD = "/run/systemd/system"
UNITS = "/etc/systemd/system/"
RELOAD = 60


def wanted(entry):
    """One of the files."""
    mode = entry["mode"]
    if isinstance(mode, int) and not isinstance(mode, bool):
        # YAML has read the digits already.
        mode = "%o" % mode
    if not isinstance(mode, str) or not re.fullmatch("[0-7]{3,4}", mode):
        raise Refused("%s: the mode %s is refused: expected octal digits in quotes, such as \"0640\"" % (show(entry["dest"]), show(mode)))
    if not entry["absent"] and all(entry[kind] is None for kind in ("content", "content_base64", "link")):
        # Of absent: false nothing is known but that the file may be there.
        raise Refused("%s: a file has one of src, content, link and absent: true; without them it would be emptied" % show(entry["dest"]))
    return File(entry["dest"], entry["content"], entry["link"], mode, tuple(entry["protected_by"] or ()) or None, entry["agent"],
                entry["owner"] or "", entry["group"] or "", bool(entry["absent"]), entry["recurse"], decoded(entry))


def decoded(entry):
    """The bytes that were given."""
    if entry["content_base64"] is None:
        return None
    try:
        return base64.b64decode(entry["content_base64"], validate=True)
    except ValueError:
        raise Refused("%s: content_base64 is no base64" % show(entry["dest"])) from None


def tell_systemd(module, place, changed):
    """Has systemd read its units again, where it runs and some of them changed."""
    if place.kind(SYSTEMD) == "dir" and any(dest.startswith(UNITS) for dest in changed):
        try:
            ended = _child.run(["systemctl", "daemon-reload"], timeout=RELOAD)
            said = bytes(ended.told.data).decode("utf-8", "replace") if ended.status else ""
        except _child.NotRun as error:
            said = str(error)
        except _child.TimedOut:
            said = "it had not ended after %d seconds" % RELOAD
        if said:
            module.warn("systemd has not read its units again: %s" % escape(said))


def main():
    module = AnsibleModule(
        argument_spec=dict(
            files=dict(
                type="list", elements="dict", default=[], mutually_exclusive=[KINDS], required_one_of=[KINDS],
                options=dict(
                    dest=dict(type="str", required=True),
                    src=dict(type="str"),
                    vars=dict(type="dict"),
                    content=dict(type="str"),
                    content_base64=dict(type="str"),
                    link=dict(type="str"),
                    absent=dict(type="bool"),
                    recurse=dict(type="bool", default=False),
                    mode=dict(type="raw", default="0644"),
                    owner=dict(type="str"),
                    group=dict(type="str"),
                    protected_by=dict(type="list", elements="str"),
                    agent=dict(type="bool", default=False),
                ),
            ),
            role=dict(type="str"),
            destdir=dict(type="str"),
            take_over=dict(type="bool"),
            apply=dict(type="str", choices=["now", "boot", "both", "always"]),
            config=dict(type="dict"),
        ),
        supports_check_mode=True,
    )

    def work(params):
        destdir = params["destdir"] or ""
        place = Place(destdir or "/")
        rules = Rules() if destdir else Rules(place.protected(), bool(params["take_over"]), place.exists(AGENT), kept(params["config"] or {}))
        files = [wanted(entry) for entry in params["files"]]
        twice = sorted({file.dest for file in files if sum(other.dest == file.dest for other in files) > 1})
        if twice:
            raise Refused("%s: two of the files have this dest" % ", ".join(map(show, twice)))
        settled = settle(place, files, rules, module.check_mode)
        for change in [] if destdir or module.check_mode else settled.changes:
            # Where SELinux is not, this does nothing; of what is gone it would fail.
            if change.after.kind:
                module.set_default_selinux_context(change.dest, False)
        if settled.changes and not destdir and not module.check_mode:
            tell_systemd(module, place, [change.dest for change in settled.changes])
        shown = settled.changes + settled.left if module.check_mode else settled.changes
        result = {"changed": bool(shown), "changed_files": [change.dest for change in settled.changes],
                  "left_to_agent": [change.dest for change in settled.left], "protected": settled.protected}
        if settled.left:
            result["warnings"] = ["The Qubes agent writes these files, which differ from what the keys say, and they are left to it: %s. "
                                  "With vmconfig_take_over they are written here" % names(result["left_to_agent"])]
        return dict(result, diff=[difference(change) for change in shown]) if module._diff else result

    run(module, work)


if __name__ == "__main__":
    main()
