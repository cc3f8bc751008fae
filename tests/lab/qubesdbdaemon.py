# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One QubesDB daemon as its clients see it: sockets, database, replies, watches. And what clients do that a real one would suffer from.

Written from the notes on the protocol alone. It never waits for a client, where the real daemon does; what would have made that one wait,
or end, is in `violations` instead.
"""

from __future__ import annotations

import bisect
import collections
import contextlib
import os
import re
import socket
import struct
from typing import TYPE_CHECKING, Callable, Deque, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from streams import Loop, Stream

if TYPE_CHECKING:
    from qubesdbrules import Rule

HEADER = struct.Struct("=B64s3sI")  # type, path, padding, length of the data
MESSAGE = struct.Struct("=B64s3xI")
PATH_MAX = 63
DATA_MAX = 3071
PATH = re.compile(rb"(?:[A-Za-z0-9_./:@][A-Za-z0-9_./:@-]*)?")

KINDS = (
    "READ", "WRITE", "MULTIREAD", "LIST", "RM", "WATCH", "UNWATCH", "OK", "ERROR_NOENT", "ERROR", "R_READ", "R_MULTIREAD", "R_LIST", "R_WATCH",
)
READ, WRITE, MULTIREAD, LIST, RM, WATCH, UNWATCH, OK, ERROR_NOENT, ERROR, R_READ, R_MULTIREAD, R_LIST, R_WATCH = range(14)
CHANGES = (WRITE, RM)

# What may follow the NUL of a path: what was there before. Every other message has it, for clients that would read it.
STALE = b"\0/left-over/from/another/message/that/was/longer/than/this/one/is"

CLIENTS_MAX = 256
OUTSTANDING_MAX = 32
SPLIT = 0.05  # seconds
UNREAD = 1.0  # seconds
BACKLOG = 64
CREDENTIALS = struct.Struct("=iII")


class Request(NamedTuple):
    kind: int
    path: bytes
    data: bytes


class Entry(NamedTuple):
    """A request as it is logged: `kind` by its name, `connection` a number, `socket` "rw" or "ro"."""

    kind: str
    path: str
    data: bytes
    connection: int
    socket: str


class Outcome(NamedTuple):
    """What a request comes to: its reply, whether the daemon then hangs up, and the path of the event that follows."""

    reply: bytes
    closes: bool = False
    event: Optional[bytes] = None


class Fault(NamedTuple):
    """What is wrong with a request's form, and what comes of it."""

    text: str
    outcome: Outcome


class Database:
    """The keys of one qube, by their path, in byte order."""

    def __init__(self) -> None:
        self.values: Dict[bytes, bytes] = {}
        self._paths: List[bytes] = []

    def write(self, path: bytes, value: bytes) -> None:
        if path not in self.values:
            bisect.insort(self._paths, path)
        self.values[path] = value

    def beneath(self, prefix: bytes) -> List[bytes]:
        start, end = self._range(prefix)
        return self._paths[start:end]

    def remove(self, path: bytes) -> bool:
        """One key, or with a trailing slash all that begin with it; false when there was none."""
        if path.endswith(b"/"):
            start, end = self._range(path)
            for each in self._paths[start:end]:
                del self.values[each]
            del self._paths[start:end]
            return end > start
        if path not in self.values:
            return False
        del self.values[path]
        del self._paths[bisect.bisect_left(self._paths, path)]
        return True

    def _range(self, prefix: bytes) -> Tuple[int, int]:
        # No path has a byte as high as 0xFF.
        return bisect.bisect_left(self._paths, prefix), bisect.bisect_left(self._paths, prefix + b"\xff")


