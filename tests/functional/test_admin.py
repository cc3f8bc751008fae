# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Admin API as a store: which calls are made, and what happens when they fail.

The lab's qubesd says what it was asked, and is looked at past its API. A client that misbehaves is a script in front of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml
from ansible_collections.qubes.vmconfig.plugins.module_utils import _inspect
from ansible_collections.qubes.vmconfig.plugins.module_utils._apply import Task, apply
from ansible_collections.qubes.vmconfig.plugins.module_utils._errors import QubeMissing, SomeUnread, Stopped, StoreError, VmconfigError
from ansible_collections.qubes.vmconfig.plugins.module_utils._stores import adminapi, opening
from ansible_collections.qubes.vmconfig.plugins.module_utils._stores.threads import Threads
from harness import ESCAPES, opened, read, select, wait_until, within
from namespaces import unshared
from playing import command, keys, keys_info, keys_wait, look_up, play, said

TIMEOUT = 0.6
GRACE = 1.0
LAB = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lab")


@pytest.fixture(name="work")
def lab_with_work(admin):
    admin.add("work", state="Halted", netvm="sys-net")
    admin.clear()
    return admin


def applied(qubes, timeout=10.0, **options):
    return apply(opened("admin", timeout), Task(qubes, **options))


def complains(qubes, says, timeout=TIMEOUT, **options):
    with within(timeout + GRACE), pytest.raises(VmconfigError) as caught:
        applied(qubes, timeout, **options)
    for text in says:
        assert text in str(caught.value)
    assert str(caught.value).isprintable()
    return caught.value


def asked(lab, qube="work"):
    """The calls to one qube, in their order: service and argument, and with what they set."""
    return [" ".join(filter(None, (call.service, call.argument, call.payload.decode()))) for call in lab.calls() if call.target == qube]


# -- every key with a setting --

SETTINGS = {
    # key: (first value, its text, second value, its text), where the setting is a feature or a property
    "default-user": ("property default_user", "alice", "alice", "bob", "bob"),
    "qubes-debug-mode": ("property debug", True, "True", "0", "False"),
    "keyboard-layout": ("property keyboard_layout", "fr", "fr++", "pl++compose:caps", "pl++compose:caps"),
    "qubes-ip": ("property ip", "10.137.0.99", "10.137.0.99", "10.137.0.98", "10.137.0.98"),
    "qubes-service/cups": ("feature service.cups", True, "1", False, ""),
    "vm-config/proxy": ("feature vm-config.proxy", "http://10.137.0.1:3128", "http://10.137.0.1:3128", "", ""),
    "persist/data": ("feature custom-persist.data", "/home/user/data", "/home/user/data", "dir:user:user:0755:/x", "dir:user:user:0755:/x"),
    "qubes-gateway": ("feature net.fake-gateway", "10.137.0.1", "10.137.0.1", "10.137.0.2", "10.137.0.2"),
    "qubes-netmask": ("feature net.fake-netmask", "255.255.255.0", "255.255.255.0", "255.255.0.0", "255.255.0.0"),
    "qubes-gui-videoram-min": ("feature gui-videoram-min", 16384, "16384", "32768", "32768"),
    "qubes-gui-videoram-overhead": ("feature gui-videoram-overhead", 1, "1", "2", "2"),
    "guivm-windows-prefix": ("feature guivm-windows-prefix", "Gui", "Gui", "G", "G"),
}


def held(lab, setting):
    kind, name = setting.split(" ")
    return (lab.features if kind == "feature" else lab.properties)("work").get(name)


@pytest.mark.parametrize("key", SETTINGS)
def test_a_key_with_a_setting(work, key):
    setting, first, first_text, second, second_text = SETTINGS[key]
    kind, name = setting.split(" ")
    get = "admin.vm.%s.Get %s" % (kind, name)
    remove = "admin.vm.%s.%s %s" % (kind, "Reset" if kind == "property" else "Remove", name)
    for value, text in ((first, first_text), (second, second_text)):
        told = applied({"work": {key: value}}, check_mode=True, diff=True)
        assert asked(work) == [get]
        assert held(work, setting) != text
        work.clear()
        assert applied({"work": {key: value}}, diff=True) == told
        assert told["qubes"]["work"]["lasts"] == {key: "persistent"}
        assert told["qubes"]["work"]["effective"][key] in ("now", "restart")
        assert "warnings" not in told
        assert asked(work) == [get, get, " ".join(filter(None, ["admin.vm.%s.Set" % kind, name, text]))]
        assert held(work, setting) == text
        work.clear()
        assert not applied({"work": {key: value}})["changed"]
        assert work.changes() == []
        work.clear()
    assert applied({"work": {key: None}})["changed"]
    assert asked(work) == [get, get, remove]
    assert held(work, setting) is None
    work.clear()
    assert not applied({"work": {key: None}})["changed"]
    assert work.changes() == []


