# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo: a machine of six qubes, configured, rendered, drifted by hand and audited, without Xen, Qubes or root.

What it says is checked: it ends with an error when a run does not do what is announced.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
from typing import Callable, Dict, Iterator, NamedTuple

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = ROOT / "build" / "demo"
MACHINE = json.loads((HERE / "machine.json").read_text())
DECLARATION = ROOT / "examples" / "qubes.yml"
DRIFT = {"work": ("vm-config/proxy", "http://203.0.113.66:3128"), "sys-net": ("qubes-service/cups", "1")}


class Store(NamedTuple):
    """A seeded store: its URL, how a hand changes it, and how to look into it."""

    url: str
    write: Callable[[str, str, str], None]
    look: str


@contextlib.contextmanager
def file_store() -> Iterator[Store]:
    path = BUILD / "store.json"
    path.write_text(json.dumps(MACHINE, indent=2))

    def write(qube: str, key: str, value: str) -> None:
        data = json.loads(path.read_text())
        data[qube][key] = value
        path.write_text(json.dumps(data, indent=2))

    yield Store("file://%s" % path, write, "the store: %s" % path.relative_to(ROOT))


@contextlib.contextmanager
def xenstore() -> Iterator[Store]:
    sys.path.insert(0, str(HERE.parent / "lab"))
    from xenlab import XenLab

    domids = {qube: domid for domid, qube in enumerate(MACHINE, 1)}
    with XenLab() as lab:
        lab.add_domains([(domids[qube], qube, MACHINE[qube]) for qube in MACHINE])

        def write(qube: str, key: str, value: str) -> None:
            lab.tool("xenstore-write", "/local/domain/%d/%s" % (domids[qube], key), value)

        yield Store(lab.url, write, "the store was a xenstored of the demo's own, which has ended")


@contextlib.contextmanager
def qubesdb() -> Iterator[Store]:
    sys.path.insert(0, str(HERE.parent / "lab"))
    from qubesdblab import QubesdbLab

    with QubesdbLab() as lab:
        lab.add_many(MACHINE)
        yield Store(lab.url, lab.put, "the store was QubesDB daemons of the demo's own, which have ended")


STORES = {"file": file_store, "xenstore": xenstore, "qubesdb": qubesdb}


def say(text: str) -> None:
    print("\n\033[1m### %s\033[0m\n" % text if sys.stdout.isatty() else "\n### %s\n" % text, flush=True)


def play(name: str, *options: str) -> str:
    """Runs one of the collection's playbooks, shows what it says, and returns it."""
    command = [str(pathlib.Path(sys.executable).with_name("ansible-playbook")), "-i", str(BUILD / "inventory.json"),
               "qubes.vmconfig.%s" % name, "-e", "vmconfig_declaration=%s" % DECLARATION, *options]
    print("$ ansible-playbook qubes.vmconfig.%s -e vmconfig_declaration=%s %s" % (name, DECLARATION.relative_to(ROOT), " ".join(options)), flush=True)
    environment = dict(os.environ, ANSIBLE_PIPELINING="true", ANSIBLE_DISPLAY_SKIPPED_HOSTS="false", ANSIBLE_DISPLAY_OK_HOSTS="false",
                       ANSIBLE_NOCOLOR="true", ANSIBLE_LOCALHOST_WARNING="false", ANSIBLE_FORKS="4")
    if name == "audit":
        environment["ANSIBLE_DISPLAY_OK_HOSTS"] = "true"
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, timeout=600, check=False)
    print(done.stdout, flush=True)
    if done.returncode:
        sys.exit("the demo ends here: ansible-playbook ended with %d" % done.returncode)
    return done.stdout


def expect(said: str, truth: bool) -> None:
    if not truth:
        sys.exit("the demo ends here, because this does not hold: %s" % said)
    print("As it should be: %s." % said)


def changed(output: str) -> int:
    return sum(int(number) for number in re.findall(r"changed=(\d+)", output))


def drifted(output: str) -> Dict[str, str]:
    """What the audit lists: qube to key."""
    return dict(re.findall(r'"([\w-]+) \(\w+\): (\S+) is .*, should be ', output))


def inventory(store: Store) -> None:
    variables = {
        "ansible_connection": "local",
        # With pyenv, Ansible's discovery finds a shim that fails.
        "ansible_python_interpreter": sys.executable,
        "vmconfig_store": store.url,
        "vmconfig_read_from": "localhost",
        "vmconfig_destdir": str(BUILD / "{{ inventory_hostname }}"),
        "vmconfig_family": "Debian",
    }
    hosts = {"localhost": None, **{qube: None for qube in MACHINE}}
    (BUILD / "inventory.json").write_text(json.dumps({"all": {"hosts": hosts, "vars": variables}}, indent=2))


def demonstrate(store: Store) -> None:
    inventory(store)
    say("1. Set the keys of six qubes, and render /etc of each from what it then sees")
    expect("something changed", changed(play("apply", "--diff")) > 0)
    say("2. The same again")
    expect("nothing changed", changed(play("apply")) == 0)
    say("3. Somebody changes two keys by hand: %s" % "; ".join("%s of %s" % (key, qube) for qube, (key, _value) in DRIFT.items()))
    for qube, (key, value) in DRIFT.items():
        store.write(qube, key, value)
    say("4. The audit, which changes nothing, finds exactly these")
    found = drifted(play("audit"))
    expect("the audit lists %s" % found, found == {qube: key for qube, (key, _value) in DRIFT.items()})
    say("Where to look")
    print("what the qubes should see: %s\n%s\nwhat was rendered:" % (DECLARATION.relative_to(ROOT), store.look))
    for qube in MACHINE:
        print("  build/demo/%s/etc" % qube)


def main() -> None:
    parser = argparse.ArgumentParser(description="Configure, render and audit a made-up machine of six qubes.")
    parser.add_argument("--store", choices=STORES, default="file")
    chosen = parser.parse_args().store
    shutil.rmtree(BUILD, ignore_errors=True)
    BUILD.mkdir(parents=True)
    with STORES[chosen]() as store:
        demonstrate(store)


if __name__ == "__main__":
    main()
