# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One QubesDB daemon: its sockets, what its requests come to, its watches, and what it keeps of what its clients did."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from qubesdbclient import Client, Outcome
from loop import Loop
from qubesdbprotocol import (
    CHANGES, DATA_MAX, ERROR, ERROR_NOENT, KINDS, LIST, OK, PATH, R_LIST, R_MULTIREAD, R_READ, R_WATCH, READ, RM, UNWATCH, WATCH, WRITE,
    Database, Entry, Request, kind_name, path_of, shown, text,
)

if TYPE_CHECKING:
    from qubesdbrules import Rule

CLIENTS_MAX = 256
BACKLOG = 5


class Fault(NamedTuple):
    """What is wrong with a request's form, and what comes of it."""

    reason: str
    outcome: Outcome


class Daemon:
    """The daemon of one qube, with a socket at `path` and, unless `twin` is empty, a read-only one there."""

    def __init__(self, loop: Loop, path: str, twin: str) -> None:
        self.loop = loop
        self.paths = {"rw": path, "ro": twin} if twin else {"rw": path}
        self.database = Database()
        self.clients: List[Client] = []
        self.requests: List[Tuple[int, str, Request]] = []
        self.violations: List[str] = []
        self.rules: List[Rule] = []
        self.frozen = self.thawing = False
        self.life = 0  # counts its starts
        self._listeners: Dict[str, socket.socket] = {}
        self._postponed: List[Callable[[], None]] = []
        self._connections = 0

    # -- its life --

    def start(self, keys: Mapping[str, bytes]) -> None:
        self.life += 1
        for name, path in self.paths.items():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.setblocking(False)
            listener.bind(path)
            listener.listen(BACKLOG)
            self._listeners[name] = listener
        self._listen()
        for key, value in keys.items():
            self.put(key, value)

    def kill(self) -> None:
        """As SIGKILL: the database is lost, the sockets stay behind."""
        _hang_up_on(self._die())

    def end(self) -> None:
        clients = self._die()
        for path in self.paths.values():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        _hang_up_on(clients)

    def restart(self, keys: Mapping[str, bytes]) -> None:
        clients = self._die()
        try:
            self.start(keys)
        finally:
            _hang_up_on(clients)

    def _die(self) -> List[Client]:
        """Returns who is still connected: to be hung up on last, since they may come back at once."""
        self.life += 1
        if not self.frozen:
            self._ignore()
        for listener in self._listeners.values():
            listener.close()
        self._listeners.clear()
        self._postponed.clear()
        self.frozen = False
        self.database = Database()
        clients, self.clients = self.clients, []
        return clients

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
        for name, listener in list(self._listeners.items()):
            self._accept(name, listener)
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
        for name, listener in self._listeners.items():
            self.loop.add(listener, lambda _events, name=name, listener=listener: self._accept(name, listener))

    def _ignore(self) -> None:
        for listener in self._listeners.values():
            self.loop.remove(listener)

    def _accept(self, name: str, listener: socket.socket) -> None:
        while self._listeners.get(name) is listener:
            try:
                connection, _address = listener.accept()
            except BlockingIOError:
                return
            self._connections += 1
            client = Client(self, connection, self._connections, name)
            client.excused = self.thawing
            self.clients.append(client)
            for other in [other for other in self.clients if other.pid == client.pid and other is not client]:
                other.catch_up()  # it may have been closed before this one was opened
            # One that has ended is waited for by nobody but who takes its late answers.
            others = [other.socket for other in self.clients if other.pid == client.pid and other is not client and not other.half_closed]
            if others:
                self.blame("second: process %d connects to %s while it has %s", client.pid, client.socket, ", ".join(others))
            if len(self.clients) == CLIENTS_MAX + 1:
                self.blame("clients: there are %d, which ends a daemon", len(self.clients))

    # -- requests --

    def outcome(self, client: Client, request: Request) -> Outcome:
        """Carries a request out."""
        kind, path, data = request
        fault = _fault(client, request)
        if fault:
            self.blame("form: %s: %s", fault.reason, shown(request))
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
        """As the other side of the vchan does it, so is remove(); an empty key removes all."""
        path = path_of(key)
        if not self._listeners:
            raise ValueError("the daemon is not running")
        if len(value) > DATA_MAX or b"\0" in value:
            raise ValueError("no daemon holds more than %d bytes, or a NUL: %s" % (DATA_MAX, key))
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


def _fault(client: Client, request: Request) -> Optional[Fault]:
    # Where several apply, the notes do not say which comes first.
    kind, path, data = request

    def refused(reason: str, closes: bool = False) -> Fault:
        return Fault(reason, Outcome(client.message(ERROR, path), closes))

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


def _hang_up_on(clients: List[Client]) -> None:
    for client in clients:
        client.pending.clear()
        client.close()
