# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""QubesDB: what goes over the wire, and what happens when a daemon breaks.

The daemons are peers in tests/lab, which say what they were sent and notice what would stall or end a real one: the fixture
`qubes` fails the test that sends such a thing.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import qubesdblab
from ansible_collections.qubes.vmconfig.plugins.module_utils import _inspect
from ansible_collections.qubes.vmconfig.plugins.module_utils._apply import Task, apply
from ansible_collections.qubes.vmconfig.plugins.module_utils._errors import QubeMissing, Refused, SomeUnread, Stopped, StoreError, VmconfigError
from ansible_collections.qubes.vmconfig.plugins.module_utils._files import Lock, locked
from ansible_collections.qubes.vmconfig.plugins.module_utils._selection import Selection
from ansible_collections.qubes.vmconfig.plugins.module_utils._stores import late, opening, qubesdbwire
from harness import SEED, change, opened, read, select, wait_until, within
from playing import keys, keys_info, look_up, play, said

TIMEOUT = 0.6
GRACE = 1.0

WORK = {"qubes-timezone": b"UTC", "qubes-service/cups": b"1"}


@contextlib.contextmanager
def store_of(lab, timeout=10.0):
    store = opened(lab.url, timeout)
    try:
        yield store
    finally:
        store.close()


def applied(lab, qubes, timeout=10.0, **options):
    """What a task returns, in a store of its own."""
    with store_of(lab, timeout) as store:
        return apply(store, Task(qubes, **options))


def complains(lab, qubes=None, says=("'work'",), grace=0.0, **options):
    """A task that ends in time with one clear error, which holds these texts. Returns it."""
    with within(TIMEOUT + GRACE + grace), pytest.raises(VmconfigError) as caught:
        applied(lab, qubes or {"work": {"qubes-timezone": "Asia/Tokyo"}}, TIMEOUT, **options)
    for text in says:
        assert text in str(caught.value)
    assert str(caught.value).isprintable()
    return caught.value


def sent(lab, qube="work"):
    return [(request.kind, request.path, request.socket) for request in lab.requests(qube)]


# -- what goes over the wire --


def test_one_request_for_each_prefix_on_the_socket_that_cannot_write(qubes):
    with store_of(qubes) as store:
        assert read(store, "qubes-service/*", "qubes-service/c*", "qubes-timezone", "qubes-service/cups", "vm-config/*") == WORK
    assert sent(qubes) == [("MULTIREAD", "/qubes-service/", "ro"), ("MULTIREAD", "/vm-config/", "ro"), ("READ", "/qubes-timezone", "ro")]


def test_every_documented_key_is_one_request(qubes):
    with store_of(qubes) as store:
        found = _inspect.read(store, ["work"], _inspect.selected([]))
    assert found["work"].values == WORK
    assert sent(qubes) == [("MULTIREAD", "", "ro")]


def test_what_no_key_can_be_called_is_not_asked_for(qubes):
    with store_of(qubes) as store:
        # Past what refuses such globs: a store is not to rely on that.
        names = Selection(("x" * 63,), ("a b*", "-x*", "ä*", "y" * 70 + "*"))
        assert store.read({"work": names})["work"].values == {}
    assert sent(qubes) == []


@pytest.mark.parametrize("options", [{}, {"check_mode": True}])
def test_an_unchanged_run_writes_nothing_and_needs_no_socket_to_write(qubes, options):
    assert not applied(qubes, {"work": {"qubes-timezone": "UTC", "qubes-service/cups": True, "vm-config/x": None}}, **options)["changed"]
    assert {socket for kind, path, socket in sent(qubes)} == {"ro"}


def test_check_mode_writes_nothing(qubes):
    assert applied(qubes, {"work": {"qubes-timezone": "Asia/Tokyo", "vm-config/x": "1"}}, check_mode=True)["changed"]
    assert {socket for kind, path, socket in sent(qubes)} == {"ro"}


def test_what_differs_alone_is_written(qubes):
    applied(qubes, {"work": {"qubes-timezone": "Asia/Tokyo", "qubes-service/cups": True, "vm-config/x": "1", "vm-config/y": None}})
    assert [(request.kind, request.path, request.data) for request in qubes.writes("work")] == [
        ("WRITE", "/qubes-timezone", b"Asia/Tokyo"), ("WRITE", "/vm-config/x", b"1")]
    assert qubes.writes("personal") == []


def test_a_release_without_read_only_sockets(qubes):
    qubes.add("old", WORK, twin=False)
    assert applied(qubes, {"old": {"qubes-timezone": "Asia/Tokyo", "qubes-service/cups": None}})["changed"]
    assert qubes.keys("old") == {"qubes-timezone": b"Asia/Tokyo"}
    assert {socket for kind, path, socket in sent(qubes, "old")} == {"rw"}


@pytest.mark.parametrize("name, fits", [("vm-config/" + "x" * 52, True), ("vm-config/" + "x" * 53, False)])
def test_paths_up_to_63_bytes(qubes, name, fits):
    if fits:
        applied(qubes, {"work": {name: "1"}}, unknown="allow")
        assert qubes.keys("work")[name] == b"1"
    else:
        complains(qubes, {"work": {name: "1"}}, ["'work'", name, "62 characters", "63", "othing was written"], unknown="allow")
        assert sent(qubes) == []


@pytest.mark.parametrize("length, fits", [(3071, True), (3072, False)])
def test_values_up_to_3071_bytes(qubes, length, fits):
    if fits:
        applied(qubes, {"work": {"vm-config/x": "x" * length}})
        assert qubes.keys("work")["vm-config/x"] == b"x" * length
    else:
        complains(qubes, {"work": {"vm-config/x": "x" * length}}, ["'work'", "'vm-config/x'", "3071 bytes", "3072", "othing was written"])
        assert sent(qubes) == []


def test_a_prefix_that_is_another_keys_beginning(qubes):
    for name in ("a", "ab", "a/b", "a-b"):
        qubes.put("work", "qubes-service/" + name, "1")
    applied(qubes, {"work": {"qubes-service/a": None}})
    assert [key for key in qubes.keys("work") if key.startswith("qubes-service/a")] == ["qubes-service/a-b", "qubes-service/a/b", "qubes-service/ab"]
    with store_of(qubes) as store:
        assert set(read(store, "qubes-service/a/*")) == {"qubes-service/a/b"}
        assert set(read(store, "qubes-service/ab")) == {"qubes-service/ab"}