def test_removing_the_time_zone(work):
    told = applied({"work": {"qubes-timezone": None}}, check_mode=True, diff=True)
    assert told["diff"][0]["before"] == "qubes-timezone: (computed by qubesd)\n"
    assert work.changes() == []
    assert applied({"work": {"qubes-timezone": None}}, diff=True) == told
    assert work.features("work") == {"anon-timezone": "1"}
    assert not applied({"work": {"qubes-timezone": None}})["changed"]


@pytest.mark.parametrize("keys_of_work, says", [
    ({"qubes-timezone": "UTC"}, ["'qubes-timezone'", "anon-timezone", "vm-config/timezone"]),
    ({"qubes-vm-type": "AppVM"}, ["'qubes-vm-type'", "no setting", "class and template"]),
    ({"name": None}, ["'name'", "no setting"]),
    ({"qubes-primary-dns": "10.139.1.1"}, ["property netvm"]),
    ({"qubes-service/meminfo-writer": True}, ["maxmem"]),
    ({"qubes-firewall/10.137.0.9/policy": "drop"}, ["qvm-firewall"]),
    ({"features-request/x": "1"}, ["the qube itself writes it"]),
    ({"keyboard-layout": "us,se++grp:switch"}, ["'keyboard-layout'", "one layout"]),
    ({"vm-config/x": "two\nlines"}, ["'vm-config/x'", "printable ASCII"]),
    ({"vm-config/x": "Łódź"}, ["printable ASCII"]),
    ({"qubes-service/getty@tty": True}, ["letters, digits and _ . -"]),
    ({"qubes-debug-mode": "maybe"}, ["'maybe'", "expected a boolean"]),
    ({"qubes-random-seed": None}, ["no setting"]),
], ids=str)
def test_refused_before_anything_is_asked(work, keys_of_work, says):
    complains({"work": keys_of_work}, ["'work'", "othing was written", *says])
    assert work.calls() == []
    complains({"work": keys_of_work}, says, unknown="allow")


def test_a_key_that_nobody_knows(work):
    complains({"work": {"no-such-key": "x"}}, ["no setting"], unknown="allow")


# -- reading --


def test_a_default_in_force_is_a_value_and_nothing_to_remove(work):
    store = opened("admin")
    default = read(store, "qubes-debug-mode", "default-user")
    assert default["qubes-debug-mode"] == b"0"
    assert default["default-user"]
    work.clear()
    assert not applied({"work": {"qubes-debug-mode": False, "default-user": None}})["changed"]
    assert asked(work) == ["admin.vm.property.GetAll"]


@pytest.mark.parametrize("text, value", [("1", b"1"), ("0", b"1"), ("yes", b"1"), ("", b"0")])
def test_a_service_is_off_with_the_empty_text_alone(work, text, value):
    work.set_feature("work", "service.cups", text)
    assert read(opened("admin"), "qubes-service/cups") == {"qubes-service/cups": value}


def test_globs_ask_for_what_is_there(work):
    for name, value in {"service.cups": "1", "service.": "1", "servicecups": "1", "vm-config.a": "x", "vm-config.a-b": "{{ 1 }}", "other": "y"}.items():
        work.set_feature("work", name, value)
    assert read(opened("admin"), "qubes-service/*", "vm-config/a*") == {
        "qubes-service/cups": b"1", "vm-config/a": b"x", "vm-config/a-b": b"{{ 1 }}"}
    assert asked(work) == [
        "admin.vm.feature.List", "admin.vm.feature.Get service.cups", "admin.vm.feature.Get vm-config.a", "admin.vm.feature.Get vm-config.a-b"]


def test_every_documented_key_is_two_calls_and_one_for_each_feature(work):
    work.set_feature("work", "vm-config.x", "1")
    snapshot = _inspect.read(opened("admin"), ["work"], _inspect.selected([]))["work"]
    assert asked(work) == ["admin.vm.feature.List", "admin.vm.property.GetAll", "admin.vm.feature.Get vm-config.x"]
    told = _inspect.report(snapshot, _inspect.selected([]), True)
    assert told["config"]["vm_config"] == {"x": "1"}
    assert told["config"]["debug"] is False
    assert {"name", "qubes-timezone", "qubes-mac"} <= set(told["untold"])
    assert "qubes-netvm-network" not in told["untold"]
    assert "qubes-debug-mode" in told["defaults"]
    assert told["invalid"] == {}


