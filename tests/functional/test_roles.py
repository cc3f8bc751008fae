# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All roles for one qube, as the playbooks run them: on a machine of its own, and with values that a hostile qube would have."""

from __future__ import annotations

import json
import os
import re

import pytest
import qubesdblab
from machines import NETVM, Netvm
from playing import environment, run
from starting import install, start_here

TEMPLATE = {key: NETVM[key] for key in ("qubes-vm-type", "qubes-vm-persistence")}
MOST_TASKS, MOST_REACHED = 40, 10
CALLBACKS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "bench", "callback_plugins")


class Qube:
    """A machine without the agent, and playbooks that are run on it."""

    def __init__(self, folder):
        self.folder = folder
        self.machine = Netvm(folder)

    def play(self, name, *args):
        """Runs a playbook of ours. What it said, and for each task the modules that were executed on the target."""
        timings = self.folder / "timings"
        timings.write_text("")
        env = environment(TIMINGS_FILE=str(timings), ANSIBLE_CALLBACKS_ENABLED="timings", ANSIBLE_CALLBACK_PLUGINS=CALLBACKS)
        done = run(self.folder, "qubes.vmconfig." + name, {"hosts": {"sys-net": self.machine.variables}}, args, env)
        return done, [json.loads(line)[2] for line in timings.read_text().splitlines()]


@pytest.fixture(name="netvm", scope="module")
def one_netvm(tmp_path_factory):
    netvm = Qube(tmp_path_factory.mktemp("netvm"))
    yield netvm
    netvm.machine.stop()


def test_an_audit_touches_nothing_and_lists_what_differs(netvm):
    before = netvm.machine.settled()
    audit, tasks = netvm.play("audit", "-e", "audit_fail_on_drift=true")
    text = audit.stdout.decode()
    assert netvm.machine.settled() == before
    assert audit.returncode == 2
    assert sum(tasks, []).count("keys_info") == 1
    for said, role in (
            ("/etc/localtime", "timezone"), ("/etc/default/keyboard", "xkb"), ("interface eth0", "uplink"), ("/etc/resolv.conf", "resolver"),
            ("/run/qubes-service/cups", "services"), ("chain dnat-dns", "dns_redirect"), ("/etc/proxy", "vm_config"),
            ("/etc/X11/xorg.conf.d/20-display.conf", "display")):
        assert "%s differs (qubes.vmconfig.%s)" % (said, role) in text


@pytest.mark.long
def test_what_differs_is_done_once_with_few_tasks(netvm):
    first, dummy = netvm.play("apply")
    assert first.returncode == 0, first.stdout.decode()
    after = netvm.machine.settled()
    again, tasks = netvm.play("apply")
    assert again.returncode == 0 and set(re.findall("changed=([0-9]+)", again.stdout.decode())) == {"0"}, again.stdout.decode()
    assert netvm.machine.settled() == after
    assert sum(tasks, []).count("keys_info") == 1
    assert len(tasks) <= MOST_TASKS and len([modules for modules in tasks if modules]) <= MOST_REACHED, tasks
    clean, tasks = netvm.play("audit", "-e", "audit_fail_on_drift=true")
    assert clean.returncode == 0 and "Nothing differs." in clean.stdout.decode(), clean.stdout.decode()
    assert sum(tasks, []).count("keys_info") == 1


def test_two_qubes_in_one_play_are_never_taken_for_each_other(tmp_path):
    """As images are made. What was read for one qube, store or directory is not taken for another's."""
    def store(name, **zones):
        (tmp_path / name).write_text(json.dumps({qube: {**TEMPLATE, "qubes-timezone": zone} for qube, zone in zones.items()}))
        return "file://%s/%s" % (tmp_path, name)

    first, second = store("first.json", a="Europe/Warsaw", b="Asia/Tokyo"), store("second.json", a="America/Lima")
    (tmp_path / "one" / "etc").mkdir(parents=True)

    def rendered(folder, **variables):
        return {"name": "Render", "ansible.builtin.include_role": {"name": "qubes.vmconfig.timezone"},
                "vars": {"vmconfig_destdir": str(tmp_path / folder), **variables}}

    tasks = [rendered("one", vmconfig_qube="a"), rendered("two", vmconfig_qube="a"), rendered("three", vmconfig_qube="b"),
             rendered("four", vmconfig_qube="a", vmconfig_store=second)]
    (tmp_path / "play.yml").write_text(json.dumps([{"name": "Render", "hosts": "all", "gather_facts": False, "tasks": tasks}]))
    done = run(tmp_path, "play.yml", {"hosts": {"builder": {"vmconfig_family": "Debian", "vmconfig_store": first}}})
    assert done.returncode == 0, done.stdout.decode()[-2000:]
    assert [(tmp_path / folder / "etc" / "timezone").read_text() for folder in ("one", "two", "three", "four")] == [
        "Europe/Warsaw\n", "Europe/Warsaw\n", "Asia/Tokyo\n", "America/Lima\n"]


# -- values that nobody should believe: add yours --