def test_many_keys_of_the_largest_size_go_in_small_portions(qubes):
    """The peer counts what is ahead of its answers; a real daemon stands still for everybody when that is too much."""
    declared = {"vm-config/k%03d" % number: "x" * 3071 for number in range(300)}
    applied(qubes, {"work": declared})
    assert len(qubes.writes("work")) == 300
    assert not applied(qubes, {"work": declared})["changed"]
    assert len(applied(qubes, {"work": dict.fromkeys(declared)})["qubes"]["work"]["changed_keys"]) == 300
    assert qubes.keys("work") == WORK


def test_one_connection_at_a_time_also_after_a_fork(qubes):
    with store_of(qubes) as store:
        read(store, "qubes-timezone")
        child = multiprocessing.get_context("fork").Process(target=lambda: os._exit(read(store, "qubes-timezone") != {"qubes-timezone": b"UTC"}))
        with within(5):
            child.start()
            child.join()
        assert child.exitcode == 0
        assert read(store, "qubes-timezone") == {"qubes-timezone": b"UTC"}
    first, second, third = [request.connection for request in qubes.requests("work")]
    assert first == third != second


def test_a_connection_left_from_an_earlier_daemon(qubes):
    with store_of(qubes) as store:
        assert read(store, "qubes-timezone") == {"qubes-timezone": b"UTC"}
        qubes.restart("work", {"qubes-timezone": "Asia/Tokyo"})
        assert read(store, "qubes-timezone") == {"qubes-timezone": b"Asia/Tokyo"}
        qubes.restart("work", {"qubes-timezone": "UTC"})
        assert change(store, {"qubes-timezone": b"Europe/Warsaw"})
    assert qubes.keys("work")["qubes-timezone"] == b"Europe/Warsaw"


# -- order, and what is protected --

RULES = {"qubes-firewall/10.137.0.9/policy": "drop", "qubes-firewall/10.137.0.9/0000": "action=accept", "qubes-firewall/10.137.0.9": ""}


def test_a_directorys_own_key_is_written_when_all_others_are_there(qubes):
    applied(qubes, {"work": {**RULES, "vm-config/x": "1"}}, force=True)
    requests = qubes.requests("work")
    assert [request.path for request in requests if request.kind == "WRITE"][-1] == "/qubes-firewall/10.137.0.9"
    # A rule that is refused leaves the old rules in force.
    qubes.clear("work")
    qubes.rule("work", "error", kind="WRITE", path="*/0000")
    complains(qubes, {"work": {**RULES, "qubes-firewall/10.137.0.9/0000": "action=drop"}}, force=True)
    assert "/qubes-firewall/10.137.0.9" not in [request.path for request in qubes.writes("work")]


def test_rules_that_changed_are_put_into_force(qubes):
    """By writing the empty key again; and only then."""
    applied(qubes, {"work": RULES}, force=True)
    qubes.clear("work")
    changed = {**RULES, "qubes-firewall/10.137.0.9/0000": "action=drop"}
    told = applied(qubes, {"work": changed}, force=True, check_mode=True)
    assert applied(qubes, {"work": changed}, force=True) == told
    assert [request.path for request in qubes.writes("work")] == ["/qubes-firewall/10.137.0.9/0000", "/qubes-firewall/10.137.0.9"]
    assert not applied(qubes, {"work": changed}, force=True)["changed"]


@pytest.mark.parametrize("check_mode", [False, True])
def test_what_is_protected_needs_force(qubes, check_mode):
    declared = {"work": {"qubes-vm-type": "ProxyVM", "qubes-timezone": "Asia/Tokyo"}, "personal": {"qubes-timezone": "Asia/Tokyo"}}
    complains(qubes, declared, ["'work'", "'qubes-vm-type'", "force: true", "Nothing was written"], check_mode=check_mode)
    assert qubes.writes("work") == qubes.writes("personal") == []
    assert applied(qubes, declared, force=True)["qubes"]["work"]["changed_keys"] == ["qubes-timezone", "qubes-vm-type"]
    # What is as it should be needs none.
    assert not applied(qubes, declared)["changed"]
    qubes.put("work", "qubes-block-devices/xvda/desc", "a disk")
    complains(qubes, {"work": {}}, ["'qubes-block-devices/xvda/desc'", "force"], purge=["qubes-block-devices/"])


def test_how_long_it_lasts_and_the_setting_that_would(qubes):
    result = applied(qubes, {"work": {"qubes-timezone": None, "qubes-service/cups": False, "vm-config/x": "1", "qubes-restore-complete": "1"}})
    assert result["qubes"]["work"]["lasts"] == {
        "qubes-restore-complete": "until_restart", "qubes-service/cups": "until_netvm_change", "qubes-timezone": "until_netvm_change",
        "vm-config/x": "until_netvm_change"}
    assert result["qubes"]["work"]["effective"]["vm-config/x"] == "now"
    warning, = result["warnings"]
    for text in ("feature anon-timezone", "feature service.cups", "feature vm-config.x", "until qubesd writes the key again"):
        assert text in warning
    assert "warnings" not in applied(qubes, {"work": {"qubes-timezone": None}})
    assert "no setting" in applied(qubes, {"work": {"qubes-restore-complete": None}})["warnings"][0]


# -- which qubes there are --


def test_the_qubes_are_the_sockets(qubes):
    qubes.add("x.ro", {})
    qubes.add("dom0", {"name": "dom0"})
    assert os.path.realpath(os.path.join(qubes.folder, "qubesdb.sock")) == os.path.join(qubes.folder, "qubesdb.dom0.sock")
    for name in ("qubesdb.sock.pid", "qubesdb..sock", "qubesdb.-x.sock", "qubesdb.a b.sock", "other.sock"):
        with open(os.path.join(qubes.folder, name), "w", encoding="ascii"):
            pass
    with store_of(qubes) as store:
        assert store.qubes() == store.scope() == ["dom0", "personal", "work", "x.ro"]
        assert store.missing(["work", "../work", "self", "7", "x.ro", "work.ro"]) == ["../work", "7", "work.ro"]
        assert read(store, "name", qube="self") == {"name": b"dom0"}


