# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the collection costs, as ratios against something real measured beside it in the same run.

Each pair is run in turn, A B A B ..., on a real xenstored; the table has the shortest time of each and their ratio. Wants
PYTHONPATH and ANSIBLE_COLLECTIONS_PATH to hold the collection, as `make bench` sets them.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, TextIO, Tuple

import yaml
from ansible_collections.qubes.vmconfig.plugins.module_utils._apply import Task as DeclaredTask
from ansible_collections.qubes.vmconfig.plugins.module_utils._apply import apply
from ansible_collections.qubes.vmconfig.plugins.module_utils._selection import Selection
from ansible_collections.qubes.vmconfig.plugins.module_utils._stores.opening import open_store

HERE = pathlib.Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
sys.path[:0] = [str(HERE.parent / "lab"), str(HERE.parent / "functional")]

import packages  # noqa: E402  found through the paths above; PYTHONPATH would be that of what is measured too
from machines import Netvm  # noqa: E402
from qubesdblab import QubesdbLab  # noqa: E402
from xenlab import XenLab  # noqa: E402

KEYS = 30
Times = Dict[str, List[float]]


class Row(NamedTuple):
    """A line of the table: ``most`` (or with ``least`` the least) is the ratio that the project promises."""

    work: str
    against: str
    limit: float
    seconds: float
    other: float
    least: bool = False

    @property
    def ratio(self) -> float:
        return self.seconds / self.other

    def __str__(self) -> str:
        held = self.ratio >= self.limit if self.least else self.ratio <= self.limit
        return "| %s | %s | %.3f s | %.3f s | %.2f x | %s %g x | %s |" % (
            self.work, self.against, self.seconds, self.other, self.ratio, "at least" if self.least else "at most", self.limit,
            "yes" if held else "NO")


def keys(generation: int) -> Dict[str, str]:
    return {"vm-config/setting-%d" % number: "value %d of generation %d" % (number, generation) for number in range(KEYS)}


def fleet(count: int, generation: int) -> Dict[str, Dict[str, str]]:
    return {"qube-%d" % number: keys(generation) for number in range(1, count + 1)}


def domains(count: int) -> Iterator[Tuple[int, str, Dict[str, str]]]:
    return ((number, "qube-%d" % number, keys(0)) for number in range(1, count + 1))


class Task(NamedTuple):
    """A task that was run, and its modules that ran on the target."""

    name: str
    seconds: float
    ran: List[str]


def play(tasks: List[Dict[str, Any]], folder: pathlib.Path, **variables: Any) -> Times:
    """Runs the tasks on localhost; the seconds of each, by its name."""
    found: Times = {}
    for task in run([{"hosts": "localhost", "gather_facts": False, "vars": variables, "tasks": tasks}], folder):
        found.setdefault(task.name, []).append(task.seconds)
    return found


def run(plays: List[Dict[str, Any]], folder: pathlib.Path, hosts: Optional[Dict[str, Any]] = None) -> List[Task]:
    """Runs the plays, and gives their tasks as they came."""
    timings = folder / "timings"
    timings.unlink(missing_ok=True)
    (folder / "play.json").write_text(json.dumps(plays))
    (folder / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts or {}}}))
    environment = dict(os.environ, TIMINGS_FILE=str(timings), ANSIBLE_CALLBACKS_ENABLED="timings", ANSIBLE_CALLBACK_PLUGINS=str(HERE / "callback_plugins"),
                       ANSIBLE_LIBRARY=str(folder / "library"), ANSIBLE_LOCALHOST_WARNING="false")
    command = [str(pathlib.Path(sys.executable).with_name("ansible-playbook")), "-i", str(folder / "hosts.json"), str(folder / "play.json")]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1800, check=False)
    if done.returncode:
        sys.exit(done.stdout)
    return [Task(*json.loads(line)) for line in timings.read_text().splitlines()]


