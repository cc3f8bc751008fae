# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What happens when something breaks: one clear error in bounded time, and never half of a qube."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import pytest
import wire
from ansible_collections.qubes.vmconfig.plugins.module_utils import _document
from ansible_collections.qubes.vmconfig.plugins.module_utils._apply import Task, apply
from ansible_collections.qubes.vmconfig.plugins.module_utils._errors import QubeMissing, Refused, Stopped, StoreError, VmconfigError
from ansible_collections.qubes.vmconfig.plugins.module_utils._files import replace_file
from ansible_collections.qubes.vmconfig.plugins.module_utils._plan import Change
from ansible_collections.qubes.vmconfig.plugins.module_utils._stores.base import Update
from harness import FilePlace, change, opened, read, select, within

TIMEOUT = 1.0
GRACE = 1.0  # what the issue allows beyond store_timeout

KEYS = {"vm-config/k%02d" % number: "1" for number in range(30)}


def complains(url, says=(), limit=TIMEOUT + GRACE, task=None):
    """A task on this store ends in time with one clear error, which holds these texts. Returns it."""
    with within(limit), pytest.raises(VmconfigError) as caught:
        apply(opened(url, TIMEOUT), task or Task({"work": {"qubes-timezone": "Asia/Tokyo"}}))
    message = str(caught.value)
    for text in (url, *says):
        assert text in message
    assert message.isprintable()
    return caught.value


# -- a daemon that is not well --


def test_stopped(lab):
    lab.pause()
    complains(lab.url, ["'work'", "1 seconds", "store_timeout", "xenstored"])
    lab.resume()
    assert apply(opened(lab.url), Task({"work": {"qubes-timezone": "Asia/Tokyo"}}))["changed"]


def test_stopped_while_it_is_written_to(lab):
    store = opened(lab.url, TIMEOUT)
    names = ["vm%02d" % number for number in range(40)]
    lab.add_domains([(100 + number, name, {}) for number, name in enumerate(names)])

    turns = itertools.count(1)

    def pause_soon():
        if next(turns) == 10:
            lab.pause()

    stopped = run_while(store, {name: KEYS for name in names}, pause_soon)
    lab.resume()
    assert_reported(lab, stopped, names)
    assert "store_timeout" in str(stopped)


def run_while(store, qubes, before_each):
    """Applies, calling a function before each qube is written, and returns the error that ends it."""
    update = store.update

    def update_after(*args):
        before_each()
        return update(*args)

    store.update = update_after
    with within(TIMEOUT + GRACE + 10), pytest.raises(Stopped) as caught:
        apply(store, Task(qubes))
    return caught.value


def assert_reported(lab, stopped, names):
    """What the error says was written is there, and the rest can be told from it."""
    written = [name for number, name in enumerate(names) if "/local/domain/%d/vm-config/k00" % (100 + number) in lab.ls()]
    assert sorted(stopped.result["qubes"]) == sorted(written) != []
    assert stopped.result["changed"] is True
    message = str(stopped)
    assert "Run again" in message
    broken = names[len(written)]
    assert "'%s'" % broken in message, "the qube in question is not named"


def test_killed_while_it_is_written_to(lab):
    names = ["vm%02d" % number for number in range(40)]
    lab.add_domains([(100 + number, name, {}) for number, name in enumerate(names)])

    turns = itertools.count(1)

    def kill_soon():
        if next(turns) == 10:
            lab.kill()

    stopped = run_while(opened(lab.url, TIMEOUT), {name: KEYS for name in names}, kill_soon)
    assert sorted(stopped.result["qubes"]) == names[:9]
    for text in (lab.url, "'vm09'", "'vm10'", "Run again"):
        assert text in str(stopped)