def test_inside_a_qube():
    with qubesdblab.QubesdbLab() as lab:
        lab.add_own({"qubes-vm-type": "AppVM", "qubes-timezone": "UTC"})
        with store_of(lab) as store:
            assert (store.qubes(), store.scope(), store.missing(["self", "work"])) == ([], ["self"], ["work"])
            assert _inspect.read(store, None, _inspect.selected(["qubes-timezone"]))["self"].values == {"qubes-timezone": b"UTC"}
            with pytest.raises(QubeMissing, match="'work'.*qubesdb.work.sock.*none"):
                read(store, "qubes-timezone")
        applied(lab, {"self": {"qubes-timezone": "Asia/Tokyo"}})
        assert lab.keys("self")["qubes-timezone"] == b"Asia/Tokyo"
        assert lab.violations("self") == []


def test_a_self_without_the_interface(qubes):
    with store_of(qubes) as store:
        with pytest.raises(QubeMissing, match="'self'.*qubesdb.sock.*'personal', 'work'"):
            _inspect.read(store, ["self"], _inspect.selected([]))
        qubes.add_own({"vm-config/x": "1"})
        with pytest.raises(StoreError, match="no VM configuration interface.*qubes-vm-type and type"):
            _inspect.read(store, ["self"], _inspect.selected([]))
    for check_mode in (True, False):
        says = ["no VM configuration interface", "qubes-vm-type and type", "nothing was written"]
        complains(qubes, {"self": {"vm-config/x": "2"}}, says, check_mode=check_mode)
    assert qubes.keys("self") == {"vm-config/x": b"1"}


@pytest.mark.parametrize("wanted", [["work"], ["self"], []])
def test_auto_takes_qubesdb_before_xenstore(qubes, lab, monkeypatch, wanted):
    monkeypatch.setenv("XENSTORED_PATH", lab.socket)
    monkeypatch.setattr(opening, "QUBESDB", qubes.folder)
    qubes.add_own({"type": "AppVM"})
    assert opened("auto", qubes=wanted).url == "qubesdb://" + qubes.folder
    assert opened("qubesdb", qubes=wanted).folder == qubes.folder
    for qube in ("work", "personal", "self"):
        qubes.end(qube)
    assert opened("auto", qubes=wanted).kind == "xenstore"


def test_auto_that_finds_nothing_says_where_it_looked(tmp_path, monkeypatch):
    monkeypatch.setenv("XENSTORED_PATH", str(tmp_path / "none"))
    monkeypatch.setattr(opening, "QUBESDB", str(tmp_path))
    monkeypatch.setattr(opening, "XENBUS", (str(tmp_path / "bus"),))
    with pytest.raises(StoreError) as caught:
        opened("auto", qubes=["self"])
    for text in ("'self'", str(tmp_path / "qubesdb.sock"), str(tmp_path / "none"), str(tmp_path / "bus"), "qubesdb:///DIR"):
        assert text in str(caught.value)


@pytest.mark.parametrize("url", ["qubesdb://", "qubesdb:work", "qubesdb://host/x", "qubesdb:///x\0y"])
def test_a_url_that_names_no_store(url):
    with pytest.raises(Refused, match="qubesdb:///DIR"):
        opened(url)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(StoreError, match="cannot be listed: No such file"):
        opened("qubesdb://%s/none" % tmp_path).qubes()


# -- a daemon that is not well --


def test_a_daemon_that_ended(qubes):
    qubes.end("work")
    complains(qubes, says=["'work'", qubes.url, "'personal'", "running qubes alone"])
    assert applied(qubes, {"work": {"qubes-timezone": "UTC"}}, missing="skip")["missing"] == ["work"]


def test_a_daemon_that_was_killed(qubes):
    qubes.kill("work")
    complains(qubes, says=["'work'", qubes.url, "left the socket behind", "qubesdb-daemon", "nothing was written"])


def test_a_daemon_that_hangs(qubes):
    qubes.freeze("work")
    complains(qubes, says=["'work'", qubes.url, "0.6 seconds", "store_timeout", "nothing was written"])


def test_a_daemon_that_has_no_room_for_another_client(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as queue:
        listener.bind(str(tmp_path / "qubesdb.work.sock"))
        listener.listen(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                client = queue.enter_context(socket.socket(socket.AF_UNIX))
                client.setblocking(False)
                client.connect(str(tmp_path / "qubesdb.work.sock"))
        with within(TIMEOUT + GRACE), pytest.raises(StoreError, match="accept a connection within 0.6 seconds"):
            apply(opened("qubesdb://%s" % tmp_path, TIMEOUT), Task({"work": {"qubes-timezone": "UTC"}}))


MISBEHAVING = {
    "stalls": ("stall", {}),
    "hangs up": ("close", {}),
    "cuts a header": ("cut", {"size": 20}),
    "cuts before the end marker": ("cut", {"size": 73}),
    "sends half a header": ("half", {"size": 20}),
    "sends half a value": ("half", {"size": 74}),
    "refuses": ("error", {}),
    "sends noise": ("noise", {"data": bytes(range(256)) * 20}),
    "speaks HTTP": ("noise", {"data": b"HTTP/1.1 400 Bad Request\r\n\r\n" * 5}),
    "sends zeros": ("noise", {"data": bytes(500)}),
    "answers with another type": ("retype", {"reply_kind": "OK"}),
    "answers with no type": ("retype", {"reply_kind": 200}),
    "claims a huge length": ("length", {"reply_length": 0xFFFFFFFF}),
    "claims a length beyond the limit": ("length", {"reply_length": 3072}),
    "never ends a list": ("endless", {}),
    "dies": ("die", {}),
}


@pytest.mark.parametrize("kind", ["READ", "MULTIREAD"])
@pytest.mark.parametrize("behaviour", MISBEHAVING)
def test_reading_from_a_daemon_that(qubes, behaviour, kind):
    if behaviour == "never ends a list" and kind == "READ":
        # A READ has no list, and an answer to something else is noise.
        behaviour = "sends noise"
    action, arguments = MISBEHAVING[behaviour]
    qubes.rule("work", action, kind=kind, **arguments)
    name = "qubes-timezone" if kind == "READ" else "qubes-service/*"
    most = qubesdbwire.SLOWEST_REPLY if behaviour == "never ends a list" else 1
    with store_of(qubes, TIMEOUT) as store, within(most * TIMEOUT + GRACE), pytest.raises(SomeUnread) as caught:
        store.read({"work": select(name), "personal": select("qubes-timezone")})
    assert caught.value.found["personal"].values == {"qubes-timezone": b"Europe/Warsaw"}
    assert list(caught.value.failed) == ["work"]
    assert "'work'" in str(caught.value)
    assert str(caught.value).isprintable()


def test_an_answer_for_another_key(qubes):
    for kind, name in (("READ", "qubes-timezone"), ("MULTIREAD", "qubes-service/*")):
        qubes.rule("work", "repath", kind=kind, reply_path="/other")
        with store_of(qubes, TIMEOUT) as store, pytest.raises(SomeUnread, match="out of step"):
            read(store, name)


def test_a_request_that_timed_out_is_not_sent_again(qubes):
    qubes.rule("work", "stall")
    complains(qubes)
    assert sent(qubes) == [("READ", "/qubes-timezone", "ro")]


def test_more_than_is_read_is_taken_in_to_its_end(qubes, monkeypatch):
    """Hanging up in the middle would end a real daemon: the peer notices, and the fixture fails. It is not asked for twice."""
    monkeypatch.setattr(qubesdbwire, "LARGEST_REPLY", 4096)
    qubes.add("large", {"vm-config/k%d" % number: "x" * 1000 for number in range(2000)})
    with store_of(qubes) as store, pytest.raises(SomeUnread, match="'large': its keys are more than 4096 bytes") as caught:
        store.read({"large": select("vm-config/*"), "work": select("vm-config/*")})
    assert "see that" not in str(caught.value)
    assert [entry.kind for entry in qubes.requests("large")] == ["MULTIREAD"]


def test_a_refusal_to_read_is_not_asked_for_again(qubes):
    qubes.rule("work", "error", kind="READ", times=1)
    error = complains(qubes, says=["'work'", "it refuses to tell '/qubes-timezone'"])
    assert "see that its qubesdb-daemon runs" not in str(error)


def test_too_many_open_files(qubes):
    """There is room for one more, and two qubes to read."""
    lowest_free = os.dup(0)
    os.close(lowest_free)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with store_of(qubes, TIMEOUT) as store:
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + 1, limits[1]))
        try:
            with pytest.raises(SomeUnread, match="'personal'.*cannot be opened: Too many open files") as caught:
                store.read({qube: select("qubes-timezone") for qube in SEED})
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert caught.value.found["work"].values == {"qubes-timezone": b"UTC"}