class Client(Stream):
    """One connection to a daemon. `pending` are the complete requests that are not answered yet, in their order."""

    def __init__(self, daemon: Daemon, connection: socket.socket, number: int, read_only: bool) -> None:
        super().__init__(daemon.loop, connection)
        self.daemon = daemon
        self.number = number
        self.socket = "ro" if read_only else "rw"
        self.pid = CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size))[0]
        self.pending: Deque[Request] = collections.deque()
        self.watches: List[bytes] = []
        self.held = False  # a rule keeps the next answer back
        self.excused = False  # it has been kept waiting, so it may leave early
        self.spoiled = False  # it has been sent what no daemon sends, so it must
        self._messages = 0
        self._parsed = 0
        self._split_noted = -1
        self._closing = False
        self._reply_owed = self._reply_last = self._reply_sent_last = False
        self._unread_noted = False

    # -- what comes in --

    def arrived(self) -> None:
        if self._closing:
            self.received.clear()
            return
        if not self.pending and not self.daemon.thawing:
            self.excused = self.spoiled
        before = len(self.pending)
        self._parse()
        if before <= OUTSTANDING_MAX < len(self.pending):
            self.daemon.blame("outstanding: %d requests of connection %d at once", len(self.pending), self.number)
        if not self.received:
            self.go_on()
        elif self._split_noted != self._parsed:
            # The rest is on its way, or the message was sent in two. Until that is known nothing is answered, so that all of a burst
            # counts as outstanding.
            self._split_noted = parsed = self._parsed
            self.after(SPLIT, lambda: self._check_split(parsed))

    def _parse(self) -> None:
        buffer, start, size = self.received, 0, len(self.received)
        while size - start >= HEADER.size:
            kind, field, padding, length = HEADER.unpack_from(buffer, start)
            end = start + HEADER.size + length
            if end > size:
                break
            path, terminator, _stale = field.partition(b"\0")
            request = Request(kind, path[:PATH_MAX], bytes(buffer[start + HEADER.size:end]))
            start = end
            self._parsed += 1
            self.pending.append(request)
            self.daemon.requests.append((self.number, self.socket, request))
            if not terminator:
                self.daemon.blame("form: a path without a NUL: %s...", shown(request))
            if padding != b"\0\0\0":
                self.daemon.blame("padding: %r in %s", padding, shown(request))
        del buffer[:start]

    def _check_split(self, parsed: int) -> None:
        if self.closed or not self.received:
            return
        if parsed == self._parsed:
            self.daemon.blame("split: the rest of a message of connection %d did not come within %d ms", self.number, SPLIT * 1000)
        self.go_on()

    # -- what goes out --

    def go_on(self) -> None:
        """Answers what is pending, as far as nothing keeps it back."""
        while self.pending and not self.held:
            request = self.pending[0]
            rule = self.daemon.rule_for(request)
            if rule:
                rule.apply(self, request)
            else:
                self.answer(self.take())
        self.flush()

    def take(self) -> Request:
        return self.pending.popleft()

    def answer(self, request: Request) -> None:
        outcome = self.daemon.outcome(self, request)
        self.send(outcome.reply)
        if outcome.event is not None:
            self.daemon.fire(outcome.event)
        if outcome.closes:
            self.hang_up()

    def message(self, kind: int, path: bytes, data: bytes = b"") -> bytes:
        self._messages += 1
        field = path + STALE if self._messages & 1 else path
        return MESSAGE.pack(kind, field, len(data)) + data

    def send(self, data: bytes, reply: bool = True) -> None:
        """Puts a reply or an event behind what is owed; flush() sends it."""
        if data and not self._closing:
            self.owed += data
            self._reply_owed |= reply
            self._reply_last = reply

    def flush(self) -> None:
        super().flush()
        if self.closed or self.paused:
            return
        if not self.owed:
            self._reply_sent_last = self._reply_last
            self._reply_owed = False
            if self._closing:
                self.close()
        elif not self._unread_noted and not self.excused:
            owed = len(self.owed)
            self.after(UNREAD, lambda: self._check_unread(owed))

    def _check_unread(self, owed: int) -> None:
        if len(self.owed) >= owed and not self.closed and not self._unread_noted and not self.excused:
            self._unread_noted = True
            self.daemon.blame("unread: connection %d did not read its replies for %d s", self.number, UNREAD)

    def hang_up(self) -> None:
        """Closes when what is owed is sent; what is pending is lost."""
        self.pending.clear()
        self._closing = True

    # -- how it ends --

    def lost(self, reset: bool) -> None:
        if self.closed:
            return
        # Data is read in order: when something was left unread, so was the last that was sent.
        unanswered = self.pending or self._reply_owed or (reset and self._reply_sent_last)
        if unanswered and not self.excused:
            self.daemon.blame("unanswered: connection %d closed before its answer", self.number)
        self.owed.clear()
        self.close()
        if not self.held:
            self.go_on()  # a daemon that has a request carries it out, whoever is left to hear of it

    def close(self) -> None:
        super().close()
        with contextlib.suppress(ValueError):
            self.daemon.clients.remove(self)

    def after(self, seconds: float, function: Callable[[], None]) -> None:
        self.loop.later(seconds, lambda: self.daemon.when_thawed(function))


