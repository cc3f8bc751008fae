# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The QubesDB lab, shown byte by byte to be what the notes on the protocol say, and what other tests take it for."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import qubesdblab  # noqa: E402

READ, WRITE, MULTIREAD, LIST, RM, WATCH, UNWATCH, OK, NOENT, ERROR, R_READ, R_MULTIREAD, R_LIST, R_WATCH = range(14)
HEADER = struct.Struct("=B64s3sI")
TREE = {"a": "1", "a-x": "2", "a.b": "3", "a/1": "4", "a/10": "5", "a/2": "6", "aa": "7"}
SORTED = [b"/a", b"/a-x", b"/a.b", b"/a/1", b"/a/10", b"/a/2", b"/aa"]
NAMES = itertools.count()


def packet(kind, path=b"", data=b"", padding=b"\0\0\0", length=None):
    return HEADER.pack(kind, path, padding, len(data) if length is None else length) + data


class Raw:
    """One connection, with nothing between the test and the bytes. Silence for `patience` seconds is a TimeoutError."""

    def __init__(self, lab, qube, name="sock", patience=5.0):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(patience)
        self.buffer = b""
        end = time.monotonic() + patience
        while True:
            try:
                self.socket.connect("%s/qubesdb.%s" % (lab.folder, name if qube == "self" else "%s.%s" % (qube, name)))
                break
            except BlockingIOError:  # the backlog is full
                if time.monotonic() < end:
                    time.sleep(0.005)
                    continue
                self.socket.close()
                raise
            except OSError:
                self.socket.close()
                raise

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.socket.close()

    def send(self, *parts, **more):
        self.socket.sendall(packet(*parts, **more))

    def take(self, size):
        while len(self.buffer) < size:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError(self.buffer)
            self.buffer += data
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def raw(self):
        header = self.take(HEADER.size)
        return header, self.take(HEADER.unpack(header)[3])

    def message(self):
        """The next one: its type, path and data."""
        header, data = self.raw()
        kind, path, _padding, _length = HEADER.unpack(header)
        return kind, path.split(b"\0")[0], data

    def ask(self, *parts, **more):
        self.send(*parts, **more)
        return self.message()

    def listed(self, kind, prefix=b""):
        """The messages before the end marker."""
        self.send(kind, prefix)
        found = []
        while True:
            reply = self.message()
            if reply[1] == b"":
                assert reply == ({MULTIREAD: R_MULTIREAD, LIST: R_LIST}[kind], b"", b"")
                return found
            found.append(reply)

    def silent(self, seconds=0.05):
        self.socket.settimeout(seconds)
        try:
            return not self.buffer and not self.socket.recv(1) and False
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(5)

    def ended(self):
        try:
            return not self.buffer and not self.socket.recv(1)
        except ConnectionResetError:
            return True


@pytest.fixture(name="lab", scope="module")
def one_lab():
    with qubesdblab.QubesdbLab() as running:
        yield running


@pytest.fixture(name="qube")
def fresh_qube(lab):
    name = "work%d" % next(NAMES)
    lab.add(name, TREE)
    return name


@pytest.fixture(name="client")
def connected(lab, qube):
    with Raw(lab, qube) as found:
        yield found


def blamed(lab, qube):
    """What for, in one word each."""
    return [violation.split(":")[0] for violation in lab.violations(qube)]


def eventually(condition) -> bool:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return bool(condition())


def gone(pid: int) -> bool:
    try:
        with open("/proc/%d/stat" % pid, encoding="ascii") as stream:
            return stream.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


# -- sockets --


def test_a_qube_has_a_socket_and_its_read_only_twin(lab, qube):
    for name in ("sock", "ro.sock"):
        with Raw(lab, qube, name) as client:
            assert client.ask(READ, b"/a") == (R_READ, b"/a", b"1")


def test_an_older_release_has_no_twin(lab):
    lab.add("old", {}, twin=False)
    assert os.path.exists(lab.folder + "/qubesdb.old.sock")
    assert not os.path.exists(lab.folder + "/qubesdb.old.ro.sock")


def test_inside_a_qube_the_sockets_have_no_name(lab):
    lab.add_own({"name": "work"})
    for name in ("sock", "ro.sock"):
        with Raw(lab, "self", name) as client:
            assert client.ask(READ, b"/name") == (R_READ, b"/name", b"work")
    assert lab.keys("self") == {"name": b"work"}


def test_a_clean_end_leaves_no_socket_and_a_kill_leaves_a_stale_one(lab, qube, client):
    lab.kill(qube)
    assert client.ended()
    with pytest.raises(ConnectionRefusedError):
        Raw(lab, qube)
    lab.restart(qube, {"new": "1"})
    with Raw(lab, qube) as again:
        assert again.listed(LIST) == [(R_LIST, b"/new", b"")]
        lab.end(qube)
        assert again.ended()
    for name in ("sock", "ro.sock"):
        with pytest.raises(FileNotFoundError):
            Raw(lab, qube, name)
    lab.restart(qube)
    assert lab.keys(qube) == {}
    assert lab.violations(qube) == []