def test_what_was_not_sent_is_not_called_perhaps_written(qubes):
    """The peer answers none of the writes, so that no more than the window are sent."""
    qubes.rule("work", "stall", kind="WRITE")
    error = complains(qubes, {"work": {"vm-config/k%02d" % number: "1" for number in range(48)}}, ["perhaps written too: 'vm-config/k00'", "'vm-config/k31'"])
    assert "'vm-config/k32'" not in str(error)


def test_events_that_nobody_asked_for(qubes):
    for qube in SEED:
        qubes.rule(qube, "event", event_path="/qubes-timezone")
    assert applied(qubes, {"work": {"qubes-timezone": "Asia/Tokyo", "vm-config/x": "1"}, "personal": {"qubes-service/a": True}})["changed"]
    assert qubes.keys("work") == {**WORK, "qubes-timezone": b"Asia/Tokyo", "vm-config/x": b"1"}


def test_a_slow_daemon_is_no_silent_one(qubes):
    """Each answer comes in time; all of them together take longer than one may."""
    qubes.rule("work", "lag", kind="WRITE", seconds=0.15)
    with within(5):
        assert applied(qubes, {"work": {"vm-config/k%d" % number: "1" for number in range(8)}}, TIMEOUT)["changed"]


def test_a_long_answer_that_comes_slowly_is_no_silence(qubes):
    """More than one timeout in all, in pieces that each come in time."""
    qubes.add("large", {"vm-config/k%d" % number: "x" * 100 for number in range(10)})
    qubes.rule("large", "drip", kind="MULTIREAD", seconds=0.1)
    with store_of(qubes, 0.5) as store, within(3):
        assert len(store.read({"large": select("vm-config/*")})["large"].values) == 10


def test_an_answer_that_came_while_this_process_was_stopped_is_taken(qubes):
    """It is more than is received at once, and the time is over when the process goes on."""
    qubes.add("large", {"vm-config/k%d" % number: "x" * 3000 for number in range(400)})
    code = """
import os, signal, sys, threading
from harness import opened, select
store = opened(sys.argv[1], 0.5)
threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGSTOP)).start() if sys.argv[2] == "stop" else None
qubes = store.read({"large": select("vm-config/*"), "slow": select("vm-config/*")})
print(len(qubes["large"].values))
"""
    qubes.add("slow")
    qubes.rule("large", "lag", seconds=0.3)
    qubes.rule("slow", "lag", seconds=0.35)
    with subprocess.Popen([sys.executable, "-c", code, qubes.url, "stop"], stdout=subprocess.PIPE, env=dict(
            os.environ, PYTHONPATH=os.pathsep.join(sys.path))) as process, within(5):
        wait_until(lambda: open("/proc/%d/stat" % process.pid, encoding="ascii").read().split()[2] == "T")
        time.sleep(1)
        process.send_signal(signal.SIGCONT)
        assert process.communicate()[0] == b"400\n"


# -- one that is stuck, and the others --

FLEET = {"vm%02d" % number: {"qubes-timezone": "UTC"} for number in range(40)}


@pytest.fixture(name="fleet")
def forty_qubes(qubes):
    qubes.add_many(FLEET)
    return qubes


@pytest.mark.parametrize("check_mode", [False, True])
def test_stuck_while_it_is_read(fleet, check_mode):
    fleet.freeze("vm07")
    fleet.kill("vm08")
    declared = {qube: {"qubes-timezone": "Asia/Tokyo"} for qube in FLEET}
    error = complains(fleet, declared, ["'vm07', 'vm08'", "0.6 seconds", "left the socket behind"], check_mode=check_mode)
    assert isinstance(error, Stopped)
    assert sorted(error.result["qubes"]) == sorted(set(FLEET) - {"vm07", "vm08"})
    written = b"UTC" if check_mode else b"Asia/Tokyo"
    assert {fleet.keys(qube)["qubes-timezone"] for qube in set(FLEET) - {"vm07", "vm08"}} == {written}
    assert all(fleet.writes(qube) == [] for qube in ("vm07", "vm08"))