FORTY = {
    "name": "work", "type": "AppVM", "default-user": "user", "qubes-vm-type": "AppVM", "qubes-vm-updateable": "False", "qubes-vm-persistence": "rw-only",
    "qubes-debug-mode": "0", "qubes-base-template": "debian-12", "qubes-timezone": "Europe/Warsaw", "keyboard-layout": "us,se++grp:switch",
    "qubes-mac": "00:16:3e:5e:6c:00", "qubes-ip": "10.137.0.12", "qubes-netmask": "255.255.255.255", "qubes-gateway": "10.138.2.5",
    "qubes-primary-dns": "10.139.1.1", "qubes-secondary-dns": "10.139.1.2", "qubes-gui-enabled": "True", "qubes-gui-domain-xid": "0",
    **{"qubes-service/service-%d" % number: "1" for number in range(12)},
    **{"vm-config/setting-%d" % number: "value %d" % number for number in range(10)},
}
CONSTANT = """#!/usr/bin/python
from ansible.module_utils.basic import AnsibleModule

AnsibleModule(argument_spec={}).exit_json(changed=False, qubes=%r)
"""


def keys_task(name: str, source: pathlib.Path, store: str) -> Dict[str, Any]:
    return {"name": name, "qubes.vmconfig.keys": {"src": str(source), "store": store}}


def declared(folder: pathlib.Path, count: int, generation: int) -> pathlib.Path:
    path = folder / ("fleet-%d-%d.json" % (count, generation))
    path.write_text(json.dumps(fleet(count, generation)))
    return path


PING = {"name": "ping", "ansible.builtin.ping": {}}


def module(folder: pathlib.Path, runs: int) -> Iterator[Row]:
    with XenLab() as lab:
        lab.add_domains(domains(100))
        tasks = []
        for generation in range(1, runs + 1):
            one, hundred = declared(folder, 1, -generation), declared(folder, 100, generation)
            tasks += [PING, keys_task("one", one, lab.url), PING, keys_task("changed", hundred, lab.url),
                      PING, keys_task("unchanged", hundred, lab.url)]
        times = {name: min(seconds) for name, seconds in play(tasks, folder).items()}
    yield Row("`keys`, 30 keys of one qube, changed", "a `ping` task", 1.5, times["one"], times["ping"])
    yield Row("`keys`, 30 keys of 100 qubes, unchanged", "a `ping` task", 2, times["unchanged"], times["ping"])
    yield Row("`keys`, 30 keys of 100 qubes, changed", "a `ping` task", 3, times["changed"], times["ping"])


def qubesdb(folder: pathlib.Path, runs: int) -> Iterator[Row]:
    work = {"work": {"vm-config/setting-%d" % number: "of generation %d" for number in range(40)}}
    with QubesdbLab() as lab:
        lab.add("work")
        lab.add_many({"qube-%d" % number: dict(FORTY) for number in range(200)})
        info = {"name": "info", "qubes.vmconfig.keys_info": {"store": lab.url, "qubes": ["qube-%d" % number for number in range(200)]}}
        tasks = []
        for generation in range(runs):
            source = folder / ("forty-%d.json" % generation)
            source.write_text(json.dumps({qube: {key: value % generation for key, value in held.items()} for qube, held in work.items()}))
            tasks += [PING, keys_task("changed", source, lab.url)]
        times = {name: min(seconds) for name, seconds in play(tasks, folder).items()}
        yield Row("`keys`, 40 keys of one qube changed, QubesDB", "a `ping` task", 1.5, times["changed"], times["ping"])

        result = folder / "result.json"
        play([{**info, "register": "found"}, {"name": "write", "ansible.builtin.copy": {"content": "{{ found | to_json }}", "dest": str(result)}}], folder)
        (folder / "library").mkdir()
        (folder / "library" / "constant.py").write_text(CONSTANT % json.loads(result.read_text())["qubes"])
        before = lab.seconds()
        times = {name: min(seconds) for name, seconds in play([{"name": "constant", "constant": {}}, info] * runs, folder).items()}
        # Without what the peer took, which is in Python here and in C on Qubes.
        times["info"] -= (lab.seconds() - before) / runs
    yield Row("`keys_info`, 40 keys of 200 qubes, QubesDB", "a module that returns the same from a constant", 1.3, times["info"], times["constant"])