# -- messages --


def test_what_follows_a_paths_nul_is_ignored_and_comes_back_in_replies(client):
    client.send(READ, b"/a\0stale/bytes")
    client.send(READ, b"/a\0stale/bytes")
    replies = [client.raw() for _each in range(2)]
    fields = [HEADER.unpack(header) for header, _data in replies]
    assert [(kind, path.split(b"\0")[0], padding, data) for (kind, path, padding, _size), (_header, data) in zip(fields, replies)] == [
        (R_READ, b"/a", b"\0\0\0", b"1")
    ] * 2
    assert sorted(path[3:] == bytes(61) for _kind, path, _padding, _size in fields) == [False, True]


def test_a_path_of_63_bytes_comes_back_whole(client):
    path = b"/" + b"x" * 62
    assert client.ask(WRITE, path, b"1")[:2] == (OK, path)
    assert client.ask(READ, path) == (R_READ, path, b"1")


def test_a_missing_key_is_noent(client):
    assert client.ask(READ, b"/b") == (NOENT, b"/b", b"")
    assert client.ask(READ, b"/a/") == (NOENT, b"/a/", b"")


def test_a_written_value_is_any_byte_but_nul_up_to_3071(lab, qube, client):
    for value in (b"", bytes(range(1, 256)), b"x" * 3071):
        assert client.ask(WRITE, b"/v", value) == (OK, b"/v", b"")
        assert client.ask(READ, b"/v") == (R_READ, b"/v", value)
        assert lab.keys(qube)["v"] == value
    assert lab.violations(qube) == []


def test_multiread_of_everything_descends(client):
    assert client.listed(MULTIREAD) == [(R_MULTIREAD, path, TREE[path[1:].decode()].encode()) for path in reversed(SORTED)]


def test_list_of_everything_ascends_without_data(client):
    assert client.listed(LIST) == [(R_LIST, path, b"") for path in SORTED]


@pytest.mark.parametrize("kind", [MULTIREAD, LIST])
def test_a_prefix_is_plain_text(client, kind):
    assert [path for _kind, path, _data in client.listed(kind, b"/a")] == SORTED
    assert [path for _kind, path, _data in client.listed(kind, b"/a/")] == [b"/a/1", b"/a/10", b"/a/2"]
    assert [path for _kind, path, _data in client.listed(kind, b"/a/1")] == [b"/a/1", b"/a/10"]
    assert not client.listed(kind, b"/b")


def test_rm_takes_one_key_or_a_prefix_or_all(lab, qube, client):
    assert client.ask(RM, b"/a") == (OK, b"/a", b"")
    assert set(lab.keys(qube)) == set(TREE) - {"a"}
    assert client.ask(RM, b"/a/") == (OK, b"/a/", b"")
    assert set(lab.keys(qube)) == {"a-x", "a.b", "aa"}
    assert client.ask(RM, b"/") == (OK, b"/", b"")
    assert not lab.keys(qube)
    assert lab.violations(qube) == []


def test_the_read_only_socket_reads_lists_and_watches(lab, qube):
    with Raw(lab, qube, "ro.sock") as client:
        assert len(client.listed(MULTIREAD)) == len(client.listed(LIST)) == 7
        assert client.ask(WATCH, b"/a") == (OK, b"/a", b"")
        lab.put(qube, "a", "2")
        assert client.message() == (R_WATCH, b"/a", b"")
        assert client.ask(UNWATCH, b"/a") == (OK, b"/a", b"")


# -- what is refused --

REFUSED = {
    "unknown type": (42, b"/a", b""),
    "reply as request": (OK, b"/a", b""),
    "space": (READ, b"/a b", b""),
    "not ascii": (WRITE, b"/\xc3\xa9", b"1"),
    "dash first": (READ, b"-a", b""),
    "3072 bytes": (WRITE, b"/a", b"x" * 3072),
    "NUL": (WRITE, b"/a", b"x\0y"),
    "data with LIST": (LIST, b"/a", b"x"),
    "data with MULTIREAD": (MULTIREAD, b"/a", b"x"),
    "data with RM": (RM, b"/a", b"x"),
    "bad prefix": (MULTIREAD, b"/*", b""),
}


@pytest.mark.parametrize("request_parts", REFUSED.values(), ids=REFUSED)
def test_error_and_the_connection_stays(lab, qube, client, request_parts):
    kind, path, data = request_parts
    assert client.ask(kind, path, data) == (ERROR, path, b"")
    assert client.ask(READ, b"/a") == (R_READ, b"/a", b"1")
    assert blamed(lab, qube) == ["form"]
    assert lab.keys(qube)["a"] == b"1"