def test_stuck_while_it_is_written(fleet):
    for qube in ("vm03", "vm04", "vm05"):
        fleet.rule(qube, "stall", kind="WRITE")
    error = complains(fleet, {qube: {"qubes-timezone": "Asia/Tokyo"} for qube in FLEET}, ["'vm03', 'vm04', 'vm05'", "store_timeout", "perhaps written"])
    assert sorted(error.result["qubes"]) == sorted(set(FLEET))
    assert {fleet.keys(qube)["qubes-timezone"] for qube in set(FLEET) - {"vm03", "vm04", "vm05"}} == {b"Asia/Tokyo"}


def test_the_others_are_written_while_one_is_stuck(fleet):
    """The healthy ones long before the stuck one's time is over, and that one when it answers."""
    fleet.freeze("vm07")
    others = sorted(set(FLEET) - {"vm07"})
    with store_of(fleet, 6) as store, ThreadPoolExecutor(1) as pool, within(5):
        running = pool.submit(apply, store, Task({qube: {"qubes-timezone": "Asia/Tokyo"} for qube in FLEET}))
        wait_until(lambda: all(fleet.keys(qube)["qubes-timezone"] == b"Asia/Tokyo" for qube in others))
        assert not running.done()
        # Who only waits for a stuck one holds up no other run.
        with locked(Lock("", fleet.folder, 1)):
            pass
        fleet.thaw("vm07")
        result = running.result()
    assert sorted(result["qubes"]) == sorted(FLEET)
    assert fleet.keys("vm07")["qubes-timezone"] == b"Asia/Tokyo"


def test_what_a_late_one_is_refused_for_is_its_own_failure(fleet):
    fleet.put("vm07", "qubes-vm-type", "NetVM")
    fleet.freeze("vm07")
    with store_of(fleet, 6) as store, ThreadPoolExecutor(1) as pool, within(5):
        running = pool.submit(apply, store, Task({"vm07": {"qubes-vm-type": "AppVM"}, "vm08": {"qubes-timezone": "Asia/Tokyo"}}, diff=True))
        wait_until(lambda: fleet.keys("vm08")["qubes-timezone"] == b"Asia/Tokyo")
        fleet.thaw("vm07")
        with pytest.raises(Stopped, match="(?s)'vm07'.*force: true.*written: 'vm08'") as caught:
            running.result()
    assert fleet.writes("vm07") == []
    assert sorted(caught.value.result["qubes"]) == ["vm08"]
    assert [entry["after"] for entry in caught.value.result["diff"]] == ["qubes-timezone: 'Asia/Tokyo'\n"]
    assert "until qubesd writes" in caught.value.result["warnings"][0]


def test_while_the_folder_is_locked_the_late_ones_are_heard(fleet):
    """What a late one answers meanwhile is taken, however much it is, so that its daemon need not wait."""
    for number in range(400):
        fleet.put("vm07", "vm-config/k%d" % number, "x" * 3000)
    fleet.rule("vm07", "lag", seconds=0.3)
    with locked(Lock("", fleet.folder, 1)):
        error = complains(fleet, {qube: {"qubes-timezone": "Asia/Tokyo"} for qube in ("vm07", "vm08")}, ["cannot be locked", "another process"],
                          purge=["vm-config/"])
    assert "does not answer" not in str(error)
    assert fleet.writes("vm07") == fleet.writes("vm08") == []


def test_a_stuck_self_holds_up_no_other(qubes):
    qubes.add_own({"qubes-vm-type": "AppVM"})
    qubes.freeze("self")
    complains(qubes, {"self": {"vm-config/x": "1"}, "work": {"vm-config/x": "1"}}, ["qube 'self'", "written: 'work'"])
    assert qubes.keys("work")["vm-config/x"] == b"1"


def test_a_refusal_waits_for_the_answers_under_way(fleet):
    """Nothing is written, and the stuck one's connection is not cut off."""
    fleet.rule("vm07", "lag", seconds=0.4)
    fleet.put("vm08", "qubes-vm-type", "NetVM")
    complains(fleet, {"vm07": {"qubes-timezone": "Asia/Tokyo"}, "vm08": {"qubes-vm-type": "AppVM"}}, ["'vm08'", "force: true", "Nothing was written"])
    assert fleet.writes("vm07") == fleet.writes("vm08") == []


def test_ended_between_reading_and_writing(qubes):
    with store_of(qubes) as store:
        task = Task({qube: {"qubes-timezone": "Asia/Tokyo"} for qube in SEED})
        update_all = store.update_all

        def end_when_reviewed(updates, review):
            def reviewed(qube, snapshot):
                if qube == "work":
                    qubes.end("work")
                return review(qube, snapshot)
            return update_all(updates, reviewed)

        store.update_all = end_when_reviewed
        with pytest.raises(Stopped, match="'work' is not in.*written: 'personal'") as caught:
            apply(store, task)
    assert list(caught.value.result["qubes"]) == ["personal"]
    assert qubes.keys("personal")["qubes-timezone"] == b"Asia/Tokyo"


def test_reading_goes_on_without_the_stuck_one(fleet, tmp_path):
    fleet.freeze("vm07")
    results = play(tmp_path, {"info": keys_info(keys=["qubes-timezone"], store=fleet.url, store_timeout=TIMEOUT)}).results
    assert results["info"]["failed"] is True
    assert "'vm07'" in results["info"]["msg"]
    assert "vm08" not in results["info"]["msg"]
    assert sorted(results["info"]["qubes"]) == sorted({*FLEET, *SEED} - {"vm07"})
    assert results["info"]["qubes"]["vm08"]["config"] == {"timezone": "UTC"}


# -- a write that fails in the middle --

DECLARED = {"work": {"qubes-timezone": "Asia/Tokyo", "qubes-service/cups": None, "vm-config/a": "1", "vm-config/b": "2", "vm-config/z": "3"}}


def test_what_was_written_before_a_refusal_is_undone(qubes):
    qubes.rule("work", "error", kind="WRITE", path="/vm-config/b")
    complains(qubes, DECLARED, ["'work'", "refuses 'vm-config/b'", "none of the qube's keys was changed"])
    assert qubes.keys("work") == WORK
    qubes.unrule("work")
    assert applied(qubes, DECLARED)["changed"]
    assert qubes.keys("work") == {"qubes-timezone": b"Asia/Tokyo", "vm-config/a": b"1", "vm-config/b": b"2", "vm-config/z": b"3"}