def test_many_qubes_side_by_side_with_no_call_too_many(admin):
    declared = {**{"vm-config/k%d" % key: "v" for key in range(8)}, "qubes-debug-mode": False, "default-user": "user"}
    fleet = {"vm%03d" % number: declared for number in range(100)}
    admin.add_many({qube: {"features": {"vm-config.k%d" % key: "v" for key in range(8)}, "properties": {"default_user": "user"}} for qube in fleet})
    admin.clear()
    assert not applied(fleet)["changed"]
    assert admin.changes() == []
    assert len(admin.calls()) <= 1 + 100 * 9
    assert 4 <= admin.most_at_once() <= 16


def test_the_others_are_set_while_one_is_stuck(work, tmp_path, monkeypatch):
    """The healthy ones long before the stuck one's time is over, and that one when it answers."""
    work.add_many({"vm%d" % number: {} for number in range(4)})
    in_front(tmp_path, monkeypatch, '"work admin.vm.feature.Get"*', 'until [ -e %s ]; do sleep 0.05; done; exec %s/qrexec-client-vm "$@"' % (
        tmp_path / "go", os.environ["PATH"].split(os.pathsep)[0]))
    others = {"vm%d" % number: {"vm-config/x": "1"} for number in range(4)}
    with ThreadPoolExecutor(1) as pool, within(5):
        running = pool.submit(apply, opened("admin", 6), Task({"work": {"vm-config/x": "1"}, **others}))
        wait_until(lambda: all(work.features(qube) == {"vm-config.x": "1"} for qube in others))
        assert not running.done()
        (tmp_path / "go").touch()
        assert sorted(running.result()["qubes"]) == ["vm0", "vm1", "vm2", "vm3", "work"]
    assert work.features("work") == {"vm-config.x": "1"}


# -- what is refused, and what goes wrong --


def test_a_qube_that_is_not_there(work):
    complains({"vault": {"vm-config/x": "1"}}, ["'vault'", "'work'"])
    assert applied({"vault": {"vm-config/x": "1"}, "work": {}}, missing="skip")["missing"] == ["vault"]
    assert opened("admin").qubes() == ["work"]
    with pytest.raises(QubeMissing):
        read(opened("admin"), "vm-config/x", qube="self")


@pytest.mark.parametrize("refused", [False, True], ids=["qubesd does not know it", "policy refuses"])
@pytest.mark.parametrize("asked_for", [None, ["*"], ["other", "*"], ["work", "*"]], ids=str)
def test_one_that_is_removed_while_all_are_read(work, asked_for, refused):
    """Once it is gone qubesd says so, or already qrexec's policy refuses: in a management qube it knows no such target."""
    work.add("other", features={"vm-config.x": "1"})
    with contextlib.closing(opened("admin")) as store:
        listed = store.qubes

        def and_remove_it():
            found = listed()
            if "work" in found:
                store.qubes = listed
                work.remove("work")
                if refused:
                    work.refuse(target="work")
            return found

        store.qubes = and_remove_it
        if asked_for and "work" in asked_for:
            with pytest.raises(SomeUnread, match="'work' is not in admin") as caught:
                _inspect.read(store, asked_for, select("vm-config/*", "qubes-timezone"))
            assert list(caught.value.found) == ["other"]
        else:
            assert list(_inspect.read(store, asked_for, select("vm-config/*", "qubes-timezone"))) == ["other"]


def test_one_of_which_policy_lets_nothing_be_read_is_there_all_the_same(work):
    work.refuse(target="work")
    with contextlib.closing(opened("admin")) as store:
        found = _inspect.read(store, ["*"], select("vm-config/x", "qubes-debug-mode"))
    assert found["work"].denied == {"vm-config/x", "qubes-debug-mode"}


def test_policy_that_does_not_let_a_key_be_read(work):
    work.refuse(service="admin.vm.feature.Get", argument="service.cups")
    complains({"work": {"qubes-service/cups": True}}, [
        "'work'", "'qubes-service/cups'", "Nothing was written", "/etc/qubes/policy.d", "admin.vm.feature.Get  +service.cups  ", "  work  allow target=dom0"])
    snapshot = _inspect.read(opened("admin"), ["work"], _inspect.selected(["qubes-service/cups", "vm-config/x"]))["work"]
    assert snapshot.denied == {"qubes-service/cups"}
    work.refuse(service="admin.vm.feature.List")
    assert "vm-config/" in _inspect.read(opened("admin"), ["work"], _inspect.selected([]))["work"].denied