@pytest.mark.parametrize("request_parts", [(WRITE, b"/a", b"2"), (RM, b"/a"), (RM, b"/nothing"), (WRITE, b"/", b"")])
def test_the_read_only_socket_refuses_changes_and_stays(lab, qube, request_parts):
    with Raw(lab, qube, "ro.sock") as client:
        assert client.ask(*request_parts) == (ERROR, request_parts[1], b"")
        assert client.ask(READ, b"/a") == (R_READ, b"/a", b"1")
    assert blamed(lab, qube) == ["form"]


@pytest.mark.parametrize("path", [b"a", b"/a/", b"/", b""])
def test_error_then_close_and_requests_behind_it_are_lost(lab, qube, client, path):
    client.socket.sendall(packet(WRITE, path, b"2") + packet(WRITE, b"/behind", b"1"))
    assert client.message() == (ERROR, path, b"")
    assert client.ended()
    assert blamed(lab, qube) == ["form"]
    assert "behind" not in lab.keys(qube)


def test_read_with_data_is_closed_without_an_answer(lab, qube, client):
    client.send(READ, b"/a", b"x")
    assert client.ended()
    assert blamed(lab, qube) == ["form"]


def test_a_path_of_64_bytes_is_cut_to_63(lab, qube, client):
    path = b"/" + b"x" * 63
    assert client.ask(WRITE, path, b"1") == (OK, path[:63], b"")
    assert lab.keys(qube)["x" * 62] == b"1"
    assert blamed(lab, qube) == ["form"]


# -- watches --


def test_the_writer_sees_ok_and_then_its_own_event(client):
    assert client.ask(WATCH, b"/a") == (OK, b"/a", b"")
    client.socket.sendall(packet(WRITE, b"/a", b"1") + packet(READ, b"/a"))
    assert [client.message()[0] for _each in range(3)] == [OK, R_WATCH, R_READ]
    assert client.ask(RM, b"/a") == (OK, b"/a", b"")
    assert client.message() == (R_WATCH, b"/a", b"")


@pytest.mark.parametrize(
    "watch, fired",
    [
        (b"/d/", [b"/d/x", b"/d/x/y", b"/d/"]),
        (b"/d/x", [b"/d/x"]),
        (b"/", [b"/d", b"/d/x", b"/d/x/y", b"/d/"]),
        (b"/d", [b"/d"]),
    ],
)
def test_a_watch_fires_for_its_path_or_prefix(lab, qube, client, watch, fired):
    client.ask(WATCH, watch)
    for key in ("d", "d/x", "d/x/y"):
        lab.put(qube, key, "1")
    lab.remove(qube, "d/")
    assert [client.message() for _path in fired] == [(R_WATCH, path, b"") for path in fired]
    assert client.silent()


def test_each_registration_fires_and_unwatch_takes_one(lab, qube, client):
    client.ask(WATCH, b"/a")
    client.ask(WATCH, b"/a")
    lab.put(qube, "a", "1")
    assert [client.message()[0] for _each in range(2)] == [R_WATCH] * 2
    assert client.ask(UNWATCH, b"/a") == (OK, b"/a", b"")
    lab.put(qube, "a", "1")
    assert client.message() == (R_WATCH, b"/a", b"")
    assert client.ask(UNWATCH, b"/a") == (OK, b"/a", b"")
    assert client.ask(UNWATCH, b"/a") == (NOENT, b"/a", b"")
    lab.put(qube, "a", "1")
    assert client.silent()


def test_what_is_refused_or_missing_fires_nothing(client):
    client.ask(WATCH, b"/")
    assert client.ask(RM, b"/nothing")[0] == NOENT
    assert client.ask(WRITE, b"/a", b"x\0")[0] == ERROR
    assert client.silent()


# -- order --


def test_replies_come_in_the_order_of_the_requests(lab, qube, client):
    client.socket.sendall(b"".join(packet(WRITE, b"/k%d" % number, b"%d" % number) for number in range(32)))
    assert [client.message()[1] for _each in range(32)] == [b"/k%d" % number for number in range(32)]
    client.socket.sendall(packet(RM, b"/k1") + packet(READ, b"/k1") + packet(LIST, b"/k1") + packet(READ, b"/k2"))
    expected = [(OK, b"/k1"), (NOENT, b"/k1")] + [(R_LIST, b"/k1%d" % number) for number in range(10)] + [(R_LIST, b""), (R_READ, b"/k2")]
    assert [client.message()[:2] for _each in expected] == expected
    assert lab.violations(qube) == []


# -- the lab's own calls --