def test_what_somebody_else_wrote_meanwhile_is_not_undone(qubes):
    qubes.rule("work", "error", kind="WRITE", path="/vm-config/b")
    # Read before the task writes, when it writes, and when it undoes that.
    qubes.rule("work", "lag", kind="READ", path="/vm-config/z", skip=2, seconds=0.4)
    timer = threading.Timer(0.2, qubes.put, ("work", "qubes-timezone", "Europe/Paris"))
    timer.start()
    complains(qubes, DECLARED, ["none of the qube's keys was changed"])
    timer.join()
    assert qubes.keys("work") == {**WORK, "qubes-timezone": b"Europe/Paris"}


def test_what_cannot_be_undone_is_named_and_reported(qubes):
    qubes.rule("work", "error", kind="WRITE", path="/vm-config/b")
    qubes.rule("work", "error", kind="RM", path="/vm-config/a")
    error = complains(qubes, DECLARED, ["refuses 'vm-config/b'", "these changes stand: 'vm-config/a'"])
    assert error.result["qubes"]["work"]["changed_keys"] == ["vm-config/a"]
    assert error.result["changed"] is True
    assert qubes.keys("work") == {**WORK, "vm-config/a": b"1"}


def test_an_undo_that_is_cut_off_says_what_is_not_known(qubes):
    """Taken back in reverse: z is, and then the daemon keeps silent."""
    qubes.rule("work", "error", kind="WRITE", path="/vm-config/b")
    qubes.rule("work", "stall", kind="RM", path="/vm-config/a")
    error = complains(qubes, DECLARED, ["refuses 'vm-config/b'", "does not answer within 0.6 seconds", "perhaps undone: 'vm-config/a'"], grace=TIMEOUT)
    assert "vm-config/z" not in str(error)
    assert set(error.result["qubes"]["work"]["changed_keys"]) == {"qubes-timezone", "qubes-service/cups", "vm-config/a"}


@pytest.mark.parametrize("action", ["stall", "die", "close"])
def test_what_stands_after_a_daemon_was_lost_is_named(qubes, action):
    qubes.rule("work", "lag", kind="WRITE", path="/vm-config/[ab]", seconds=0.05)
    qubes.rule("work", action, kind="WRITE", path="/vm-config/z")
    stands = "these changes stand: 'qubes-service/cups', 'qubes-timezone', 'vm-config/a', 'vm-config/b'"
    error = complains(qubes, DECLARED, ["'work'", stands, "perhaps written too: 'vm-config/z'"])
    assert set(error.result["qubes"]["work"]["changed_keys"]) == {"qubes-timezone", "qubes-service/cups", "vm-config/a", "vm-config/b"}


@pytest.mark.parametrize("applied_first", [False, True])
def test_a_connection_that_is_lost_once_is_no_failure(qubes, applied_first):
    qubes.rule("work", "close", kind="WRITE", path="/vm-config/b", times=1, applied=applied_first)
    result = applied(qubes, DECLARED)
    assert result["qubes"]["work"]["changed_keys"] == ["qubes-service/cups", "qubes-timezone", "vm-config/a", "vm-config/b", "vm-config/z"]
    assert qubes.keys("work") == {"qubes-timezone": b"Asia/Tokyo", "vm-config/a": b"1", "vm-config/b": b"2", "vm-config/z": b"3"}
    assert not applied(qubes, DECLARED)["changed"]


def test_a_daemon_that_comes_back_empty_gets_all_of_it(qubes):
    qubes.rule("work", "restart", kind="WRITE", path="/vm-config/b", times=1)
    with within(5):
        try:
            applied(qubes, DECLARED)
        except Stopped:
            # It may be asked in the moment in which nobody listens.
            applied(qubes, DECLARED)
    assert qubes.keys("work") == {"qubes-timezone": b"Asia/Tokyo", "vm-config/a": b"1", "vm-config/b": b"2", "vm-config/z": b"3"}


@pytest.mark.parametrize("kind, path", [("WRITE", "/vm-config/b"), ("RM", "/vm-config/gone")])
def test_a_daemon_that_comes_back_empty_at_the_first_change(qubes, kind, path):
    """What was right in the daemon before has to be written too, and what was to be removed is not there."""
    qubes.restart("work", {"qubes-timezone": "Asia/Tokyo", "vm-config/a": "1", "vm-config/gone": "1"})
    qubes.clear("work")
    qubes.rule("work", "restart", kind=kind, path=path, times=1)
    declared = {"work": {"qubes-timezone": "Asia/Tokyo", "vm-config/a": "1", "vm-config/b": "2", "vm-config/gone": None}}
    with within(5):
        try:
            applied(qubes, declared)
        except Stopped:
            # It may be asked in the moment in which nobody listens.
            applied(qubes, declared)
    assert qubes.keys("work") == {"qubes-timezone": b"Asia/Tokyo", "vm-config/a": b"1", "vm-config/b": b"2"}


# -- answers that come late --


@pytest.fixture(name="mortal")
def daemon_that_a_sigpipe_ends():
    """As the real one, where it was not started with the signal ignored: it really dies. It serves one qube."""
    with qubesdblab.QubesdbLab() as lab:
        lab.add("work", WORK)
        lab.expose()
        yield lab


def takers():
    """The processes that take late answers, by their numbers."""
    found = set()
    for number in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open("/proc/%s/cmdline" % number, "rb") as stream:
            if late.MARK.encode() in stream.read():
                found.add(int(number))
    return found


@contextlib.contextmanager
def taken_by_one():
    """In the block one process more takes late answers, and at its end, soon, no more."""
    before = takers()
    found = []
    yield found
    within_seconds = time.monotonic() + 10
    while takers() - before and time.monotonic() < within_seconds:
        time.sleep(0.02)
    assert not takers() - before


SILENT = {
    "reading": lambda store: read(store, "qubes-timezone", "vm-config/*"),
    "reading all": lambda store: _inspect.read(store, ["*"], select("*")),
    "writing": lambda store: change(store, {"qubes-timezone": b"Asia/Tokyo"}),
    "a task": lambda store: apply(store, Task({"work": {"qubes-timezone": "Asia/Tokyo"}})),
    "watching": lambda store: store.watch("work", "qubes-timezone"),
}