def loop(folder: pathlib.Path, runs: int) -> Iterator[Row]:
    with XenLab() as lab:
        lab.add_domains(domains(1))
        write = "%s/xenstore-write" % lab.environment()["XENLAB_BIN"]
        tasks = []
        for generation in range(1, runs + 1):
            wanted = {"qube-1": {"vm-config/setting-%d" % number: "value %d of generation %d" % (number, generation) for number in range(100)}}
            commands = [["/local/domain/1/" + key, value + " by hand"] for key, value in wanted["qube-1"].items()]
            source = folder / ("hundred-%d.json" % generation)
            source.write_text(json.dumps(wanted))
            tasks += [{"name": "loop", "ansible.builtin.command": {"argv": [write, "{{ item[0] }}", "{{ item[1] }}"]}, "loop": commands},
                      keys_task("keys", source, lab.url)]
        times = {name: min(seconds) for name, seconds in play(tasks, folder).items()}
    yield Row("100 keys by a loop of `command: xenstore-write`", "the same by `keys`", 30, times["loop"], times["keys"], least=True)


def interface(folder: pathlib.Path, runs: int) -> Iterator[Row]:
    with XenLab() as lab:
        lab.add_domains(domains(1000))
        selection = Selection(tuple(keys(0)))
        paths = "".join("/local/domain/%d/%s\n" % (number, key) for number in range(1, 1001) for key in selection.exact)
        ours, theirs = [], []
        for _run in range(runs):
            theirs.append(by_libxenstore(folder, lab, paths))
            ours.append(seconds(lambda: by_store(lab, selection)))
    yield Row("30,000 keys of 1,000 domains, by the store in Python", "the same loop over libxenstore in C", 1, min(ours), min(theirs))


def seconds(work: Callable[[], Any]) -> float:
    begin = time.monotonic()
    work()
    return time.monotonic() - begin


def by_store(lab: XenLab, selection: Selection) -> None:
    store = open_store(lab.url, 60, [])
    found = store.read({"qube-%d" % number: selection for number in range(1, 1001)})
    store.close()
    assert sum(len(snapshot.values) for snapshot in found.values()) == 30000