class Daemon:
    """The daemon of one qube, with a socket at `path` and, unless `twin` is empty, a read-only one there."""

    def __init__(self, loop: Loop, path: str, twin: str) -> None:
        self.loop = loop
        self.paths = {False: path, True: twin} if twin else {False: path}
        self.database = Database()
        self.clients: List[Client] = []
        self.requests: List[Tuple[int, str, Request]] = []
        self.violations: List[str] = []
        self.rules: List[Rule] = []
        self.frozen = self.thawing = False
        self._listeners: Dict[bool, socket.socket] = {}
        self._postponed: List[Callable[[], None]] = []
        self._connections = 0

    # -- its life --

    def start(self, keys: Mapping[str, bytes]) -> None:
        for key, value in keys.items():
            self.put(key, value)
        for read_only, path in self.paths.items():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            listener = self._listeners[read_only] = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.setblocking(False)
            listener.bind(path)
            listener.listen(BACKLOG)
        self._listen()

    def kill(self) -> None:
        """As SIGKILL: the database is lost, the sockets stay behind."""
        for client in list(self.clients):
            client.pending.clear()
            client.close()
        if not self.frozen:
            self._ignore()
        for listener in self._listeners.values():
            listener.close()
        self._listeners.clear()
        self._postponed.clear()
        self.frozen = False
        self.database = Database()

    def end(self) -> None:
        self.kill()
        for path in self.paths.values():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def restart(self, keys: Mapping[str, bytes]) -> None:
        self.kill()
        self.start(keys)

    def freeze(self) -> None:
        if not self.frozen:
            self.frozen = True
            self._ignore()
            for client in self.clients:
                client.pause()

    def thaw(self) -> None:
        """Goes on with what has queued up. Who leaves without an answer that was late is not to blame."""
        if not self.frozen:
            return
        self.frozen = False
        self.thawing = True
        clients = list(self.clients)
        for client in clients:
            client.excused = True
            client.resume()
        self._listen()
        for client in clients:
            client.go_on()
            client.catch_up()
        for read_only in self._listeners:
            self._accept(read_only)
        for client in list(self.clients):
            client.catch_up()
        self.thawing = False
        postponed, self._postponed = self._postponed, []
        for function in postponed:
            function()

    def when_thawed(self, function: Callable[[], None]) -> None:
        if self.frozen:
            self._postponed.append(function)
        else:
            function()

    def _listen(self) -> None:
        for read_only, listener in self._listeners.items():
            self.loop.add(listener, lambda _events, read_only=read_only: self._accept(read_only))

    def _ignore(self) -> None:
        for listener in self._listeners.values():
            self.loop.remove(listener)

    def _accept(self, read_only: bool) -> None:
        while True:
            try:
                connection, _address = self._listeners[read_only].accept()
            except BlockingIOError:
                return
            self._connections += 1
            client = Client(self, connection, self._connections, read_only)
            client.excused = self.thawing
            for other in [other for other in self.clients if other.pid == client.pid]:
                other.catch_up()  # it may have been closed before this one was opened
            others = [other.socket for other in self.clients if other.pid == client.pid]
            self.clients.append(client)
            if others:
                self.blame("second: process %d connects to %s while it has %s", client.pid, client.socket, ", ".join(others))
            if len(self.clients) == CLIENTS_MAX + 1:
                self.blame("clients: there are %d, which ends a daemon", len(self.clients))

    # -- requests --

    def outcome(self, client: Client, request: Request) -> Outcome:
        """Carries a request out."""
        kind, path, data = request
        fault = self._fault(client, request)
        if fault:
            self.blame("form: %s: %s", fault.text, shown(request))
            return fault.outcome
        if kind == READ:
            value = self.database.values.get(path)
            return Outcome(client.message(ERROR_NOENT, path) if value is None else client.message(R_READ, path, value))
        if kind == WRITE:
            self.database.write(path, data)
            return Outcome(client.message(OK, path), event=path)
        if kind == RM:
            if self.database.remove(path):
                return Outcome(client.message(OK, path), event=path)
            self.blame("absent: %s", shown(request))
            return Outcome(client.message(ERROR_NOENT, path))
        if kind == WATCH:
            client.watches.append(path)
            return Outcome(client.message(OK, path))
        if kind == UNWATCH:
            if path not in client.watches:
                return Outcome(client.message(ERROR_NOENT, path))
            client.watches.remove(path)
            return Outcome(client.message(OK, path))
        return Outcome(b"".join(self._listed(client, kind, path)))

    def _listed(self, client: Client, kind: int, prefix: bytes) -> Iterator[bytes]:
        paths = self.database.beneath(prefix)
        if kind == LIST:
            for path in paths:
                yield client.message(R_LIST, path)
            yield client.message(R_LIST, b"")
            return
        for path in paths if prefix else reversed(paths):
            yield client.message(R_MULTIREAD, path, self.database.values[path])
        yield client.message(R_MULTIREAD, b"")

    @staticmethod
    def _fault(client: Client, request: Request) -> Optional[Fault]:
        kind, path, data = request

        def refused(text: str, closes: bool = False) -> Fault:
            return Fault(text, Outcome(client.message(ERROR, path), closes))

        if kind > UNWATCH:
            return refused("unknown type %d" % kind)
        if not PATH.fullmatch(path):
            return refused("a character that no path has")
        if len(data) > DATA_MAX:
            return refused("%d bytes of data" % len(data))
        if b"\0" in data:
            return refused("NUL in a value")
        if data and kind == READ:
            return Fault("data with READ", Outcome(b"", closes=True))
        if data and kind != WRITE:
            return refused("data with %s" % KINDS[kind])
        if kind in CHANGES and client.socket == "ro":
            return refused("%s on the read-only socket" % KINDS[kind])
        if kind == WRITE and (not path.startswith(b"/") or path.endswith(b"/")):
            return refused("a path that no key has", closes=True)
        return None

    def rule_for(self, request: Request) -> Optional[Rule]:
        for rule in self.rules:
            if rule.takes(request):
                return rule
        return None

    def fire(self, path: bytes) -> None:
        for client in list(self.clients):
            for watch in list(client.watches):
                if path == watch or (watch.endswith(b"/") and path.startswith(watch)):
                    client.send(client.message(R_WATCH, path), reply=False)
                    client.flush()

    # -- the other side, and what is kept --

    def put(self, key: str, value: bytes) -> None:
        """As the other side of the vchan writes it."""
        path = path_of(key)
        if len(value) > DATA_MAX or b"\0" in value:
            raise ValueError("no daemon holds %d bytes, or a NUL, as the value of %s" % (DATA_MAX + 1, key))
        self.database.write(path, value)
        self.fire(path)

    def remove(self, key: str) -> None:
        path = b"/" + key.encode()
        if not self.database.remove(path):
            raise ValueError("there is no %s" % key)
        self.fire(path)

    def entries(self) -> List[Entry]:
        return [Entry(kind_name(request.kind), text(request.path), request.data, number, name) for number, name, request in self.requests]

    def blame(self, message: str, *values: object) -> None:
        self.violations.append(message % values)


def path_of(key: str) -> bytes:
    path = b"/" + key.encode()
    if not key or key.endswith("/") or len(path) > PATH_MAX or not PATH.fullmatch(path):
        raise ValueError("no daemon has a key %r" % key)
    return path


def kind_name(kind: int) -> str:
    return KINDS[kind] if kind < len(KINDS) else str(kind)


def text(path: bytes) -> str:
    return path.decode("ascii", "backslashreplace")


def shown(request: Request) -> str:
    return "%s %s" % (kind_name(request.kind), text(request.path))
