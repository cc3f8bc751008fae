# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo: a machine of six qubes, configured, changed by hand and audited, without Xen, Qubes or root.

It types into a shell what it shows, so each command does the same for whoever copies it. What it says is checked: it ends with an error when
a command does not do what is announced.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from typing import Dict, NamedTuple, Set

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = ROOT / "build" / "demo"
DOMIDS = {qube: domid for domid, qube in enumerate(json.loads((HERE / "machine.json").read_text()), 1)}

SECONDS = 40
OPENING = """\
The demo sets the keys of six made-up qubes, makes the files of one from them, changes both by hand, and finds that by an audit: in about %d seconds,
the first time after some minutes in which it fetches what it needs. It writes below build/ and .cache/ alone.""" % SECONDS
# For all that it does.
TIMEOUT = 900

QUBE = "work"
DECLARED = {"vm-config/timezone": "Europe/Warsaw", "keyboard-layout": "pl++compose:caps", "vm-config/proxy": "http://10.137.0.1:3128"}
# The files of the qube that are shown, with a line of each.
FILES = {
    "etc/timezone": "Europe/Warsaw",
    "etc/hostname": "work",
    "etc/resolv.conf": "nameserver 10.139.1.1",
    "etc/default/keyboard": 'XKBOPTIONS="compose:caps"',
}
MANAGED = " | grep -e keyboard -e service -e vm-config"
DRIFT = {"vm-config/proxy", "/etc/timezone"}

ENVIRONMENT = """\
# Read by a shell in the project's folder, this makes the commands of the demo work there.
export PATH=%s:"$PATH" ANSIBLE_CONFIG=tests/demo/ansible.cfg LC_ALL=C.UTF-8
"""
PLAY = "ansible-playbook qubes.vmconfig.%s -e vmconfig_declaration=%s -e vmconfig_hosts=" + QUBE


class Store(NamedTuple):
    """The commands that make the machine, show the keys of a qube and change one, and where the machine is."""

    make: str
    look: str
    change: str
    where: str


STORES = {
    "file": Store(
        "cp tests/demo/machine.json build/demo/store.json",
        "sed -n '/\"%s\": {/,/}/p' build/demo/store.json" % QUBE + MANAGED,
        "sed -i s,http://10.137.0.1:3128,http://203.0.113.66:3128, build/demo/store.json",
        "in a file",
    ),
    "xenstore": Store(
        "python tests/lab/xenlab.py run --domains tests/demo/machine.json -- bash",
        "xenstore-ls -f /local/domain/%d" % DOMIDS[QUBE] + MANAGED,
        "xenstore-write /local/domain/%d/vm-config/proxy http://203.0.113.66:3128" % DOMIDS[QUBE],
        "in a real xenstored, which ends with the shell that this opens",
    ),
    "qubesdb": Store(
        "python tests/lab/qubesdblab.py run --keys tests/demo/machine.json -- bash",
        "python tests/lab/qubesdblab.py ls %s | python -m json.tool" % QUBE + MANAGED,
        "python tests/lab/qubesdblab.py put %s vm-config/proxy http://203.0.113.66:3128" % QUBE,
        "in QubesDB daemons, which end with the shell that this opens",
    ),
}