def test_policy_that_does_not_let_a_key_be_set(work):
    work.refuse(service="admin.vm.property.Set", argument="debug")
    error = complains({"work": {"qubes-debug-mode": True, "keyboard-layout": "fr", "vm-config/x": "1"}}, [
        "'work'", "qubes-debug-mode", "admin.vm.property.Set  +debug  ", "none of the qube's other keys was changed"])
    assert isinstance(error, Stopped)
    assert (work.features("work"), work.properties("work").get("keyboard_layout")) == ({}, None)


def test_policy_that_does_not_let_qubes_be_listed(work):
    work.refuse(service="admin.vm.List")
    assert applied({"work": {"vm-config/x": "1"}})["changed"]
    with pytest.raises(StoreError, match="admin.vm.List"):
        opened("admin").qubes()
    # It would be an option of the client.
    for name in ("--help", "-t", "@dispvm", "a b"):
        complains({name: {"vm-config/x": "1"}}, ["policy does not let them be listed"])


def test_what_qubesd_refuses(work):
    error = complains({"work": {"vm-config/a": "1", "keyboard-layout": "xx"}, "nobody": {}}, ["'nobody'"])
    assert work.changes() == []
    work.add("other")
    work.refuse(service="admin.vm.feature.Set", target="other")
    error = complains({"work": {"vm-config/a": "1"}, "other": {"vm-config/a": "1"}}, ["'other'", "written: 'work'", "Run again"])
    assert list(error.result["qubes"]) == ["work"]


def in_front(folder, monkeypatch, pattern, script):
    """A qrexec-client-vm that does what the script says with calls that match, and hands on all others."""
    real = os.environ["PATH"].split(os.pathsep)[0]
    program = folder / "qrexec-client-vm"
    program.write_text("#!/bin/sh\ncase \"$1 $2\" in\n%s) %s;;\n*) exec %s/qrexec-client-vm \"$@\";;\nesac\n" % (pattern, script, real))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder) + os.pathsep + os.environ["PATH"])


BROKEN = {
    "answers nothing": "exit 0",
    "answers half a tag": "printf 0",
    "answers another tag": "printf '1\\0x'",
    "answers noise": "printf '\\033[2J\\377 no'",
    "answers an exception without an end": "printf '2\\0QubesValueError\\0\\0no'",
    "answers an exception that is one escape sequence": "printf '2\\0Qubes\\033[2JError\\0\\0%%s \\033]0;x\\007 %%s\\0\\342\\200\\256txt\\0%%s\\0'",
    "answers a format that has no fields": "printf '2\\0QubesValueError\\0\\0%%(x)s %%s %%n {0}\\0'",
    "cannot be run": "echo no >&2; exit 127",
    "is killed": "kill -9 $$",
    "says a lot": "yes no | head -c 3000000 >&2; exit 1",
    "is slow": "sleep 60",
    "leaves a child behind": "sleep 60 & exit 1",
}


@pytest.mark.parametrize("behaviour", BROKEN)
def test_a_client_that(work, tmp_path, monkeypatch, behaviour):
    """The other qube is read and written all the same."""
    work.add("other")
    in_front(tmp_path, monkeypatch, '"work admin.vm.feature.Get"*', BROKEN[behaviour])
    error = complains({"work": {"vm-config/a": "1"}, "other": {"vm-config/a": "1"}}, ["'work'", "admin.vm.feature.Get", "written: 'other'"])
    assert work.features("other") == {"vm-config.a": "1"}
    assert len(str(error)) < 2000


def test_nothing_of_a_slow_client_goes_on(work, tmp_path, monkeypatch):
    in_front(tmp_path, monkeypatch, '"work admin.vm.feature.Get"*', "(sleep 0.9; touch %s) & wait" % (tmp_path / "late"))
    complains({"work": {"vm-config/a": "1"}}, ["0.6 seconds"])
    time.sleep(0.5)
    assert not (tmp_path / "late").exists()


def test_what_was_set_before_a_failure_is_undone(work, tmp_path, monkeypatch):
    work.set_feature("work", "vm-config.b", "old")
    work.set_property("work", "debug", "True")
    in_front(tmp_path, monkeypatch, '"work admin.vm.feature.Set+vm-config.z"', "exit 1")
    complains({"work": {"vm-config/a": "1", "vm-config/b": "new", "vm-config/z": "1", "qubes-debug-mode": None, "default-user": "bob", "qubes-timezone": None}},
              ["'work'", "vm-config/z", "none of the qube's other keys was changed"], timeout=10.0)
    assert work.features("work") == {"vm-config.b": "old"}
    assert {name: work.properties("work").get(name) for name in ("debug", "default_user")} == {"debug": "True", "default_user": None}