def test_requests_are_logged_as_they_came(lab, qube):
    with Raw(lab, qube) as client:
        client.ask(WRITE, b"/a", b"\xff")
    with Raw(lab, qube, "ro.sock") as client:
        client.ask(READ, b"/a")
        client.ask(42, b"/a")
    assert lab.requests(qube) == [("WRITE", "/a", b"\xff", 1, "rw"), ("READ", "/a", b"", 2, "ro"), ("42", "/a", b"", 2, "ro")]
    assert [(request.kind, request.data) for request in lab.writes(qube)] == [("WRITE", b"\xff")]
    lab.clear(qube)
    assert lab.requests(qube) == lab.violations(qube) == []


def test_put_and_remove_are_the_other_side(lab, qube, client):
    lab.put(qube, "a", b"\xff")
    lab.put(qube, "new/key", "text")
    lab.remove(qube, "aa")
    assert client.ask(READ, b"/a") == (R_READ, b"/a", b"\xff")
    assert client.ask(READ, b"/new/key") == (R_READ, b"/new/key", b"text")
    assert client.ask(READ, b"/aa") == (NOENT, b"/aa", b"")
    assert lab.writes(qube) == []


@pytest.mark.parametrize(
    "call, arguments",
    [
        ("put", ("a/", "1")),
        ("put", ("", "1")),
        ("put", ("x" * 63, "1")),
        ("put", ("a b", "1")),
        ("put", ("a", "x" * 3072)),
        ("put", ("a", "\0")),
        ("remove", ("nothing",)),
        ("add", ()),
        ("rule", ("nothing",)),
        ("rule", ("stall", "nothing")),
        ("rule", ("cut",)),
        ("nothing", ()),
    ],
)
def test_what_cannot_be_is_an_error_and_changes_nothing(lab, qube, call, arguments):
    with pytest.raises(qubesdblab.LabError if hasattr(lab, call) else AttributeError):
        getattr(lab, call)(qube, *arguments)
    assert lab.keys(qube) == {key: value.encode() for key, value in TREE.items()}


def test_calls_about_a_qube_that_is_not_there_say_so(lab):
    with pytest.raises(qubesdblab.LabError, match="no daemon for nobody"):
        lab.keys("nobody")
    with pytest.raises(qubesdblab.LabError, match="cannot add"):
        lab.add("../work")
    with pytest.raises(qubesdblab.LabError, match="no daemon has a key"):
        lab.add("bad", {"a b": "1"})
    assert not os.path.exists(lab.folder + "/qubesdb.bad.sock")


def test_many_qubes_with_many_keys(lab):
    fleet = {"fleet%d" % number: {"key%d" % key: "%d" % (number * key) for key in range(40)} for number in range(200)}
    lab.add_many(fleet)
    assert set(fleet) <= set(lab.qubes())
    with Raw(lab, "fleet199") as client:
        assert client.ask(READ, b"/key39") == (R_READ, b"/key39", b"7761")
    assert lab.keys("fleet7") == {key: value.encode() for key, value in fleet["fleet7"].items()}


def test_a_thousand_keys_cost_the_peer_little(lab):
    lab.add("big", {"key%d" % key: "x" * 100 for key in range(1000)})
    with Raw(lab, "big") as client:
        before = lab.seconds()
        assert len(client.listed(MULTIREAD)) == 1000
        assert 0 < lab.seconds() - before < 0.05
    assert lab.violations("big") == []


# -- frozen --


def test_a_frozen_daemon_takes_connections_and_answers_when_it_thaws(lab, qube, client):
    client.ask(WATCH, b"/a")
    lab.freeze(qube)
    with Raw(lab, qube, "ro.sock") as other:
        other.send(READ, b"/a")
        lab.put(qube, "a", "later")
        assert client.silent() and other.silent()
        lab.thaw(qube)
        assert client.message() == (R_WATCH, b"/a", b"")
        assert other.message() == (R_READ, b"/a", b"later")


def test_who_gives_up_on_a_frozen_daemon_is_not_to_blame(lab, qube):
    with Raw(lab, qube) as before:
        lab.freeze(qube)
        before.send(WRITE, b"/late", b"1")
    for _attempt in range(2):
        with Raw(lab, qube) as client:
            client.send(READ, b"/a")
    lab.thaw(qube)
    with Raw(lab, qube) as client:
        assert client.ask(READ, b"/late") == (R_READ, b"/late", b"1")
    assert lab.violations(qube) == []
    with Raw(lab, qube) as client:
        client.send(READ, b"/a")
    assert blamed(lab, qube) == ["unanswered"]


def test_a_frozen_daemons_backlog_has_an_end(lab, qube):
    lab.freeze(qube)
    clients = []
    with pytest.raises((BlockingIOError, TimeoutError)):
        for _each in range(200):
            clients.append(Raw(lab, qube, patience=0.01))
    assert len(clients) == 6, "a backlog of 5 takes one more"
    for client in clients:
        client.socket.close()
    lab.thaw(qube)
    assert lab.violations(qube) == []