def test_killed_and_restarted_while_it_is_written_to(lab):
    """The new daemon is empty: nothing may be written as if it were the old one. Who is there again by then is no worse for it."""
    names = ["vm%02d" % number for number in range(40)]
    domains = [(100 + number, name, {}) for number, name in enumerate(names)]
    lab.add_domains(domains)

    turns = itertools.count(1)

    def restart_soon():
        turn = next(turns)
        if turn == 10:
            lab.restart()
        if turn == 20:
            lab.add_domains(domains)

    stopped = run_while(opened(lab.url, TIMEOUT), {name: KEYS for name in names}, restart_soon)
    assert sorted(stopped.result["qubes"]) == names[:9] + names[19:]
    assert [name for name in names if "'%s' restarted meanwhile" % name in str(stopped)] == names[9:19]
    assert sorted({node.split("/")[3] for node in lab.ls() if "vm-config" in node}) == ["%d" % domid for domid in range(119, 140)]
    lab.add_domains(domains)
    assert apply(opened(lab.url), Task({name: KEYS for name in names}))["changed"]


def test_a_new_daemon_between_two_tasks(lab):
    store = opened(lab.url)
    assert read(store, "qubes-timezone") == {"qubes-timezone": b"UTC"}
    lab.restart()
    lab.add_domain(17, "work", {"qubes-timezone": "Asia/Tokyo"})
    assert read(store, "qubes-timezone") == {"qubes-timezone": b"Asia/Tokyo"}


def test_killed(lab):
    lab.kill()
    complains(lab.url, ["xenstored", "refused"])


def test_never_there(tmp_path):
    complains("xenstore://%s/socket" % tmp_path, ["No such file", "xenstored"])


def test_a_socket_that_is_a_file(tmp_path):
    path = tmp_path / "socket"
    path.write_text("")
    complains("xenstore://%s" % path, ["xenstored"])


@pytest.mark.parametrize("path", ["/dev/null", "/dev/zero", "/", "/tmp/" + "x" * 200])
def test_a_socket_that_is_something_else(path):
    complains("xenstore://" + path)


def test_a_socket_that_this_user_may_not_open(lab, tmp_path):
    with as_nobody() as run:
        assert "ermission denied" in run(lambda: complains(lab.url, ["may open it"]))


def test_a_daemon_that_accepts_nobody(tmp_path):
    """Its queue of connections is full."""
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as queue:
        listener.bind(path)
        listener.listen(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                client = queue.enter_context(socket.socket(socket.AF_UNIX))
                client.setblocking(False)
                client.connect(path)
        complains("xenstore://" + path, ["store_timeout", "xenstored"])


# -- a peer that is no xenstored, which the real one cannot be made to be --


class Peer:
    """Answers each request with what a function makes of it: bytes to send, or None to hang up."""

    def __init__(self, path, answer):
        self.url = "xenstore://" + path
        self.requests = []
        self.connections = 0
        self._answer = answer
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(8)
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self):
        self._listener.close()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                self.connections += 1
                with client, contextlib.suppress(OSError):
                    self._converse(client)

    def _converse(self, client):
        stream = client.makefile("rb")
        while True:
            header = stream.read(wire.HEADER.size)
            if len(header) < wire.HEADER.size:
                return
            kind, number, transaction, size = wire.HEADER.unpack(header)
            self.requests.append((kind, stream.read(size)))
            answer = self._answer(kind, number, transaction)
            if answer is None:
                return
            client.sendall(answer)


def packet(kind, number, body, transaction=0, size=None):
    return wire.HEADER.pack(kind, number & 0xFFFFFFFF, transaction, len(body) if size is None else size) + body


PEERS = {
    "hangs up": lambda kind, number, transaction: None,
    "is silent": lambda kind, number, transaction: b"",
    "sends half a header": lambda kind, number, transaction: packet(kind, number, b"")[:7],
    "sends half a body": lambda kind, number, transaction: packet(kind, number, b"7", size=100),
    "promises a huge body": lambda kind, number, transaction: packet(kind, number, b"7", size=0xFFFFFFFF),
    "answers another request": lambda kind, number, transaction: packet(kind, number + 1, b"7\0"),
    "answers another operation": lambda kind, number, transaction: packet(kind + 1, number, b"7\0"),
    "answers twice": lambda kind, number, transaction: packet(kind, number, b"7\0") * 2,
    "sends noise": lambda kind, number, transaction: bytes(range(256)) * 20,
    "speaks HTTP": lambda kind, number, transaction: b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "sends zeros": lambda kind, number, transaction: bytes(5000),
    "refuses in words of its own": lambda kind, number, transaction: packet(wire.ERROR, number, b"\x1b[2J\xff no\0"),
    "refuses without a word": lambda kind, number, transaction: packet(wire.ERROR, number, b""),
    "answers nothing": lambda kind, number, transaction: packet(kind, number, b""),
    "answers with binary": lambda kind, number, transaction: packet(kind, number, b"\xff\x00\x1b\x80"),
    "has a watch event": lambda kind, number, transaction: packet(wire.WATCH_EVENT, 0, b"/x\0token\0"),
}