@pytest.mark.parametrize("task", SILENT)
def test_a_daemon_that_was_silent_for_too_long_lives_when_it_goes_on(mortal, task):
    with taken_by_one(), store_of(mortal, TIMEOUT) as store:
        mortal.freeze("work")
        with within(TIMEOUT + GRACE), pytest.raises(StoreError, match="store_timeout"):
            SILENT[task](store)
        mortal.thaw("work")
        time.sleep(0.1)
        assert mortal.died() is None
        assert mortal.keys("work") == WORK
        # And what it answered late is no answer to what is asked next.
        assert read(store, "qubes-timezone", "qubes-service/cups") == WORK


def test_a_daemon_that_is_silent_after_a_write_lives_and_has_done_it(mortal):
    with store_of(mortal, TIMEOUT) as store, taken_by_one():
        read(store, "qubes-timezone")
        update = store._daemon("work").update

        def frozen_before_it_writes(reading, replan):
            return update(reading, lambda found: (mortal.freeze("work"), replan(found))[1])

        store._daemon("work").update = frozen_before_it_writes
        with within(TIMEOUT + GRACE), pytest.raises(StoreError, match="perhaps"):
            change(store, {"qubes-timezone": b"Asia/Tokyo", "vm-config/x": b"1"})
        mortal.thaw("work")
        wait_until(lambda: mortal.keys("work").get("vm-config/x") == b"1")
        assert mortal.died() is None


def test_an_answer_of_megabytes_that_comes_late_is_taken_to_its_end(mortal):
    for number in range(1000):
        mortal.put("work", "vm-config/k%03d" % number, b"x" * 3000)
    with taken_by_one(), store_of(mortal, TIMEOUT) as store:
        mortal.freeze("work")
        with pytest.raises(StoreError, match="store_timeout"):
            read(store, "vm-config/*")
        mortal.thaw("work")
    assert mortal.died() is None


def test_without_one_who_takes_it_the_late_answer_ends_the_daemon(mortal, monkeypatch):
    """The peer really dies, so the tests above say something."""
    monkeypatch.setattr(late, "take", lambda connection: connection.close())
    with store_of(mortal, TIMEOUT) as store:
        mortal.freeze("work")
        with pytest.raises(StoreError, match="store_timeout"):
            read(store, "qubes-timezone")
        with contextlib.suppress(qubesdblab.LabError):
            mortal.thaw("work")
        wait_until(lambda: mortal.died() is not None)
    assert mortal.died() == signal.SIGPIPE


def test_a_task_that_is_ended_leaves_no_daemon_to_die(mortal):
    """By an exception in it, such as Ctrl-C is."""
    def interrupted(signal_number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupted)
    try:
        with taken_by_one(), store_of(mortal) as store:
            mortal.freeze("work")
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(KeyboardInterrupt):
                read(store, "qubes-timezone")
            mortal.thaw("work")
            time.sleep(0.1)
            assert mortal.died() is None
    finally:
        signal.signal(signal.SIGALRM, before)


def test_who_takes_late_answers_does_so_for_a_while(qubes, monkeypatch):
    monkeypatch.setattr(late, "SECONDS", 1)
    qubes.freeze("work")
    before = takers()
    with store_of(qubes, TIMEOUT) as store, pytest.raises(StoreError):
        read(store, "qubes-timezone")
    found = takers() - before
    assert len(found) == 1
    with within(4):
        wait_until(lambda: not takers() & found)
    qubes.thaw("work")


def test_who_takes_late_answers_takes_no_more_than_is_agreed_on(qubes, monkeypatch):
    monkeypatch.setattr(late, "MOST", 200000)
    qubes.rule("work", "endless")
    before = takers()
    with store_of(qubes, TIMEOUT) as store, pytest.raises(StoreError):
        read(store, "vm-config/*")
    with within(10):
        wait_until(lambda: not takers() - before)


def test_who_takes_late_answers_is_small_and_keeps_nothing_else(fleet):
    """One process for all daemons; it holds their connections and no other descriptor, and no pipe that somebody waits for."""
    names = ["vm%02d" % number for number in range(5)]
    for name in names:
        fleet.freeze(name)
    before = takers()
    waits, told = os.pipe()
    os.set_inheritable(told, True)
    with store_of(fleet, TIMEOUT) as store, pytest.raises(SomeUnread):
        store.read({name: select("qubes-timezone") for name in fleet.qubes()})
    os.close(told)
    os.set_blocking(waits, False)
    assert os.read(waits, 1) == b""
    os.close(waits)
    number, = takers() - before
    links = {int(name): os.readlink("/proc/%d/fd/%s" % (number, name)) for name in os.listdir("/proc/%d/fd" % number)}
    assert {links.pop(stream) for stream in (0, 1, 2)} == {"/dev/null"}
    assert [link.partition(":")[0] for link in links.values()] == ["socket"] * len(names)
    with open("/proc/%d/status" % number, encoding="ascii") as stream:
        status = dict(line.split(":", 1) for line in stream)
    print("resident memory of who takes late answers:", status["VmRSS"].strip())
    assert int(status["VmRSS"].split()[0]) < 20000
    assert os.getsid(number) == number or os.getsid(number) not in (os.getsid(0), 0)
    for name in names:
        fleet.thaw(name)
    with within(10):
        wait_until(lambda: number not in takers())


def test_nobody_waits_for_who_takes_late_answers(qubes, tmp_path):
    """Neither Ansible for its module, nor who started Ansible."""
    qubes.freeze("work")
    before = takers()
    begun = time.monotonic()
    results = play(tmp_path, {
        "info": keys_info(store=qubes.url, qubes=["work"], store_timeout=0.5),
        "lookup": look_up("qubes-timezone", qube="work", store=qubes.url, store_timeout=0.5),
    }).results
    assert "store_timeout" in results["info"]["msg"]
    assert time.monotonic() - begun < late.SECONDS / 2
    assert takers() - before, "a module, and a lookup, leave one behind"
    qubes.thaw("work")
    with within(10):
        wait_until(lambda: not takers() - before)


