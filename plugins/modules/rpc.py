#!/usr/bin/python
# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: rpc
short_description: Call a Qubes RPC service in qubes
version_added: 0.1.0
description:
  - Calls a service in one qube or in many, side by side, from dom0, from an admin qube or from any other qube.
  - The services that carry configuration have options of their own. Where there is something to compare they compare first,
    and do nothing where nothing differs.
  - A call is a program with a list of arguments, never a line for a shell.
author:
  - qubes.vmconfig contributors (@qubes-vmconfig)
extends_documentation_fragment:
  - qubes.vmconfig.attributes
attributes:
  check_mode:
    support: full
    details:
      - Calls nothing but C(qubes.GetDate), and tells in RV(qubes) what would be called.
      - Also asks the Admin API whether a qube runs, as it does otherwise.
  diff_mode:
    support: partial
    details: For O(date_time), O(monitor_layout) and O(gui_mode).
  idempotent:
    support: partial
    details: O(date_time) is, and O(monitor_layout) and O(gui_mode) are where it can be told which run of a qube it is. A service and a command run each time.
options:
  qube:
    description:
      - The qube to call in.
      - From a qube also V(dom0), V(@adminvm), V(@default), V(@dispvm) and V(@dispvm:NAME), as far as dom0's policy allows.
    type: str
  qubes:
    description:
      - Several of them. One that fails stops no other; in the end the task fails, and names it.
    type: list
    elements: str
  parallel:
    description:
      - How many qubes to call at the same time.
    type: int
    default: 5
  service:
    description:
      - The service, such as V(qubes.StartApp), which may have its argument after a C(+).
    type: str
  arguments:
    description:
      - The argument of O(service). Qrexec knows one, so several are joined with C(+).
      - Letters, digits and C(_ . + -) alone, for qrexec passes on nothing else.
    type: list
    elements: str
    default: []
  stdin:
    description:
      - What the service reads from its standard input, as UTF-8. No newline is added.
    type: str
  stdin_base64:
    description:
      - The same as bytes, in base64.
    type: str
  exec:
    description:
      - A command and its arguments, run in the qube by C(qubes.VMExec), without a shell there too. Needs a template of Qubes R4.1 or later.
      - Bytes that are not UTF-8 are given in base64, as a dictionary with the one key C(base64).
    type: list
    elements: raw
  date_time:
    description:
      - Set the qube's clock with C(qubes.SetDateTime), where C(qubes.GetDate) tells that it differs.
      - From a qube, the default policy of dom0 has C(qubes.GetDate) answered by dom0, whatever qube is called.
    type: dict
    suboptions:
      time:
        description:
          - The time in UTC, such as V(2026-11-28T12:00:00+00:00). By default that of the machine that calls.
        type: str
      tolerance:
        description:
          - The seconds that the qube may differ. At least 2, for a qube ignores less.
        type: float
        default: 2
  monitor_layout:
    description:
      - Tell the qube which monitors there are, with C(qubes.SetMonitorLayout).
      - A qube cannot be asked for it, so the list is compared with what this module last told this run of the qube; see O(state_dir).
    type: list
    elements: dict
    suboptions:
      width:
        description: Pixels.
        type: int
        required: true
      height:
        description: Pixels.
        type: int
        required: true
      x:
        description: Pixels from the left edge of the screen. Monitors must not overlap.
        type: int
        default: 0
      y:
        description: Pixels from the upper edge of the screen.
        type: int
        default: 0
      width_mm:
        description: Millimetres. With them a program in the qube can tell how large a pixel is, and perhaps which monitor this is.
        type: int
      height_mm:
        description: Millimetres; both are given, or none.
        type: int
      output:
        description: The name of the output, for the role P(qubes.vmconfig.display#role). Not sent.
        type: str
  gui_mode:
    description:
      - Have the windows of an HVM on one screen or each by itself, with C(qubes.SetGuiMode). Compared as O(monitor_layout) is.
    type: str
    choices: [fullscreen, seamless]
  wait_for_session:
    description:
      - Wait until the qube's session is up, with C(qubes.WaitForSession). Not called in check mode, where what starts the session did not happen.
    type: dict
    suboptions:
      user:
        description: Whose session. By default the qube is told nothing, and knows its default user.
        type: str
  client:
    description:
      - The program that calls. V(auto) is the first that there is of V(qrexec-client), which dom0 has, V(qvm-run), which an admin
        qube has, and V(qrexec-client-vm), which every qube has.
    type: str
    choices: [auto, qrexec-client, qvm-run, qrexec-client-vm]
    default: auto
  user:
    description:
      - The user in the qube. Not for V(qrexec-client-vm), where dom0's policy chooses; with V(qvm-run) in dom0 alone.
    type: str
  autostart:
    description:
      - Whether a halted qube may be started. Otherwise it is an error, or with O(halted=skip) left out.
      - A call from a qube may start its target, so whether that runs is asked first, through the Admin API. Where policy does not allow to
        ask C(admin.vm.List) of it, it is not called unless this is V(true).
    type: bool
    default: false
  halted:
    description:
      - What to do about a qube that does not run. V(skip) leaves it out and reports it in RV(halted).
    type: str
    choices: [fail, skip]
    default: fail
  timeout:
    description:
      - The seconds that one qube may take in all. Then the program is ended, with its children. What it called may go on in the qube.
      - A child that has made itself a session of its own, as a daemon does, is not ended.
    type: float
    default: 60
  output:
    description:
      - Return what the service wrote. Otherwise nothing of it is returned, and none of it is in a message.
    type: bool
    default: false
  output_limit:
    description:
      - The bytes that are kept of either output, and the characters of the text that is returned for it. The rest is read and dropped.
    type: int
    default: 65536
  force:
    description:
      - Send O(monitor_layout) and O(gui_mode) also when the qube was last told the same.
    type: bool
    default: false
  state_dir:
    description:
      - Where is kept what each qube was last told, a file for a qube. The folder must belong to the user, and nobody else may write to it.
      - By default what the environment variable E(QUBES_VMCONFIG_STATE_DIR) of the target says, else C(/run/qubes-vmconfig) for root, and
        C(qubes-vmconfig) in E(XDG_RUNTIME_DIR) for others, which both are lost when the machine restarts.
      - A record holds for one run of the qube, told by the property C(xid); where the Admin API does not tell it, there is no record, and each
        run sends.
    type: path
notes:
  - The target is the machine that calls, such as dom0 (C(localhost) in a play that runs there), not the qube.
  - An exit code tells no more than the program knows. With V(qrexec-client), 1 may be its own error or the service's; with V(qvm-run) 255.
  - What a qube wrote is untrusted. Control, C1 and bidirectional characters in it are escaped, except newlines and tabs, and it is never a template.
  - It is not in the action group of the other modules, whose defaults are those of a store.
  - The monitor layout that the GUI qube sends when its own monitors change is not known here; O(force=true) sends in any case.
seealso:
  - module: qubes.vmconfig.keys
  - name: Qrexec
    description: Qubes RPC and its policy.
    link: https://www.qubes-os.org/doc/qrexec/
"""

EXAMPLES = r"""
- name: Start a program
  qubes.vmconfig.rpc:
    qube: work
    service: qubes.StartApp
    arguments: [firefox]

- name: The time of every qube that runs
  qubes.vmconfig.rpc:
    qubes: [work, personal, vault]
    parallel: 25
    halted: skip
    date_time: {}

- name: What a command says, which is read as data
  qubes.vmconfig.rpc:
    qube: work
    exec: [uname, --kernel-release]
    output: true
  register: kernel
  changed_when: false

- name: Two monitors side by side
  qubes.vmconfig.rpc:
    qube: work
    monitor_layout:
      - {width: 1920, height: 1080}
      - {width: 2560, height: 1440, x: 1920, width_mm: 600, height_mm: 340}

- name: Every window by itself
  qubes.vmconfig.rpc:
    qube: windows
    gui_mode: seamless

- name: Until somebody can work in it
  qubes.vmconfig.rpc:
    qube: work
    wait_for_session:
      user: user
    timeout: 120
"""

RETURN = r"""
qubes:
  description: What came of each qube, by its name.
  returned: always, unless the options are wrong
  type: dict
  contains:
    changed:
      description: Whether something was done that may have changed the qube, or in check mode would be.
      type: bool
    called:
      description: The services that were called, or in check mode would be, but for C(qubes.GetDate).
      type: list
      elements: str
    started:
      description: There, and true, where the qube was started for it.
      type: bool
    rc:
      description: The exit code of the last call, where there was one; negative for the signal that ended the program.
      type: int
    stdout:
      description: With O(output), what the service wrote, escaped, with a note at its end where it was cut.
      type: str
    stderr:
      description: The same of its standard error, and of the program's own.
      type: str
    stdout_bytes:
      description: How many bytes it wrote.
      type: int
    stderr_bytes:
      description: How many bytes it wrote there.
      type: int
    difference:
      description: With O(date_time), by how many seconds the qube's clock is ahead.
      type: float
    failure:
      description:
        - What kind of failure it was, where it was one.
        - V(refused) by policy, V(not_run) for what could not be run, V(failed) with the service's own code, V(timed_out), V(not_running),
          V(unknown) where it cannot be told whether the qube runs, V(invalid) for an answer that is none.
      type: str
    state:
      description: With V(not_running), the qube's state.
      type: str
    msg:
      description: The failure in words.
      type: str
  sample:
    work: {changed: true, called: [qubes.StartApp+firefox], rc: 0}
halted:
  description: The qubes that were left out because they do not run.
  returned: always, unless the options are wrong
  type: list
  elements: str
  sample: []
rc:
  description: With O(qube), its exit code.
  returned: when O(qube) was called
  type: int
  sample: 0
stdout:
  description: With O(qube), what its service wrote.
  returned: when O(qube) was called, with O(output)
  type: str
  sample: "6.6.48-1.qubes.fc37.x86_64\n"
stderr:
  description: With O(qube), what its service wrote to its standard error.
  returned: when O(qube) was called, with O(output)
  type: str
  sample: ""
"""

from ansible_collections.qubes.vmconfig.plugins.module_utils._python import refuse_an_old_one

refuse_an_old_one()

from ansible.module_utils.basic import env_fallback

from ansible_collections.qubes.vmconfig.plugins.module_utils._arguments import made, run
from ansible_collections.qubes.vmconfig.plugins.module_utils._rpc.task import from_options, perform

WAYS = ["service", "exec", "date_time", "monitor_layout", "gui_mode", "wait_for_session"]


def main():
    module = made(
        argument_spec=dict(
            qube=dict(type="str"),
            qubes=dict(type="list", elements="str"),
            parallel=dict(type="int", default=5),
            service=dict(type="str"),
            arguments=dict(type="list", elements="str", default=[]),
            stdin=dict(type="str"),
            stdin_base64=dict(type="str"),
            date_time=dict(type="dict", options=dict(time=dict(type="str"), tolerance=dict(type="float", default=2.0))),
            monitor_layout=dict(type="list", elements="dict", options=dict(
                width=dict(type="int", required=True),
                height=dict(type="int", required=True),
                x=dict(type="int", default=0),
                y=dict(type="int", default=0),
                width_mm=dict(type="int"),
                height_mm=dict(type="int"),
                output=dict(type="str"),
            )),
            gui_mode=dict(type="str", choices=["fullscreen", "seamless"]),
            wait_for_session=dict(type="dict", options=dict(user=dict(type="str"))),
            client=dict(type="str", choices=["auto", "qrexec-client", "qvm-run", "qrexec-client-vm"], default="auto"),
            user=dict(type="str"),
            autostart=dict(type="bool", default=False),
            halted=dict(type="str", choices=["fail", "skip"], default="fail"),
            timeout=dict(type="float", default=60.0),
            output=dict(type="bool", default=False),
            output_limit=dict(type="int", default=65536),
            force=dict(type="bool", default=False),
            state_dir=dict(type="path", fallback=(env_fallback, ["QUBES_VMCONFIG_STATE_DIR"])),
            # Not as a name: to Python 2, which has to read this, it is a word of the language.
            **{"exec": dict(type="list", elements="raw")}
        ),
        mutually_exclusive=[("qube", "qubes"), WAYS, ("stdin", "stdin_base64")],
        required_one_of=[("qube", "qubes"), WAYS],
        supports_check_mode=True,
    )
    run(module, lambda params: perform(from_options(params, module.check_mode, module._diff)))


if __name__ == "__main__":
    main()