def test_a_frozen_daemon_is_killed_and_ended(lab, qube, client):
    lab.freeze(qube)
    client.send(READ, b"/a")
    lab.kill(qube)
    assert client.ended()
    lab.thaw(qube)
    with pytest.raises(ConnectionRefusedError):
        Raw(lab, qube)


# -- violations --


def test_a_good_client_has_none(lab, qube):
    for name in ("sock", "ro.sock", "sock"):
        with Raw(lab, qube, name) as client:
            client.ask(WATCH, b"/")
            client.socket.sendall(packet(READ, b"/a\0stale") * 32)
            assert [client.message()[0] for _each in range(32)] == [R_READ] * 32
            client.listed(MULTIREAD)
            client.ask(READ, b"/nothing")
            lab.put(qube, "a", "1")  # its event stays unread, which nobody can help
    assert lab.violations(qube) == []


@pytest.mark.parametrize("names", [("sock", "sock"), ("sock", "ro.sock"), ("ro.sock", "ro.sock")])
def test_a_second_connection_of_a_process(lab, qube, names):
    with Raw(lab, qube, names[0]) as one, Raw(lab, qube, names[1]) as two:
        assert one.ask(READ, b"/a") == two.ask(READ, b"/a")
    assert blamed(lab, qube) == ["second"]


def test_connections_of_two_processes(lab, qube, client):
    client.ask(READ, b"/a")
    program = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    subprocess.run([sys.executable, "-c", program, "%s/qubesdb.%s.sock" % (lab.folder, qube)], check=True, timeout=10)
    client.ask(READ, b"/a")
    assert lab.violations(qube) == []


@pytest.mark.parametrize("wait", [0, 0.02])
def test_leaving_without_the_answer(lab, qube, wait):
    with Raw(lab, qube) as client:
        client.send(WRITE, b"/a", b"2")
        time.sleep(wait)
    assert blamed(lab, qube) == ["unanswered"]
    assert lab.keys(qube)["a"] == b"2"


def test_leaving_within_the_answer(lab, qube):
    with Raw(lab, qube) as client:
        client.send(MULTIREAD)
        assert client.socket.recv(100)
    assert blamed(lab, qube) == ["unanswered"]


@pytest.mark.parametrize("path", [b"/nothing", b"/nothing/", b"/aaa/"])
def test_removing_what_is_not_there(lab, qube, client, path):
    assert client.ask(RM, path) == (NOENT, path, b"")
    assert blamed(lab, qube) == ["absent"]


def test_nothing_is_answered_while_the_rest_is_on_its_way(lab, qube, client):
    burst = packet(WRITE, b"/a", b"x" * 3000) * 34
    client.socket.sendall(burst[:20000])
    assert client.silent(0.005)
    client.socket.sendall(burst[20000:])
    assert [client.message()[0] for _each in range(34)] == [OK] * 34
    assert blamed(lab, qube) == ["outstanding"]


def test_what_came_whole_is_carried_out_whatever_follows(lab, qube, client):
    client.socket.sendall(packet(WRITE, b"/a", b"2") + packet(READ)[:20])
    client.socket.close()
    assert blamed(lab, qube) == ["unanswered"]
    assert lab.keys(qube)["a"] == b"2"


@pytest.mark.parametrize("size", [1, 71, 72, 73])
def test_a_message_in_two_pieces(lab, qube, client, size):
    message = packet(WRITE, b"/a", b"23")
    client.socket.sendall(message[:size])
    assert eventually(lambda: blamed(lab, qube) == ["split"])
    lab.add(qube + "x")
    with Raw(lab, qube + "x") as other:
        assert other.ask(READ, b"/a")[0] == NOENT  # nobody else waits
    client.socket.sendall(message[size:])
    assert client.message() == (OK, b"/a", b"")
    assert lab.keys(qube)["a"] == b"23"


def test_two_pieces_that_come_together(lab, qube, client):
    message = packet(READ, b"/a")
    client.socket.sendall(message[:20])
    client.socket.sendall(message[20:])
    assert client.message() == (R_READ, b"/a", b"1")
    time.sleep(0.06)
    assert lab.violations(qube) == []


@pytest.mark.parametrize("value", [b"", b"x" * 3071])
@pytest.mark.parametrize("count, expected", [(32, []), (33, ["outstanding"])])
def test_more_than_32_requests_outstanding(lab, qube, client, value, count, expected):
    burst = threading.Thread(target=client.socket.sendall, args=(packet(WRITE, b"/a", value) * count,))
    burst.start()
    assert [client.message()[0] for _each in range(count)] == [OK] * count
    burst.join(10)
    assert blamed(lab, qube) == expected