HOSTILE = [
    "10.139.1.1\nnameserver 6.6.6.6",
    '"; reboot #',
    "../../../etc/shadow",
    "/etc/shadow",
    "$(touch MARKER)",
    "`touch MARKER`",
    "{{ lookup('pipe', 'touch MARKER') }}",
    "{% for x in range(10 ** 9) %}{% endfor %}",
    "x" * 3000,
    "\x1b[31mred\x1b]0;title\x07",
    "\u202etxt.exe",
    "us\r\nOption \"XkbOptions\" \"terminate:ctrl_alt_bksp\"",
    "-o /etc/shadow",
    "' || true; '",
    "1; drop table ip qubes; }",
    "\u0661\u0662\u0667.0.0.1",
]
# The keys that each role reads, and one value that is good.
GOOD = {key: value for key, value in NETVM.items() if key not in ("name", "type", "qubes-vm-type", "qubes-vm-persistence", "vm-config/proxy")}
ROLE_OF = {
    "qubes-timezone": "timezone", "keyboard-layout": "xkb", "vm-config/monitors": "display", "qubes-service/cups": "services",
    "qubes-service/network-manager": "services", "qubes-primary-dns": "resolver", "qubes-secondary-dns": "resolver",
    **{key: "dns_redirect" for key in GOOD if key.startswith("qubes-netvm-")},
    **{key: "uplink" for key in ("qubes-mac", "qubes-ip", "qubes-netmask", "qubes-gateway", "qubes-ip6", "qubes-gateway6")},
}


def tree(folder):
    """Every file with what is in it and when it was changed."""
    found = {}
    for path, dummy, names in os.walk(str(folder)):
        for name in names:
            full = os.path.join(path, name)
            found[os.path.relpath(full, str(folder))] = (os.readlink(full) if os.path.islink(full) else open(full, "rb").read(), os.lstat(full).st_mtime_ns)
    return found


@pytest.fixture(name="rendered", scope="module", params=["Debian", "RedHat", "Archlinux"])
def rendered_at_start(request, tmp_path_factory):
    """A qube that renders all roles at its start, from a QubesDB daemon, and has done so with good values."""
    root = tmp_path_factory.mktemp("rendered")
    install(root, family=request.param)
    wants = root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True)
    (wants / "systemd-networkd.service").write_text("")
    with qubesdblab.QubesdbLab() as lab:
        lab.add_own(NETVM)
        assert start_here(root, lab.url) == (0, [])
        yield lab, root


@pytest.mark.parametrize("key", ROLE_OF)
def test_no_start_believes_a_hostile_value(rendered, key):
    lab, root = rendered
    before = tree(root)
    for value in HOSTILE:
        lab.put("self", key, value)
        code, said = start_here(root, lab.url)
        assert code == 1 and said and all(line.isprintable() and len(line) < 1500 for line in said), (value, said)
        # It names what is refused: the key, or where a zone or a layout is well formed and not there, the value.
        assert any(line.startswith("qubes-vmconfig: %s: " % ROLE_OF[key]) for line in said), (value, said)
        there = tree(root)
        assert there == before or {name for name in there if there[name] != before.get(name)} == set(), value
    lab.put("self", key, NETVM[key])
    assert start_here(root, lab.url) == (0, [])


@pytest.mark.parametrize("key", ROLE_OF)
def test_at_a_start_without_a_key_its_file_stays(rendered, key):
    lab, root = rendered
    lab.remove("self", key)
    before = kept(root)
    code, said = start_here(root, lab.url)
    # What its role cannot do without is missing, and said.
    assert (code, said) == (0, []) or (code == 1 and said and all(line.startswith("qubes-vmconfig: %s: " % ROLE_OF[key]) for line in said))
    assert kept(root).keys() == before.keys()
    lab.put("self", key, NETVM[key])
    assert start_here(root, lab.url) == (0, [])
    assert {path: text for path, (text, dummy) in kept(root).items()} == {path: text for path, (text, dummy) in before.items()}


def kept(root):
    """All files but those of services, which without a key are what the type of the qube says."""
    return {path: state for path, state in tree(root).items() if not path.startswith("run/qubes-service/")}


def test_at_a_start_without_any_key_all_files_stay(rendered):
    lab, root = rendered
    before = kept(root)
    for key in ROLE_OF:
        lab.remove("self", key)
    assert start_here(root, lab.url) == (0, [])
    assert kept(root) == before
    for key in ROLE_OF:
        lab.put("self", key, NETVM[key])
    assert start_here(root, lab.url) == (0, [])


def test_no_role_believes_a_hostile_value(tmp_path):
    """Each key with one of the values, the values in turn: nothing is written, and the error names qube and key."""
    cases = {"qube-%02d" % number: (key, HOSTILE[number % len(HOSTILE)].replace("MARKER", str(tmp_path / "MARKER")))
             for number, key in enumerate(ROLE_OF)}
    served = {key: NETVM[key] for key in ("type", "qubes-vm-type", "qubes-vm-persistence")}
    (tmp_path / "store.json").write_text(json.dumps({qube: {**served, key: value} for qube, (key, value) in cases.items()}))
    (tmp_path / "play.yml").write_text(json.dumps([{"name": "Render", "hosts": "all:!reader", "gather_facts": False, "tasks": [
        {"name": "Render", "ansible.builtin.include_role": {"name": "qubes.vmconfig.{{ role_of_it }}"}}]}]))
    inventory = {"hosts": {"reader": {}, **{qube: {"vmconfig_destdir": str(tmp_path / "roots" / qube), "role_of_it": ROLE_OF[key]}
                                            for qube, (key, dummy) in cases.items()}},
                 "vars": {"vmconfig_family": "Debian", "vmconfig_read_from": "reader", "vmconfig_store": "file://%s/store.json" % tmp_path}}
    done = run(tmp_path, "play.yml", inventory, (), environment(ANSIBLE_FORKS="4"))
    text = done.stdout.decode()
    for qube, (key, value) in cases.items():
        fatal = re.findall(r"(?m)^fatal: \[%s\]: FAILED! => (.*)$" % qube, text)
        assert len(fatal) == 1, (qube, key, value, text[-3000:])
        message = json.loads(fatal[0])["msg"]
        assert qube in message and key in message and message.isprintable(), (key, value, message)
    assert not (tmp_path / "MARKER").exists()
    assert tree(tmp_path / "roots") == {}