def test_what_cannot_be_undone_is_named(work, tmp_path, monkeypatch):
    in_front(tmp_path, monkeypatch, '"work admin.vm.feature.Set+vm-config.z"|"work admin.vm.feature.Remove+vm-config.a"', "exit 1")
    error = complains({"work": {"vm-config/a": "1", "vm-config/b": "1", "vm-config/z": "1"}}, ["these changes stand: 'vm-config/a'"])
    assert error.result["qubes"]["work"]["changed_keys"] == ["vm-config/a"]
    assert work.features("work") == {"vm-config.a": "1"}


def test_what_was_no_value_of_the_interface_is_not_undone(work, tmp_path, monkeypatch):
    """Set past the interface, it has no form in which it could be set again."""
    work.set_feature("work", "vm-config.a", "caf\u00e9\n")
    in_front(tmp_path, monkeypatch, '"work admin.vm.feature.Set+vm-config.z"', "exit 1")
    error = complains({"work": {"vm-config/a": "1", "vm-config/z": "1"}}, ["setting vm-config.z", "these changes stand: 'vm-config/a'"])
    assert error.result["qubes"]["work"]["changed_keys"] == ["vm-config/a"]
    assert work.features("work") == {"vm-config.a": "1"}


def test_an_undo_ends_with_the_first_call_that_is_not_answered(work, tmp_path, monkeypatch):
    in_front(tmp_path, monkeypatch, '"work admin.vm.feature.Set+vm-config.z") exit 1;; "work admin.vm.feature.Remove"*', "sleep 60")
    declared = {"vm-config/%s" % letter: "1" for letter in "abcdefz"}
    with within(2 * TIMEOUT + GRACE):
        complains({"work": declared}, ["these changes stand: 'vm-config/a', 'vm-config/b'", "'vm-config/f'"], timeout=TIMEOUT)


def test_a_wait_keeps_its_time_though_a_call_is_stuck(work, tmp_path, monkeypatch):
    in_front(tmp_path, monkeypatch, '"work admin.vm.feature.Get"*', "sleep 60")
    code = ("import time\nfrom harness import opened\nfrom ansible_collections.qubes.vmconfig.plugins.module_utils import _wait\nbegun = time.monotonic()\n"
            "try:\n    _wait.wait(opened('admin', 30), _wait.Task('work', 'vm-config/x', 'present', timeout=1))\n"
            "except Exception as error:\n    print(time.monotonic() - begun, error)\n")
    done = subprocess.run([sys.executable, "-c", code], env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, encoding="utf-8", timeout=50, check=False)
    seconds, dummy, message = done.stdout.partition(" ")
    assert 1 <= float(seconds) < 2.5, done.stdout
    assert "'work'" in message and "1 seconds to wait are over" in message


def test_what_has_not_begun_never_does_after_an_interrupt(work):
    """As Ctrl-C: the jobs that run end, and of those that wait none begins."""
    begun = []
    with pytest.raises(KeyboardInterrupt), Threads(2, lambda: begun.append("stopped")) as threads:
        for number in range(20):
            threads.begin(str(number), lambda number=number: begun.append(number) or time.sleep(0.2))
        raise KeyboardInterrupt
    assert len(begun) <= 3 and "stopped" in begun


def test_a_call_that_was_not_answered_in_time_is_not_undone_by_more(work, tmp_path, monkeypatch):
    in_front(tmp_path, monkeypatch, '"work admin.vm.feature.Set+vm-config.z"', "sleep 60")
    complains({"work": {"vm-config/a": "1", "vm-config/z": "1"}}, ["0.6 seconds", "these changes stand: 'vm-config/a'", "not known"])


# -- where it is --


def test_without_a_client(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(StoreError, match="qrexec-client-vm.*qubesd.sock"):
        opened("admin")


@pytest.mark.parametrize("allowed", [True, False])
def test_auto_in_a_management_qube(work, qubes, monkeypatch, allowed):
    """The client proves nothing: only an answer does."""
    monkeypatch.setattr(opening, "QUBESDB", qubes.folder)
    qubes.add_own({"qubes-vm-type": "AppVM"})
    if not allowed:
        work.refuse(service="admin.vm.List")
    assert opened("auto", qubes=["work"]).kind == ("admin" if allowed else "qubesdb")
    assert opened("auto", qubes=["self"]).kind == "qubesdb"
    assert opened("auto", qubes=[]).kind == "qubesdb"


@pytest.fixture(name="forgotten")
def package_that_is_forgotten_again():
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "qubesadmin"]:
        del sys.modules[name]