def test_padding_that_is_not_zero_is_ignored_and_noted(lab, qube, client):
    assert client.ask(READ, b"/a", padding=b"\0\0x") == (R_READ, b"/a", b"1")
    assert blamed(lab, qube) == ["padding"]


def test_the_257th_client(lab, qube):
    clients = []
    for _each in range(8):
        clients += [Raw(lab, qube) for _each in range(32)]
        assert "clients" not in blamed(lab, qube)  # and so the backlog is empty
    clients.append(Raw(lab, qube))
    assert blamed(lab, qube).count("clients") == 1
    for client in clients:
        client.socket.close()


def test_not_reading(lab, qube, client):
    lab.put(qube, "a", "x" * 3000)
    for _each in range(20):
        client.socket.sendall(packet(READ, b"/a") * 30)
    assert eventually(lambda: "unread" in blamed(lab, qube))
    assert client.message() == (R_READ, b"/a", b"x" * 3000)


# -- rules --


def test_a_rule_takes_what_matches_after_some_and_for_some(lab, qube, client):
    lab.rule(qube, "error", kind="READ", path="/a*", skip=1, times=2)
    assert [client.ask(READ, b"/a")[0] for _each in range(4)] == [R_READ, ERROR, ERROR, R_READ]
    lab.rule(qube, "noent", path="/a/1")
    assert client.ask(READ, b"/a/1") == (NOENT, b"/a/1", b"")
    assert client.ask(LIST, b"/a/1") == (NOENT, b"/a/1", b"")
    assert client.ask(READ, b"/a/10")[0] == R_READ
    lab.unrule(qube)
    assert client.ask(READ, b"/a/1")[0] == R_READ


def test_rules_are_of_one_qube(lab, qube, client):
    lab.add(qube + "x", TREE)
    lab.rule(qube + "x", "error")
    assert client.ask(READ, b"/a")[0] == R_READ


def test_an_error_carries_nothing_out(lab, qube, client):
    lab.rule(qube, "error", kind="WRITE")
    assert client.ask(WRITE, b"/a", b"2") == (ERROR, b"/a", b"")
    assert lab.keys(qube)["a"] == b"1"


@pytest.mark.parametrize("applied, value", [(False, b"1"), (True, b"2")])
@pytest.mark.parametrize("action", ["stall", "close"])
def test_no_answer_to_a_request_that_was_carried_out_or_was_not(lab, qube, client, action, applied, value):
    lab.rule(qube, action, kind="WRITE", applied=applied)
    client.ask(WATCH, b"/a")
    client.socket.sendall(packet(READ, b"/aa") + packet(WRITE, b"/a", b"2") + packet(READ, b"/aa"))
    assert client.message() == (R_READ, b"/aa", b"7")
    if action == "stall":
        client.send(READ, b"/aa")
        assert client.silent()
    else:
        assert client.ended()
    client.socket.close()
    assert lab.keys(qube)["a"] == value
    assert lab.violations(qube) == []
    with Raw(lab, qube) as other:
        assert other.ask(READ, b"/a") == (R_READ, b"/a", value)


@pytest.mark.parametrize("action", ["cut", "half"])
def test_a_reply_that_stops_in_the_middle(lab, qube, client, action):
    lab.rule(qube, action, kind="MULTIREAD", size=100)
    client.send(MULTIREAD)
    assert HEADER.unpack(client.take(72))[0] == R_MULTIREAD
    assert client.take(28)[:1] == b"7"
    if action == "half":
        client.send(READ, b"/a")
        assert client.silent()
    else:
        assert client.ended()
    client.socket.close()
    assert lab.violations(qube) == []


def test_a_late_answer_keeps_the_order_and_nobody_else_waits(lab, qube, client):
    lab.add(qube + "x", TREE)
    lab.rule(qube, "lag", path="/a", seconds=0.1)
    begun = time.monotonic()
    client.socket.sendall(packet(READ, b"/a") + packet(READ, b"/aa"))
    with Raw(lab, qube + "x") as other:
        other.ask(READ, b"/a")
    assert client.silent(0.03)
    assert client.message() == (R_READ, b"/a", b"1")
    assert time.monotonic() - begun >= 0.1
    assert client.message() == (R_READ, b"/aa", b"7")


def test_who_gives_up_on_a_late_answer_has_written_all_the_same(lab, qube, client):
    lab.rule(qube, "lag", kind="WRITE", seconds=0.05, times=1)
    client.send(WRITE, b"/a", b"2")
    client.socket.close()
    assert lab.keys(qube)["a"] == b"1"
    assert eventually(lambda: lab.keys(qube)["a"] == b"2")
    assert lab.violations(qube) == []