def by_libxenstore(folder: pathlib.Path, lab: XenLab, paths: str) -> float:
    program = folder / "read_keys"
    if not program.exists():
        subprocess.run(["cc", "-O2", "-o", str(program), str(HERE / "read_keys.c"), "-ldl"], check=True)
    environment = dict(os.environ, **packages.have_xen().env, XENSTORED_PATH=lab.socket)
    done = subprocess.run([str(program), packages.libxenstore()], input=paths, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found, elapsed = done.stdout.split()
    assert int(found) == 30000
    return float(elapsed)


def processor_seconds(work: Callable[[], Any]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def read_and_write(path: pathlib.Path, load: Callable[[TextIO], Any], dump: Callable[[Any, TextIO], None]) -> None:
    with path.open(encoding="utf-8") as file:
        data = load(file)
    with path.open("w", encoding="utf-8") as file:
        dump(data, file)


def files(folder: pathlib.Path, runs: int) -> Iterator[Row]:
    """A thousand qubes in a file, all of whose keys change in one task. Processor time: how long a disk takes for an fsync is its own affair."""
    count = 1000
    for suffix, library, load, dump in (
            ("yml", "libyaml", lambda file: yaml.load(file, yaml.CSafeLoader), lambda data, file: yaml.dump(data, file, Dumper=yaml.CSafeDumper)),
            ("json", "Python's json, indented and sorted,", json.load, lambda data, file: json.dump(data, file, indent=2, sort_keys=True))):
        store, plain = folder / ("store." + suffix), folder / ("plain." + suffix)
        for path in (store, plain):
            with path.open("w", encoding="utf-8") as file:
                dump(fleet(count, 0), file)
        ours, theirs = [], []
        for generation in range(1, runs + 1):
            wanted = fleet(count, generation)
            theirs.append(processor_seconds(lambda: read_and_write(plain, load, dump)))
            ours.append(processor_seconds(lambda: by_task("file://%s" % store, wanted)))
            with store.open(encoding="utf-8") as file:
                assert load(file) == wanted
        yield Row("30 keys of 1,000 qubes changed in one task, %s file store" % suffix, "%s reads and writes the file" % library, 3, min(ours), min(theirs))


def by_task(store: str, wanted: Dict[str, Dict[str, str]]) -> None:
    assert len(apply(open_store(store, 60, []), DeclaredTask(wanted))["qubes"]) == len(wanted)


def lookups(folder: pathlib.Path, runs: int) -> Iterator[Row]:
    machine = folder / "machine.json"
    machine.write_text(json.dumps(fleet(5, 0)))
    with XenLab() as lab:
        lab.add_domains(domains(5))
        for kind, store in (("file", "file://%s" % machine), ("xenstore", lab.url)):
            template = "{%% for number in range(1000) %%}{{ lookup(%s) }}{%% endfor %%}"
            ours = template % "'qubes.vmconfig.key', 'vm-config/setting-' ~ number % 30, qube='qube-3'"
            theirs = template % "'ansible.builtin.env', 'HOME'"
            tasks = [{"name": name, "ansible.builtin.set_fact": {"text": text}} for name, text in (("key", ours), ("env", theirs))] * runs
            times = {name: min(each) for name, each in play(tasks, folder, vmconfig_controller_store=store).items()}
            yield Row("1,000 `key` lookups in one template, %s store" % kind, "1,000 `env` lookups", 4, times["key"], times["env"])


BEFORE = "8250e19"
"""The commit whose roles the figures are compared with: it had a renderer of its own for each start, and read and looked role by role."""


def before(folder: pathlib.Path) -> Optional[pathlib.Path]:
    """A checkout of that commit; None, and said, where this clone does not have it."""
    tree = folder / "ansible_collections" / "qubes" / "vmconfig"
    tree.mkdir(parents=True)
    archive = subprocess.run(["git", "archive", "--format=tar", BEFORE], cwd=str(PROJECT),
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if archive.returncode:
        print("(not compared with the roles of %s, which this clone does not have)" % BEFORE, flush=True)
        return None
    subprocess.run(["tar", "-x", "-C", str(tree)], input=archive.stdout, check=True)
    return folder


def applied(folder: pathlib.Path, machine: Netvm, *args: str, collections: Optional[pathlib.Path] = None) -> float:
    """The seconds of a whole apply for one qube."""
    (folder / "apply.json").write_text(json.dumps({"all": {"hosts": {machine.name: machine.variables}}}))
    environment = dict(os.environ, ANSIBLE_LOCALHOST_WARNING="false")
    if collections:
        environment["ANSIBLE_COLLECTIONS_PATH"] = str(collections)
    command = [str(pathlib.Path(sys.executable).with_name("ansible-playbook")), "-i", str(folder / "apply.json"), "qubes.vmconfig.apply", *args]
    begin = time.monotonic()
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600, check=False)
    if done.returncode:
        sys.exit(done.stdout)
    return time.monotonic() - begin


def roles(folder: pathlib.Path, runs: int) -> Iterator[Row]:
    old = before(folder / "before")
    machine = Netvm(folder)
    both = ["-e", "vmconfig_apply=both"]
    try:
        for args in ([], both):
            applied(folder, machine, *args)
        of: Times = {"now": [], "both": [], "before": []}
        for dummy in range(runs):
            # With now what the other had installed for each start would be taken away.
            of["both"].append(applied(folder, machine, *both))
            applied(folder, machine)
            of["now"].append(applied(folder, machine))
            of["before"] += [applied(folder, machine, collections=old)] if old else []
            applied(folder, machine, *both)
    finally:
        machine.stop()
    if old:
        yield Row("apply for one qube, nothing differs", "the apply of %s" % BEFORE, 0.6, min(of["now"]), min(of["before"]))
    yield Row("apply with vmconfig_apply: both, nothing differs", "the same with now", 1.3, min(of["both"]), min(of["now"]))
    yield from installing(folder, runs)


def installing(folder: pathlib.Path, runs: int) -> Iterator[Row]:
    """What renders at each start, the first time, against copying a file of its size."""
    (folder / "keys.json").write_text(json.dumps({"qube": {"type": "AppVM", "qubes-vm-type": "AppVM"}}))
    first = folder / "root"
    role = {"vmconfig_apply": "boot", "vmconfig_store": "file://%s/keys.json" % folder, "vmconfig_family": "Debian", "vmconfig_qube": "qube",
            "ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    tasks: List[Dict[str, Any]] = [
        {"name": "read", "qubes.vmconfig.qube_info": {}, "vars": {"vmconfig_destdir": "%s%d" % (first, number)}} for number in range(runs)]
    for number in range(runs):
        root = "%s%d" % (first, number)
        tasks += [{"name": "install", "qubes.vmconfig.render": {"role": "timezone"}, "vars": {"vmconfig_destdir": root}},
                  {"name": "copy", "ansible.builtin.copy": {"src": "%s0/usr/lib/qubes-vmconfig/renderer.pyz" % first, "dest": root + "/copy", "mode": "0644"}}]
    found: Times = {}
    for task in run([{"hosts": "qube", "gather_facts": False, "tasks": tasks}], folder, {"qube": role}):
        found.setdefault(task.name, []).append(task.seconds)
    yield Row("what renders at each start, installed for the first time", "`copy` of a file of its size", 2, min(found["install"]), min(found["copy"]))


def demo(folder: pathlib.Path, runs: int) -> Iterator[Row]:
    """The CPU time of `make demo`, which takes its own time, so each is run once more than it has to be set up, whatever ``runs``."""
    old = before(folder / "demo")
    if old:
        here, there = PROJECT, old / "ansible_collections" / "qubes" / "vmconfig"
        environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "ANSIBLE_COLLECTIONS_PATH")}
        of = {tree: [cpu(["make", "demo"], tree, environment) for dummy in range(2)] for tree in (there, here)}
        yield Row("`make demo`, CPU time", "that of %s" % BEFORE, 0.4, min(of[here]), min(of[there]))


def cpu(command: List[str], folder: pathlib.Path, environment: Dict[str, str]) -> float:
    """The seconds of user and system time of a command and of all that it starts."""
    begin = os.times()
    subprocess.run(command, cwd=str(folder), env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True, timeout=1800)
    end = os.times()
    return end.children_user + end.children_system - begin.children_user - begin.children_system


def main() -> None:
    parts = {part.__name__: part for part in (module, qubesdb, loop, interface, files, lookups, roles, demo)}
    parser = argparse.ArgumentParser(description="What the collection costs, as ratios.")
    parser.add_argument("--runs", type=int, default=5, help="alternating runs of each pair (default 5)")
    parser.add_argument("--only", choices=list(parts), action="append", help="some of the table alone")
    options = parser.parse_args()
    print("| work | against | it takes | the other | ratio | promised | holds |\n|---|---|---|---|---|---|---|", flush=True)
    held = True
    with tempfile.TemporaryDirectory(prefix="vmconfig-bench-") as folder:
        for name in options.only or parts:
            for row in parts[name](pathlib.Path(folder), options.runs):
                print(row, flush=True)
                held = held and not str(row).endswith("NO |")
    sys.exit(not held)


if __name__ == "__main__":
    main()