@pytest.mark.parametrize("goes", ["before it is opened", "while it is read"])
def test_who_ends_while_all_are_read_is_left_out(qubes, goes):
    """Between the listing and the connection, and after it; who was named is an error, and the others are told."""
    for asked in (None, ["*"], ["personal", "*"], ["work", "*"]):
        with store_of(qubes) as store:
            listed = store.qubes

            def end_it():
                found = listed()
                if "work" in found and goes == "before it is opened":
                    qubes.end("work")
                elif "work" in found:
                    qubes.freeze("work")
                    threading.Timer(0.3, qubes.end, ["work"]).start()
                return found

            store.qubes = end_it
            if asked and "work" in asked:
                with pytest.raises(SomeUnread, match="'work' is not in") as caught:
                    _inspect.read(store, asked, select("qubes-timezone"))
                assert list(caught.value.found) == ["personal"]
            else:
                assert list(_inspect.read(store, asked, select("qubes-timezone"))) == ["personal"]
        wait_until(lambda: "work" not in os.listdir(qubes.folder))
        qubes.restart("work", WORK)


def test_one_that_was_killed_is_told_from_one_that_ended(qubes):
    """Its socket is there, so something is wrong with it."""
    qubes.kill("work")
    with store_of(qubes) as store, pytest.raises(SomeUnread, match="left the socket behind") as caught:
        _inspect.read(store, ["*"], select("qubes-timezone"))
    assert list(caught.value.found) == ["personal"]


def test_a_daemon_of_a_qube_called_self_is_not_the_own_one(qubes):
    qubes.add("dom0", {"qubes-timezone": "UTC"})
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(os.path.join(qubes.folder, "qubesdb.self.sock"))
        with store_of(qubes) as store:
            assert store.qubes() == ["dom0", "personal", "work"]


@pytest.mark.parametrize("one, other", [("self", "dom0"), ("dom0", "self"), ("self", "work"), ("work", "alias"), ("alias", "work")])
def test_two_names_of_one_daemon_in_every_task(qubes, one, other):
    qubes.add("dom0", {"qubes-vm-type": "AdminVM"})
    if "work" in (one, other) and "self" in (one, other):
        os.unlink(os.path.join(qubes.folder, "qubesdb.sock"))
        os.symlink("qubesdb.work.sock", os.path.join(qubes.folder, "qubesdb.sock"))
    if "alias" in (one, other):
        os.symlink("qubesdb.work.sock", os.path.join(qubes.folder, "qubesdb.alias.sock"))
    says = "the qubes '%s' and '%s' are the same one; name it once" % (one, other)
    with store_of(qubes) as store:
        for task in (
                lambda: apply(store, Task({"personal": {"vm-config/a": "z"}, one: {"vm-config/a": "x"}, other: {"vm-config/a": "y"}})),
                lambda: apply(store, Task({one: {"vm-config/a": "x"}, other: {"vm-config/a": "x"}}, missing="skip", check_mode=True)),
                lambda: _inspect.read(store, [one, other], select("qubes-timezone"))):
            with pytest.raises(StoreError, match=says):
                task()
    assert not [entry for qube in ("dom0", "work", "personal") for entry in qubes.writes(qube)]


def test_two_names_of_one_daemon(qubes):
    os.symlink("qubesdb.work.sock", os.path.join(qubes.folder, "qubesdb.sock"))
    qubes.put("work", "qubes-vm-type", "AppVM")
    complains(qubes, {"self": {}, "work": {"vm-config/x": "1"}}, ["'self' and 'work' are the same one"])
    os.unlink(os.path.join(qubes.folder, "qubesdb.sock"))


def test_a_rerun_completes_what_a_killed_module_began(qubes):
    """There are no transactions: a module that is killed leaves what it had written."""
    program = (
        "from ansible_collections.qubes.vmconfig.plugins.module_utils._apply import Task, apply\n"
        "from ansible_collections.qubes.vmconfig.plugins.module_utils._stores.opening import open_store\n"
        "apply(open_store(%r, 10.0, ['work']), Task(%r))\n" % (qubes.url, DECLARED))
    qubes.rule("work", "stall", kind="WRITE", path="/vm-config/b")
    with subprocess.Popen([sys.executable, "-c", program]) as process:
        while not any(request.path == "/vm-config/b" for request in qubes.writes("work")):
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert qubes.keys("work")["qubes-timezone"] == b"Asia/Tokyo"
    assert "vm-config/z" not in qubes.keys("work")
    qubes.unrule("work")
    with within(2):
        assert applied(qubes, DECLARED)["qubes"]["work"]["changed_keys"] == ["vm-config/b", "vm-config/z"]


def test_another_run_that_takes_long(qubes):
    qubes.rule("work", "lag", kind="WRITE", seconds=1.2)
    other = threading.Thread(target=applied, args=(qubes, {"work": {"vm-config/y": "1"}}))
    other.start()
    while not qubes.writes("work"):
        time.sleep(0.01)
    complains(qubes, {"personal": {"qubes-timezone": "UTC"}}, ["locked", "another process", "store_timeout", "run again"])
    other.join()
    assert qubes.writes("personal") == []


# -- as a user meets it --


def test_the_plugins(qubes, tmp_path):
    task = {**keys(qubes={"work": {"qubes-timezone": "Asia/Tokyo", "qubes-service/cups": None, "vm-config/x": "{{ '{{' }} 40 + 2 }}"}}), "diff": True}
    played = play(tmp_path, {
        "checked": {**task, "check_mode": True},
        "applied": task,
        "again": task,
        "info": keys_info(raw=True),
        "lookup": look_up(["qubes-timezone"], qube="work", store=qubes.url),
        "no_force": keys(qube="work", keys={"name": "other"}),
        "force": keys(qube="work", keys={"name": "other"}, force=True),
        "access": keys(qube="work", keys={"vm-config/x": "1"}, access="read"),
    }, {"dom0": {"vmconfig_store": qubes.url}})
    results = played.results
    for told in ("changed", "diff", "qubes", "warnings"):
        assert results["checked"][told] == results["applied"][told]
    assert len(results["applied"]["warnings"]) == 1
    assert "feature vm-config.x" in results["applied"]["warnings"][0]
    assert results["again"]["changed"] is False
    assert "warnings" not in results["again"]
    assert results["info"]["qubes"]["work"]["raw"] == {"qubes-timezone": "Asia/Tokyo", "vm-config/x": "{{ 40 + 2 }}"}
    assert said(results["lookup"]) == ["Asia/Tokyo"]
    assert "force: true" in results["no_force"]["msg"]
    assert results["force"]["changed"] is True
    assert "permissions" in results["access"]["msg"]
    assert qubes.keys("work") == {"qubes-timezone": b"Asia/Tokyo", "vm-config/x": b"{{ 40 + 2 }}", "name": b"other"}