@pytest.mark.parametrize("packaged", [True, False])
def test_auto_in_dom0(work, qubes, forgotten, monkeypatch, tmp_path, packaged):
    monkeypatch.setattr(opening, "QUBESDB", qubes.folder)
    monkeypatch.setattr(adminapi, "QUBESD", str(tmp_path))
    if packaged:
        monkeypatch.syspath_prepend(os.path.join(LAB, "site"))
    assert opened("auto", qubes=["work"]).kind == ("admin" if packaged else "qubesdb")
    assert opened("auto", qubes=[]).kind == ("admin" if packaged else "qubesdb")


@pytest.fixture(name="dom0", params=["the package", "the system's Python"])
def dom0s_way_in(request, work, forgotten, monkeypatch, tmp_path):
    monkeypatch.setattr(adminapi, "QUBESD", str(tmp_path))
    if request.param == "the package":
        monkeypatch.syspath_prepend(os.path.join(LAB, "site"))
    else:
        monkeypatch.setenv("PYTHONPATH", os.path.join(LAB, "site"))
        monkeypatch.setattr(adminapi.System, "PYTHON", sys.executable)
    return work


def test_in_dom0(dom0):
    before = socket.getdefaulttimeout()
    declared = {"work": {"vm-config/x": "1", "qubes-debug-mode": True, "keyboard-layout": None}}
    assert applied(declared)["changed"]
    assert (dom0.features("work"), dom0.properties("work")["debug"]) == ({"vm-config.x": "1"}, "True")
    assert not applied(declared)["changed"]
    dom0.refuse(service="admin.vm.feature.Set", argument="vm-config.y")
    complains({"work": {"vm-config/x": "2", "vm-config/y": "1"}}, ["'work'", "QubesDaemonAccessError", "none of the qube's other keys"], timeout=10.0)
    assert dom0.features("work") == {"vm-config.x": "1"}
    assert socket.getdefaulttimeout() == before