class Shell:
    """A shell in the project's folder, into which the commands are typed; one of them may open another shell."""

    END = "the demo's command has ended with"

    def __init__(self) -> None:
        # In a session of its own, so that a Ctrl-C is for the demo, which then ends all that the commands started.
        self._process = subprocess.Popen(
            ["bash"], cwd=str(ROOT), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", start_new_session=True)
        self._timer = threading.Timer(TIMEOUT, self._end)

    def __enter__(self) -> Shell:
        self._timer.start()
        return self

    def __exit__(self, kind: object, *exc: object) -> None:
        self._timer.cancel()
        if kind:
            self._end()
        self._process.communicate()

    def run(self, command: str) -> str:
        """Shows a command and, as they come, the lines of its output that are not empty. Returns these."""
        print("$ " + command, flush=True)
        self._process.stdin.write("%s\nprintf '\\n%%s %%d\\n' %s $?\n" % (command, shlex.quote(self.END)))
        self._process.stdin.flush()
        output = ""
        for line in self._process.stdout:
            if line.startswith(self.END):
                if line.split()[-1] != "0":
                    sys.exit("the demo ends here: that command ended with " + line.split()[-1])
                return output
            if line.strip():
                output += line
                print(line, end="", flush=True)
        sys.exit("the demo ends here: its shell has ended, or took longer than %d s" % TIMEOUT)

    def _end(self) -> None:
        os.killpg(self._process.pid, signal.SIGTERM)


def say(text: str) -> None:
    print("\n\033[1m### %s\033[0m" % text if sys.stdout.isatty() else "\n### %s" % text, flush=True)


def expect(said: str, truth: bool) -> None:
    if not truth:
        sys.exit("the demo ends here, because this does not hold: %s" % said)
    print("As it should be: %s." % said, flush=True)


def changed(output: str) -> Dict[str, int]:
    """How many tasks changed something on each host, by the recap."""
    return {host: int(number) for host, number in re.findall(r"(?m)^(\S+) +: ok=.* changed=(\d+)", output)}


def drifted(output: str) -> Set[str]:
    """What the audit lists: keys and files of the qube."""
    return set(re.findall(r'"%s \(\w+\): (\S+) is .*, should be ' % QUBE, output)) | set(re.findall(r'"%s: (\S+) differs' % QUBE, output))


def demonstrate(store: Store, shell: Shell) -> None:
    print("What follows a $ can be copied into a shell in this folder, in this order. Of what Ansible prints, tasks that changed nothing are left out.")
    say("1. A made-up machine of six qubes, %s" % store.where)
    shell.run(". build/demo/env")
    shell.run(store.make)

    say("2. What one of them should see, out of a declaration for all")
    shell.run("sed -n '/^%s:/,/^$/p' examples/qubes.yml | tee build/demo/%s.yml" % (QUBE, QUBE))

    say("3. What would change for it: check mode, with a diff")
    would = shell.run(PLAY % ("apply", "build/demo/%s.yml" % QUBE) + " --tags keys --check --diff")
    expect("the diff has each key", all("\n+%s: '%s'\n" % key in would for key in DECLARED.items()))

    say("4. Apply it: all six get their keys, and %s gets the files that are made from what it then sees" % QUBE)
    expect("something changed", all(changed(shell.run(PLAY % ("apply", "examples/qubes.yml"))).values()))

    say("5. The same again")
    expect("nothing changed", not any(changed(shell.run(PLAY % ("apply", "examples/qubes.yml"))).values()))

    say("6. The keys of %s, seen by another tool" % QUBE)
    seen = shell.run(store.look)
    expect("each key has its value", all(value in seen for value in DECLARED.values()))

    say("7. Files of %s, which are at / where a qube is a real one" % QUBE)
    shown = shell.run("head -n 20 " + " ".join("build/demo/%s/%s" % (QUBE, name) for name in FILES)).splitlines()
    expect("they say what the keys say", all(line in shown for line in FILES.values()))

    say("8. Somebody changes a key and a file by hand")
    shell.run(store.change)
    shell.run("echo Europe/Berlin > build/demo/%s/etc/timezone" % QUBE)

    say("9. The audit changes nothing, and finds exactly these")
    found = drifted(shell.run(PLAY % ("audit", "examples/qubes.yml")))
    expect("the audit lists %s" % " and ".join(sorted(found)), found == DRIFT)
    print("\nThe command of step 4 would put both right.")


def main() -> None:
    parser = argparse.ArgumentParser(description="Configure and audit a made-up machine of six qubes.")
    parser.add_argument("--store", choices=STORES, default="file")
    chosen = parser.parse_args().store
    shutil.rmtree(BUILD, ignore_errors=True)
    BUILD.mkdir(parents=True)
    programs = pathlib.Path(sys.executable).parent
    if ROOT in programs.parents:
        programs = programs.relative_to(ROOT)
    (BUILD / "env").write_text(ENVIRONMENT % ('"$PWD"/%s' % programs if not programs.is_absolute() else programs))
    with Shell() as shell:
        demonstrate(STORES[chosen], shell)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