@pytest.mark.parametrize("task", [
    Task({"work": {"qubes-timezone": "Asia/Tokyo"}}),
    Task({"7": {"qubes-timezone": "Asia/Tokyo"}}),
    Task({"self": {"qubes-timezone": "Asia/Tokyo"}}),
], ids=["a name", "a domid", "self"])
@pytest.mark.parametrize("behaviour", PEERS)
def test_a_peer_that(tmp_path, behaviour, task):
    peer = Peer(str(tmp_path / "socket"), PEERS[behaviour])
    try:
        complains(peer.url, task=task)
    finally:
        peer.close()


def test_a_request_that_timed_out_is_not_sent_again(tmp_path):
    peer = Peer(str(tmp_path / "socket"), PEERS["is silent"])
    complains(peer.url)
    assert peer.connections == 1
    assert len(peer.requests) == len(set(peer.requests))
    peer.close()


def test_a_peer_that_never_ends_a_listing(tmp_path):
    """Each part is an answer, so the peer is not silent; the listing has to end all the same."""

    def answer(kind, number, transaction):
        return packet(wire.ERROR, number, b"E2BIG\0") if kind == 1 else packet(kind, number, b"1\x00name\0")

    peer = Peer(str(tmp_path / "socket"), answer)
    complains(peer.url, limit=TIMEOUT * 3 + GRACE)
    peer.close()


def test_a_qube_that_restarts_again_and_again(tmp_path):
    """Its name is there whenever it is looked for, and gone whenever its keys are read."""
    names = itertools.cycle([b"work", b"other"])

    def answer(kind, number, transaction):
        return packet(kind, number, b"7\0" if kind == 1 else next(names), transaction)

    peer = Peer(str(tmp_path / "socket"), answer)
    with within(TIMEOUT), pytest.raises(StoreError, match="'work' restarted meanwhile. Run again"):
        opened(peer.url, TIMEOUT).read({"work": select()})
    peer.close()


def test_a_commit_that_is_not_answered_is_not_taken_for_done(tmp_path):
    answers = {1: b"7\0", 2: b"work", wire.TRANSACTION_START: b"1\0", wire.WRITE: b"OK\0"}

    def answer(kind, number, transaction):
        return None if kind == wire.TRANSACTION_END else packet(kind, number, answers[kind], transaction)

    peer = Peer(str(tmp_path / "socket"), answer)
    complains(peer.url, ["'work'", "Run again"])
    assert [kind for kind, body in peer.requests].count(wire.TRANSACTION_END) == 1
    peer.close()


# -- the module's own process --

APPLY = """
import json, sys
from ansible_collections.qubes.vmconfig.plugins.module_utils._apply import Task, apply
from ansible_collections.qubes.vmconfig.plugins.module_utils._stores.opening import open_store
url, qubes, rounds = json.load(sys.stdin)
store = open_store(url, 10.0, list(qubes))
print("begun", flush=True)
for turn in range(rounds):
    apply(store, Task({qube: {key: "%s %d" % (value, turn) for key, value in keys.items()} for qube, keys in qubes.items()}))
print("ended", flush=True)
"""