def test_a_qubesd_that_hangs_in_dom0(work, forgotten, monkeypatch, tmp_path):
    """The package's own sockets have no timeout."""
    (tmp_path / "qubesadmin").mkdir()
    (tmp_path / "qubesadmin" / "exc.py").write_text("class QubesException(Exception): pass\n")
    (tmp_path / "qubesadmin" / "__init__.py").write_text(HANGING)
    monkeypatch.setattr(adminapi, "QUBESD", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    complains({"work": {"vm-config/x": "1"}}, ["no answer within 0.6 seconds"])


HANGING = """
import socket
class Qubes:
    def qubesd_call(self, *args):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            with socket.create_connection(listener.getsockname()) as waiting:
                return waiting.recv(1)
"""


# -- as a user meets it --


def test_the_plugins(work, tmp_path, monkeypatch):
    work.set_feature("work", "vm-config.hostile", "{{ 40 + 2 }}")
    task = {**keys(qubes={"work": {"qubes-service/cups": True, "qubes-timezone": None, "vm-config/x": "1"}}), "diff": True}
    played = play(tmp_path, {
        "checked": {**task, "check_mode": True},
        "applied": task,
        "again": task,
        "info": keys_info(qubes=["*"], raw=True),
        "lookup": look_up(["vm-config/*"], qube="work", store="admin"),
        "zone": look_up(["qubes-timezone"], qube="work", store="admin", default="none"),
        "wait": keys_wait(qube="work", key="vm-config/x", timeout=5),
    }, {"dom0": {"vmconfig_store": "admin"}}, env={**os.environ, "ANSIBLE_NOCOLOR": "1"})
    results = played.results
    for told in ("changed", "diff", "qubes"):
        assert results["checked"][told] == results["applied"][told]
    assert results["again"]["changed"] is False
    assert results["info"]["qubes"]["work"]["config"]["vm_config"] == {"hostile": "{{ 40 + 2 }}", "x": "1"}
    assert said(results["lookup"]) == [{"vm-config/hostile": "{{ 40 + 2 }}", "vm-config/x": "1"}]
    assert results["wait"]["value"] == "1"
    assert work.features("work") == {"vm-config.hostile": "{{ 40 + 2 }}", "service.cups": "1", "anon-timezone": "1", "vm-config.x": "1"}


# -- the playbooks --


def playbook(folder, name, hosts, *options, status=0):
    """Runs one of the collection's playbooks, and returns what it printed."""
    inventory = {"all": {"hosts": hosts, "vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}}}
    (folder / "hosts.json").write_text(json.dumps(inventory))
    line = [command("ansible-playbook"), "-i", str(folder / "hosts.json"), "qubes.vmconfig." + name, *options]
    done = subprocess.run(line, cwd=folder, env={**os.environ, "ANSIBLE_NOCOLOR": "1"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                          encoding="utf-8", timeout=120)
    assert done.returncode == status, done.stdout
    return done.stdout


def test_the_audit_that_needs_no_declaration(work, qubes, tmp_path):
    work.add("personal", netvm="sys-net")
    work.add("halted", state="Halted", features={"vm-config.x": "1"})
    work.state("work", "Running")
    work.set_feature("work", "vm-config.zone", "Europe/Paris")
    work.set_property("work", "debug", "True")
    qubes.restart("work", {
        "name": "work", "type": "AppVM", "qubes-mac": "00:16:3e:5e:6c:00", "qubes-timezone": "UTC", "qubes-debug-mode": "0", "default-user": "user",
        "qubes-service/cups": "1", "vm-config/zone": ESCAPES, "no-such-key": "x"})
    qubes.put("personal", "vm-config/hostile", "{{ lookup('pipe', 'touch %s') }}" % (tmp_path / "MARKER"))
    work.clear()
    said_of_it = playbook(tmp_path, "audit", {"localhost": {}}, "-e", "audit_settings=true", "-e", "audit_live_store=%s" % qubes.url)
    listed = [json.loads(line.strip().rstrip(",")) for line in said_of_it.splitlines() if line.startswith("        \"")]
    assert all(line.startswith(("work (settings): ", "personal (settings): ")) for line in listed)
    of_work = {line.split(" ")[2]: line for line in listed if line.startswith("work")}
    assert sorted(of_work) == ["no-such-key", "qubes-debug-mode", "qubes-service/cups", "vm-config/zone"]
    assert "is '0', should be '1'" in of_work["qubes-debug-mode"]
    assert "when the qube restarts" in of_work["qubes-debug-mode"]
    assert "should be 'Europe/Paris': it was written by hand" in of_work["vm-config/zone"]
    assert "no setting" in of_work["no-such-key"]
    assert any("vm-config/hostile is '{{ lookup" in line for line in listed)
    assert "\x1b" not in said_of_it.replace("\\x1b", "")
    assert "\u202e" not in said_of_it
    assert not (tmp_path / "MARKER").exists()
    assert work.changes() == []
    assert qubes.writes("work") == qubes.writes("personal") == []


def test_a_stuck_qube_ends_no_audit(work, qubes, tmp_path):
    work.add("personal")
    qubes.put("personal", "vm-config/hand", "x")
    qubes.freeze("work")
    said_of_it = playbook(tmp_path, "audit", {"localhost": {}}, "-e", "audit_settings=true", "-e", "audit_live_store=%s" % qubes.url,
                          "-e", "vmconfig_store_timeout=1")
    assert "the QubesDB of qube 'work'" in said_of_it
    assert "personal (settings): vm-config/hand is 'x'" in said_of_it
    qubes.thaw("work")
    qubes.clear("work")


CONNECTION = """
DOCUMENTATION = "name: qubes\\nshort_description: none\\ndescription: none\\nauthor: none\\noptions: {}"
from ansible.plugins.connection import ConnectionBase

class Connection(ConnectionBase):
    transport = "qubes"
    def _connect(self):
        raise AssertionError("it was used")
    exec_command = put_file = fetch_file = close = lambda self, *args, **options: self._connect()
"""


def test_apply_does_not_reach_into_a_qube_from_dom0(work, tmp_path, monkeypatch):
    monkeypatch.setenv("ANSIBLE_CONNECTION_PLUGINS", str(tmp_path))
    (tmp_path / "declared.yml").write_text("work:\n  vm-config/x: '1'\n")
    options = ["-e", "vmconfig_declaration=%s" % (tmp_path / "declared.yml"), "-e", "vmconfig_qubesd=%s" % tmp_path]
    # Qubes' own connection cannot be had here; the play must not get as far as using it.
    (tmp_path / "qubes.py").write_text(CONNECTION)
    hosts = {"localhost": {"vmconfig_store": "admin"}, "work": {"ansible_connection": "qubes"}}
    said_of_it = playbook(tmp_path, "apply", hosts, *options, status=2)
    assert "strategy qubesos.security.qubes_proxy alone" in said_of_it
    assert "Nothing was done in the qube" in said_of_it
    assert "it was used" not in said_of_it
    assert work.features("work") == {"vm-config.x": "1"}


def test_apply_says_who_has_to_restart_and_notifies_the_others(work, tmp_path):
    work.add("personal")
    work.add("off", state="Halted")
    work.add("same", features={"vm-config.x": "1"})
    work.state("work", "Running")
    work.recorder("my.ConfigChanged")
    now = {"vm-config/x": "1"}
    declared = {"work": {**now, "qubes-service/cups": True, "qubes-debug-mode": True}, "personal": now, "off": now, "same": now}
    (tmp_path / "declared.json").write_text(json.dumps(declared))
    options = ["-e", "vmconfig_declaration=%s" % (tmp_path / "declared.json"), "-e", "vmconfig_notify=my.ConfigChanged", "--tags", "keys"]
    for check in (["--check"], []):
        said_of_it = playbook(tmp_path, "apply", {"localhost": {"vmconfig_store": "admin"}}, *options, *check)
        assert "Restart, or wait for its next start: work (qubes-debug-mode, qubes-service/cups)" in said_of_it
        assert "Without a restart: personal, off" in said_of_it
        assert sorted(work.records()) == ([] if check else ["personal.my.ConfigChanged"])
    assert not [call for call in work.calls() if call.started]
    said_of_it = playbook(tmp_path, "apply", {"localhost": {"vmconfig_store": "admin"}}, *options)
    assert "next start" not in said_of_it and "Without" not in said_of_it
    assert [call.service for call in work.calls()].count("my.ConfigChanged") == 1


PLAYS = ["apply", "audit"]


@pytest.mark.parametrize("name", PLAYS)
def test_no_value_of_the_first_play_is_for_the_second(name):
    """What the play on dom0 registers is not named by the play on the qubes, so nothing that a qube wrote is shipped to another."""
    with open(os.path.join(os.path.dirname(os.path.dirname(LAB)), "playbooks", name + ".yml"), encoding="utf-8") as stream:
        first, second = [play for play in yaml.safe_load(stream) if "hosts" in play][:2]
    registered = set(re.findall(r"\"(?:register\": \"|ansible.builtin.set_fact\": \{\")(\w+)\"", json.dumps(first)))
    assert registered
    assert not [word for word in registered if word in json.dumps(second)]
    assert "hostvars" not in json.dumps(second)


def test_the_second_play_as_it_is_shipped(qubes, tmp_path):
    """Into a disposable of another name: the roles and the host's variables alone, another HOME, no network and nothing of dom0."""
    qubes.add_own({"name": "disp-mgmt-work", "qubes-vm-type": "AppVM", "qubes-timezone": "Asia/Tokyo", "qubes-primary-dns": "10.139.1.1",
                   "vm-config/hostile": "{{ lookup('pipe', 'touch %s') }}" % (tmp_path / "MARKER")})
    with open(os.path.join(os.path.dirname(os.path.dirname(LAB)), "playbooks", "apply.yml"), encoding="utf-8") as stream:
        second = next(play for play in yaml.safe_load(stream) if "roles" in play)
    second["hosts"] = "work"
    bundle = tmp_path / "bundle"
    (bundle / "home").mkdir(parents=True)
    (bundle / "play.json").write_text(json.dumps([second]))
    note = "{{ lookup('pipe', 'touch %s') }}" % (tmp_path / "MARKER")
    host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "vmconfig_store": qubes.url, "vmconfig_family": "Debian",
            "vmconfig_destdir": str(bundle / "root"), "a_note_about_it": {"unused": note}}
    (bundle / "hosts.json").write_text(json.dumps({"all": {"hosts": {"work": host}}}))
    env = {"HOME": str(bundle / "home"), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "ANSIBLE_COLLECTIONS_PATH": os.environ["ANSIBLE_COLLECTIONS_PATH"]}
    line = [*unshared(), command("ansible-playbook"), "-i", "hosts.json", "play.json"]
    for changed in (True, False):
        done = subprocess.run(line, cwd=bundle, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, encoding="utf-8", timeout=120)
        assert done.returncode == 0, done.stdout
        assert ("changed=0" in done.stdout) != changed
    assert (bundle / "root" / "etc" / "timezone").read_text() == "Asia/Tokyo\n"
    assert (bundle / "root" / "etc" / "resolv.conf").read_text() == "nameserver 10.139.1.1\n"
    assert not (tmp_path / "MARKER").exists()
    assert qubes.requests("work") == []
    assert qubes.writes("self") == []