@pytest.mark.parametrize("frozen", [False, True])
def test_a_late_request_is_lost_with_its_daemon(lab, qube, client, frozen):
    lab.rule(qube, "lag", kind="WRITE", seconds=0.02)
    client.send(WRITE, b"/a", b"2")
    client.socket.close()
    lab.violations(qube)  # it has noticed
    if frozen:
        lab.freeze(qube)
        time.sleep(0.04)
    lab.restart(qube)
    time.sleep(0.04)
    lab.freeze(qube)
    lab.thaw(qube)
    assert lab.keys(qube) == {}


def test_a_late_answer_excuses_only_its_own(lab, qube, client):
    lab.rule(qube, "lag", seconds=0.01, times=1)
    assert client.ask(READ, b"/a") == (R_READ, b"/a", b"1")
    client.send(READ, b"/a")
    client.socket.close()
    assert blamed(lab, qube) == ["unanswered"]


def test_an_event_before_the_reply(lab, qube, client):
    lab.rule(qube, "event", event_path="/any")
    assert client.ask(READ, b"/a") == (R_WATCH, b"/any", b"")
    assert client.message() == (R_READ, b"/a", b"1")


def test_replies_that_are_none(lab, qube, client):
    lab.rule(qube, "noise", times=1, data=b"\xffnoise")
    client.send(READ, b"/a")
    assert client.take(6) == b"\xffnoise"
    lab.rule(qube, "retype", times=1, reply_kind="R_LIST")
    assert client.ask(READ, b"/a") == (R_LIST, b"/a", b"1")
    lab.rule(qube, "retype", times=1, reply_kind=99)
    assert client.ask(READ, b"/a") == (99, b"/a", b"1")
    lab.rule(qube, "repath", times=1, reply_path="/other")
    assert client.ask(READ, b"/a") == (R_READ, b"/other", b"1")
    lab.rule(qube, "length", times=1, reply_length=2 ** 32 - 1)
    client.send(READ, b"/a")
    assert HEADER.unpack(client.take(72))[3] == 2 ** 32 - 1
    assert client.take(1) == b"1"


def test_who_leaves_after_nonsense_is_not_to_blame(lab, qube, client):
    lab.rule(qube, "retype", times=1, reply_kind="OK")
    client.socket.sendall(packet(READ, b"/a") * 2)
    client.message()
    client.socket.close()
    assert lab.violations(qube) == []


@pytest.mark.parametrize("kind, reply_kind", [(MULTIREAD, R_MULTIREAD), (LIST, R_LIST)])
def test_a_list_without_an_end(lab, qube, client, kind, reply_kind):
    lab.rule(qube, "endless")
    client.send(kind, b"/a/")
    found = [client.message() for _each in range(500)]
    assert {message[0] for message in found} == {reply_kind}
    assert all(message[1].startswith(b"/a/") for message in found)
    assert len({message[1] for message in found}) == 500
    client.socket.close()
    assert lab.violations(qube) == []