def applying(url, qubes, rounds=1):
    """A process that applies keys again and again, each time with another value."""
    process = subprocess.Popen([sys.executable, "-c", APPLY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")
    process.stdin.write(json.dumps([url, qubes, rounds]))
    process.stdin.close()
    return process


def killed_at_random(url, qubes, seed):
    with applying(url, qubes, 1000) as process:
        assert process.stdout.readline() == "begun\n"
        time.sleep(random.Random(seed).uniform(0.01, 0.15))
        process.kill()
    assert process.returncode == -signal.SIGKILL


def test_kill_9_of_the_module_leaves_all_or_nothing_of_each_qube(lab):
    """Twenty times, at points that differ: a qube's thirty keys always have the value of one and the same run."""
    names = ["vm%02d" % number for number in range(15)]
    lab.add_domains([(100 + number, name, {}) for number, name in enumerate(names)])
    partly = 0
    for seed in range(20):
        killed_at_random(lab.url, {name: {key: str(seed) for key in KEYS} for name in names}, seed)
        found = [set() for name in names]
        nodes = lab.ls("/local/domain")
        for number in range(len(names)):
            found[number] = {nodes.get("/local/domain/%d/%s" % (100 + number, key)) for key in KEYS}
        assert [len(values) for values in found] == [1] * len(names)
        partly += len({value for values in found for value in values}) > 1
    # The test is one only if it caught runs in the middle.
    assert partly >= 3


@pytest.mark.parametrize("suffix", ["json", "yml"])
def test_kill_9_of_the_module_leaves_a_file_old_or_new(tmp_path, suffix):
    path = str(tmp_path / ("store." + suffix))
    place = FilePlace(path, json.dumps, json.loads)
    url = place.url
    if suffix == "yml":
        apply(opened(url), Task({"work": {"qubes-timezone": "Asia/Tokyo"}}))
    for seed in range(5):
        killed_at_random(url, {"work": KEYS, "personal": KEYS}, seed)
        values = read(opened(url), "vm-config/*").values()
        assert len(values) in (0, len(KEYS))
        assert len(set(values)) <= 1
    # What a killed writer left locked or lying about is in nobody's way, and goes.
    with within(2):
        assert change(opened(url), {"vm-config/after": b"1"})
    assert os.listdir(tmp_path) == ["store." + suffix]


UNFINISHED = ".vmconfig-abcdefg%d"


def test_what_no_live_process_holds_is_removed_by_the_next_writer_and_nothing_else(place, tmp_path):
    """What killed runs leave; but not what another writes just now, or what only looks alike."""
    for number in range(3):
        (tmp_path / (UNFINISHED % number)).write_bytes(b"half")
    with open(tmp_path / (UNFINISHED % 3), "wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        others = [".vmconfig-abcdefg", ".vmconfig-abcdefghi", ".vmconfig-ABCDEFGH", "vmconfig-abcdefgh", ".vmconfig-abcdefg0~", "store.json~"]
        for name in others:
            (tmp_path / name).write_bytes(b"other")
        os.mkfifo(tmp_path / (UNFINISHED % 4))
        os.symlink("store.json", tmp_path / (UNFINISHED % 5))
        (tmp_path / (UNFINISHED % 6)).mkdir()
        with within(2), place.untouched():
            read(opened(place.url), "*")
            apply(opened(place.url), Task({"work": {"vm-config/x": "1"}}, check_mode=True))
        assert (tmp_path / (UNFINISHED % 0)).exists(), "who only reads removes nothing"
        with within(2):
            assert change(opened(place.url), {"vm-config/x": b"1"})
        kept = sorted(["store.json", *others, *(UNFINISHED % number for number in (3, 4, 5, 6))])
        assert sorted(os.listdir(tmp_path)) == kept
    assert change(opened(place.url), {"vm-config/x": b"2"})
    assert UNFINISHED % 3 not in os.listdir(tmp_path)


def test_writers_of_one_folder_remove_nothing_of_each_other(tmp_path):
    """Without a lock on it, as those of the records of rpc."""
    failures = []

    def write(number):
        try:
            for turn in range(200):
                replace_file(str(tmp_path / ("file-%d" % number)), b"%d" % turn)
        except Exception as error:  # pylint: disable=broad-except
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    with within(30):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []
    assert sorted(os.listdir(tmp_path)) == ["file-%d" % number for number in range(4)]


def test_a_file_is_read_once_and_written_once_for_all_qubes(place, monkeypatch):
    parsed, written = [], []
    parse, write = _document.parse, _document.write_json
    monkeypatch.setattr(_document, "parse", lambda *args: (parsed.append(1), parse(*args))[1])
    monkeypatch.setattr(_document, "write_json", lambda data: (written.append(1), write(data))[1])
    for number in range(30):
        place.put("work", "vm-config/k%d" % number, b"0")
    qubes = {"vm%d" % number: {} for number in range(200)}
    place._store({**place._data(), **qubes})
    result = apply(opened(place.url), Task({qube: {"vm-config/x": "1"} for qube in [*qubes, "work", "personal"]}))
    assert len(result["qubes"]) == 202
    assert (len(parsed), len(written)) == (1, 1)
    with place.untouched():
        assert not apply(opened(place.url), Task({qube: {"vm-config/x": "1"} for qube in qubes}))["changed"]
    assert (len(parsed), len(written)) == (2, 1)


def test_time_is_linear_in_the_qubes(tmp_path):
    """Eight times as many qubes take no more than about eight times as long; with the square it would be 64."""
    seconds = {}
    for count in (100, 800):
        place = FilePlace(str(tmp_path / "store.json"), json.dumps, json.loads)
        qubes = {"vm%d" % number: {key: "0" for key in KEYS} for number in range(count)}
        place._store(qubes)
        taken = []
        for turn in range(1, 4):
            task = Task({qube: {key: str(turn) for key in KEYS} for qube in qubes})
            begun = time.process_time()
            apply(opened(place.url), task)
            taken.append(time.process_time() - begun)
        seconds[count] = min(taken)
    print("seconds of CPU by the number of qubes:", seconds)
    assert seconds[800] < 8 * seconds[100] * 2


def test_a_refusal_while_the_file_is_locked_leaves_the_other_qubes_to_be_written(place):
    """Somebody changed it meanwhile, in a way that makes the plan for one qube one that is refused."""
    place._store({"work": {"vm-config/x": "0"}, "personal": {"vm-config/x": "0"}, "third": {}})
    store = opened(place.url)

    def plan_of(qube):
        def replan(found):
            if found.values.get("vm-config/x") == b"other":
                raise Refused("qube %s: no" % qube)
            return [Change("vm-config/x", found.values.get("vm-config/x"), b"1")]
        return replan

    def review(qube, found):
        if qube == "third":
            place.put("work", "vm-config/x", b"other")
        return True

    outcome = store.update_all({qube: Update(select("vm-config/x"), plan_of(qube)) for qube in ("work", "personal", "third")}, review)
    assert (list(outcome.done), list(outcome.failed)) == (["personal", "third"], ["work"])
    assert [place.get(qube, "vm-config/x") for qube in ("work", "personal", "third")] == [b"other", b"1", b"1"]


def test_a_qube_that_left_the_file_meanwhile_stops_no_other(place):
    store = opened(place.url)

    def review(qube, found):
        data = place._data()
        data.pop("work", None)
        place._store(data)
        return True

    changes = {qube: Update(select("vm-config/x"), lambda found: [Change("vm-config/x", None, b"1")]) for qube in ("work", "personal")}
    outcome = store.update_all(changes, review)
    assert (list(outcome.done), {qube: type(error) for qube, error in outcome.failed.items()}) == (["personal"], {"work": QubeMissing})
    assert place._data() == {"personal": {"qubes-timezone": "Europe/Warsaw", "vm-config/x": "1"}}


def test_a_file_that_cannot_be_written_is_said_once_for_all_qubes(tmp_path):
    with public_folder() as folder, as_nobody() as run:
        place = FilePlace(os.path.join(folder, "store.json"), json.dumps, json.loads)
        os.chmod(folder, 0o555)
        with place.untouched():
            said = run(lambda: complains(place.url, ["cannot be written"], task=Task({"work": KEYS, "personal": KEYS})))
    assert said.count("cannot be written") == 1
    assert "'work', 'personal'" in said


@pytest.mark.parametrize("name, hint", [("work", True), ("sys-net", True), ("self", False), ("a b", False), ("*", False), ("", False)])
@pytest.mark.parametrize("suffix", ["json", "yml"])
def test_an_empty_file_says_how_a_qube_gets_into_it(tmp_path, suffix, name, hint):
    path = tmp_path / ("store." + suffix)
    path.write_text("{}")
    with pytest.raises(QubeMissing) as caught:
        read(opened("file://%s" % path), "qubes-timezone", qube=name)
    assert "it has no qube yet" in str(caught.value)
    assert ('To add it, write  "%s": {}  into the file' % name in str(caught.value)) is hint
    if hint:
        path.write_text('{"%s": {}}' % name)
        assert change(opened("file://%s" % path), {"qubes-timezone": b"UTC"}, qube=name)


@pytest.mark.parametrize("url", ["file://store.yml", "file://./store.yml", "file://a%20b/store.json", "qubesdb://run/qubes", "xenstore://socket"])
def test_a_path_that_is_not_absolute_is_refused_with_the_absolute_form(tmp_path, monkeypatch, url):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Refused, match="its path has to be absolute") as caught:
        opened(url)
    kind, _slashes, path = url.partition("://")
    absolute = "%s://%s/%s" % (kind, tmp_path, path.replace("./", ""))
    assert absolute + ";" in str(caught.value)
    if kind == "file":
        assert opened(absolute).path == str(tmp_path / path.replace("./", "").replace("%20", " "))


def test_two_runs_on_the_same_keys_both_end(lab):
    names = ["work", "personal"]
    with within(30):
        runs = [applying(lab.url, {name: {key: run for key in KEYS} for name in names}, 30) for run in ("one", "two")]
        for run in runs:
            with run:
                assert run.stdout.read() == "begun\nended\n"
    assert [run.returncode for run in runs] == [0, 0]
    for domid in (7, 8):
        values = {lab.read("/local/domain/%d/%s" % (domid, key)) for key in KEYS}
        assert len(values) == 1
        assert values <= {b"one 29", b"two 29"}


# -- a file --


@pytest.fixture(name="place")
def json_place(tmp_path):
    return FilePlace(str(tmp_path / "store.json"), json.dumps, json.loads)


def test_a_file_that_is_locked(place, tmp_path):
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    with place.untouched():
        complains(place.url, ["locked", "1 seconds", "store_timeout", "run again"])
        # Reading needs no lock: the file is replaced as a whole.
        assert read(opened(place.url), "qubes-timezone") == {"qubes-timezone": b"UTC"}
    threading.Timer(0.3, os.close, [folder]).start()
    with within(TIMEOUT + GRACE):
        assert change(opened(place.url, TIMEOUT), {"qubes-timezone": b"Asia/Tokyo"})


@contextlib.contextmanager
def as_nobody():
    """Runs functions in a child that is not root (who may do anything), and returns what their error says."""

    def run(function):
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            text = "no error"
            try:
                if not os.geteuid():
                    os.setgroups([])
                    os.setgid(65534)
                    os.setuid(65534)
                text = str(function())
            except BaseException as error:  # pylint: disable=broad-except
                text = "wrong: %r" % error
            os.write(writing, text.encode("utf-8", "replace"))
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as stream:
            said = stream.read().decode("utf-8")
        os.waitpid(child, 0)
        assert not said.startswith("wrong: "), said
        return said

    yield run


@contextlib.contextmanager
def public_folder():
    """A folder that others may look into; pytest's own are private."""
    folder = tempfile.mkdtemp()
    os.chmod(folder, 0o755)
    try:
        yield folder
    finally:
        os.chmod(folder, 0o700)
        shutil.rmtree(folder)


def test_a_folder_that_cannot_be_written():
    with public_folder() as folder, as_nobody() as run:
        place = FilePlace(os.path.join(folder, "store.json"), json.dumps, json.loads)
        os.chmod(folder, 0o555)
        with place.untouched():
            assert "ermission denied" in run(lambda: complains(place.url, ["cannot be written", "stands as it was"]))
            assert "no change" in run(lambda: "no change" if not apply(opened(place.url), Task({"work": {"qubes-timezone": "UTC"}}))["changed"] else "")


def test_a_file_that_cannot_be_read():
    with public_folder() as folder, as_nobody() as run:
        place = FilePlace(os.path.join(folder, "store.json"), json.dumps, json.loads)
        os.chmod(place.path, 0)
        assert "ermission denied" in run(lambda: complains(place.url, ["cannot be read"]))
        os.chmod(place.path, 0o600)


@pytest.mark.parametrize("text, says", [
    ("", "mapping"),
    ("[]", "mapping"),
    ("7", "mapping"),
    ("work: {", "neither JSON nor YAML"),
    ('{"work": {"a": "1", "a": "2"}}', "given twice"),
    ('{"": {"qubes-timezone": "UTC"}}', "the name of a qube is ''"),
    ('{" ": {}}', "the name of a qube is ' '"),
    ('{"work": null}', "'work'"),
    ('{"work": ["qubes-timezone"]}', "'work'"),
    ('{"work": "text"}', "'work'"),
    ('{"work": {"qubes-timezone": null}}', "'qubes-timezone'"),
    ('{"work": {"qubes-service/cups": true}}', "'qubes-service/cups'"),
    ('{"work": {"vm-config/x": 12.5}}', "12.5"),
    ('{"work": {"vm-config/x": {"base64": "?"}}}', "'vm-config/x'"),
    ('{"work": {"vm-config/x": {"base64": 7}}}', "'vm-config/x'"),
    ('{"work": {"vm-config/x": {"base64": "", "more": ""}}}', "'vm-config/x'"),
    ('{"work": {"vm-config/x": "\\ud800"}}', "half of a surrogate pair"),
    ("work: {vm-config/x: 12:30}", "750"),
    ("work: {vm-config/x: !!python/name:os.system ''}", "line 1, column 21"),
    ("work: {vm-config/x: !vault x}", "vault"),
])
def test_a_file_of_another_shape(place, text, says):
    with open(place.path, "w", encoding="utf-8") as stream:
        stream.write(text)
    complains(place.url, [says])
    with open(place.path, encoding="utf-8") as stream:
        assert stream.read() == text


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"\x00", b"\x1b[2J: {}"])
def test_a_file_that_is_no_text(place, data):
    with open(place.path, "wb") as stream:
        stream.write(data)
    complains(place.url)


def test_a_value_that_another_tool_left_does_not_matter_until_it_is_asked_for(place):
    place.put("personal", "qubes-timezone", b"../../etc/passwd")
    place.put("personal", "not a name", b"x")
    assert apply(opened(place.url), Task({"work": {"qubes-timezone": "Asia/Tokyo"}}))["changed"]
    assert place.get("personal", "not a name") == b"x"


def test_a_file_that_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("none.json", "no-folder/none.json", "", "pipe"):
        complains("file://%s/%s" % (tmp_path, name))


def test_a_full_disk_leaves_the_old_file(place):
    """No file may grow beyond a limit: a write fails in the middle."""
    program = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))\n"
        "from ansible_collections.qubes.vmconfig.plugins.module_utils._apply import Task, apply\n"
        "from ansible_collections.qubes.vmconfig.plugins.module_utils._stores.opening import open_store\n"
        "try:\n    apply(open_store(%r, 1.0, ['work']), Task({'work': {'vm-config/x': 'x' * 3000}}))\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
    )
    with place.untouched():
        done = subprocess.run([sys.executable, "-B", "-c", program % place.url], check=True, stdout=subprocess.PIPE, encoding="utf-8")
    assert "cannot be written" in done.stdout
    assert "stands as it was" in done.stdout
    assert os.listdir(os.path.dirname(place.path)) == ["store.json"]


def test_the_files_mode_stays_and_a_link_is_followed(place, tmp_path):
    os.chmod(place.path, 0o640)
    link = tmp_path / "elsewhere" / "link.json"
    link.parent.mkdir()
    link.symlink_to(place.path)
    assert change(opened("file://%s" % link), {"qubes-timezone": b"Asia/Tokyo"})
    assert link.is_symlink()
    assert os.stat(place.path).st_mode & 0o7777 == 0o640
    assert place.get("work", "qubes-timezone") == b"Asia/Tokyo"


def test_a_store_error_is_one_of_ours():
    assert issubclass(StoreError, VmconfigError)