def test_dying_before_the_answer(lab, qube, client):
    lab.rule(qube, "die", kind="WRITE", applied=True)
    program = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(b'\\5/a' + bytes(69)); s.recv(72);"
        "print('ready', flush=True); sys.stdout.buffer.write(s.recv(72)); sys.stdout.buffer.write(s.recv(72))"
    )
    command = [sys.executable, "-c", program, "%s/qubesdb.%s.sock" % (lab.folder, qube)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as watcher:
        assert watcher.stdout.readline() == b"ready\n"
        client.socket.sendall(packet(READ, b"/a") + packet(WRITE, b"/a", b"2"))
        assert client.message() == (R_READ, b"/a", b"1")
        assert client.ended()
        seen = watcher.stdout.read()
    assert (seen[0], seen[1:4], len(seen)) == (R_WATCH, b"/a\0", 72)
    with pytest.raises(ConnectionRefusedError):
        Raw(lab, qube)
    assert lab.keys(qube) == {}
    assert lab.violations(qube) == []


def test_restarting_before_the_answer(lab, qube, client):
    lab.rule(qube, "restart", kind="WRITE", times=1, keys={"kept": "1"})
    client.send(WRITE, b"/a", b"2")
    assert client.ended()
    with Raw(lab, qube) as again:
        assert again.listed(LIST) == [(R_LIST, b"/kept", b"")]
        assert again.ask(WRITE, b"/a", b"2") == (OK, b"/a", b"")
    assert [request.connection for request in lab.writes(qube)] == [1, 2]
    assert lab.violations(qube) == []


# -- its life --


def test_stop_leaves_nothing_behind():
    lab = qubesdblab.QubesdbLab()
    lab.start()
    lab.add("work")
    pid = lab._peer.pid
    lab.stop()
    assert gone(pid)
    assert not os.path.exists(lab.folder)
    with pytest.raises(qubesdblab.LabError):
        lab.keys("work")
    lab.stop()


def test_a_given_folder_stays_and_is_left_empty(tmp_path):
    with qubesdblab.QubesdbLab(str(tmp_path / "new")) as lab:
        lab.add("work")
        assert (tmp_path / "new" / "qubesdb.work.sock").is_socket()
        attached = qubesdblab.QubesdbLab.attach(lab.control)
        assert attached.url == lab.url == "qubesdb://%s/new" % tmp_path
        attached.put("work", "a", "1")
        attached.stop()
        assert lab.keys("work") == {"a": b"1"}
    assert not list((tmp_path / "new").iterdir())


def test_a_lab_ends_with_its_owner():
    program = (
        "import sys, time; sys.path.insert(0, %r); import qubesdblab; lab = qubesdblab.QubesdbLab(); lab.start(); lab.add('work');"
        "print(lab._peer.pid, lab.folder, flush=True); time.sleep(60)" % os.path.dirname(os.path.abspath(__file__))
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as owner:
        pid, folder = owner.stdout.readline().split()
        assert os.path.exists(folder + b"/qubesdb.work.sock")
        owner.send_signal(signal.SIGKILL)
    assert eventually(lambda: gone(int(pid)) and not os.path.exists(folder))


def test_a_peer_that_does_not_start_says_why(tmp_path):
    (tmp_path / "lab.control").mkdir()
    with pytest.raises(qubesdblab.LabError, match="(?s)did not start.*in use"):
        qubesdblab.QubesdbLab(str(tmp_path)).start()


def test_a_path_too_long_for_a_socket_is_said_so(tmp_path):
    with pytest.raises(ValueError, match="too long"):
        qubesdblab.QubesdbLab(str(tmp_path / ("x" * 100)))


# -- the command --


def test_the_command_in_a_lab_of_its_own(tmp_path):
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"work": {"a": "1"}, "self": {"name": "own"}}))
    script = """
        set -e
        lab() { "$PYTHON" "$LAB" "$@"; }
        test "$QUBESDBLAB_URL" = "qubesdb://$QUBESDBLAB_FOLDER" -a -S "$QUBESDBLAB_FOLDER/qubesdb.sock" -a -S "$QUBESDBLAB_FOLDER/qubesdb.work.ro.sock"
        lab put work b "$(printf 'x\\377')"
        lab rm work a
        lab add --no-twin old k=v=w
        test ! -e "$QUBESDBLAB_FOLDER/qubesdb.old.ro.sock"
        lab ls
        control=$QUBESDBLAB_CONTROL
        unset QUBESDBLAB_CONTROL
        lab ls old --control "$control"
        lab end old --control "$control"
        test ! -e "$QUBESDBLAB_FOLDER/qubesdb.old.sock"
        lab requests work --control "$control"
        lab rule work stall '{"kind": "WRITE", "times": 1}' --control "$control"
        lab violations --control "$control"
        lab rm work a --control "$control" 2>/dev/null || exit 3
    """
    command = [sys.executable, qubesdblab.__file__, "run", "--keys", str(keys), "--", "sh", "-c", script]
    env = dict(os.environ, PYTHON=sys.executable, LAB=qubesdblab.__file__)
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, check=False, timeout=60)
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"work": {"b": "x\\xff"}, "self": {"name": "own"}, "old": {"k": "v=w"}},
        {"old": {"k": "v=w"}},
        {"work": []},
        {"work": [], "self": [], "old": []},
    ]
    assert done.returncode == 3


def test_the_commands_tell_of_requests(lab, qube, client, capsys):
    client.ask(WRITE, b"/a", b"\xff")
    client.ask(RM, b"/nothing")
    assert qubesdblab.main(["requests", qube, "--control", lab.control]) == 0
    assert qubesdblab.main(["violations", qube, "--control", lab.control]) == 0
    requests, violations = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert requests[qube][0] == {"kind": "WRITE", "path": "/a", "data": "\\xff", "connection": 1, "socket": "rw"}
    assert violations == {qube: ["absent: RM /nothing"]}


@pytest.mark.parametrize("call", ["unrule", "clear", "freeze", "thaw", "kill", "restart", "end"])
def test_the_commands_that_take_a_qube(lab, qube, call):
    assert qubesdblab.main([call, qube, "--control", lab.control]) == 0
    with pytest.raises(SystemExit, match="no daemon for nobody"):
        qubesdblab.main([call, "nobody", "--control", lab.control])


def test_run_ends_its_lab_when_it_is_told_to_end():
    command = [sys.executable, qubesdblab.__file__, "run", "--", "sh", "-c", 'echo "$QUBESDBLAB_FOLDER"; exec sleep 60']
    with subprocess.Popen(command, stdout=subprocess.PIPE) as run:
        folder = run.stdout.readline().strip()
        run.terminate()
        assert run.wait(10) == 128 + signal.SIGTERM
    assert not os.path.exists(folder)
