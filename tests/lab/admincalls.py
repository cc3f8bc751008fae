# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A call on its way: who made it, what came of it, and the lab's end of qrexecclient.c. Calls of the Admin API are answered here."""

from __future__ import annotations

import dataclasses
import socket
import struct
import time
from typing import TYPE_CHECKING, List, Optional

import adminapi
import rpcclients
from loop import Stream
from rpcservices import Service

if TYPE_CHECKING:
    from adminpeer import Peer

HEAD = struct.Struct("=cI")
CREDENTIALS = struct.Struct("=iII")
ARGUMENTS, OUTPUT, ERROR, STATUS = b"A", b"O", b"E", b"X"
RECORDED = 65536  # bytes of what a service was told that its entry keeps


@dataclasses.dataclass
class Entry:
    """One call. begun, ended: time.monotonic(). status: None while it goes on, and when its client left before its end."""

    target: str
    service: str
    argument: str
    changes: bool
    pid: int
    begun: float
    arguments: List[str]
    payload: bytes = b""
    status: Optional[int] = None
    outcome: str = ""
    ended: Optional[float] = None
    client: str = "qrexec-client-vm"
    user: str = ""
    started: bool = False  # the target was halted, and was started for it


class Call(Stream):
    """One connection, which is one call."""

    entry: Entry

    def __init__(self, peer: Peer, connection: socket.socket) -> None:
        super().__init__(peer.loop, connection)
        self.peer = peer

    def ended(self, status: Optional[int], outcome: str) -> None:
        self.entry.status = status
        self.entry.outcome = outcome
        self.entry.ended = time.monotonic()
        self.peer.ended(self)

    def answer(self) -> bytes:
        """Carries it out."""
        entry = self.entry
        return adminapi.answer(self.peer.house, self.peer.release, entry.target, entry.service, entry.argument, entry.payload)


class QrexecCall(Call):
    """A client of qrexec, whichever it is."""

    service: Optional[Service] = None

    def arrived(self) -> None:
        while len(self.received) >= HEAD.size:
            kind, size = HEAD.unpack_from(self.received)
            end = HEAD.size + size
            if len(self.received) < end:
                return
            data = bytes(self.received[HEAD.size:end])
            del self.received[:end]
            if kind == ARGUMENTS:
                self._begin(data)
            elif self.service:
                self.entry.payload += data[:RECORDED - len(self.entry.payload)]
                self.service.input(data)
            elif data:
                self.entry.payload += data
            else:
                self._finish()

    def _begin(self, data: bytes) -> None:
        program, first, *arguments = data.decode("utf-8", "surrogateescape").split("\0")[:-1]
        pid, _uid, _gid = CREDENTIALS.unpack(self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size))
        asked = rpcclients.parse(program, arguments, int(first))
        service, _plus, argument = asked.service.partition("+")
        self.entry = Entry(
            asked.target, service, argument, adminapi.changes(service), pid, time.monotonic(), arguments, client=program, user=asked.user)
        self.peer.begun(self)
        problem = asked.problem or rpcclients.problem(asked, self.peer.house, self.peer.refuses(self.entry))
        if problem:
            self.reply(problem.status, problem.outcome, error=problem.text)
        elif not service.startswith("admin."):
            self.entry.started = rpcclients.start(asked, self.peer.house)
            self.service = Service(self, self.peer.services, asked)

    def _finish(self) -> None:
        if self.entry.ended is None:
            self.reply(0, "", self.answer())

    def flush(self) -> None:
        super().flush()
        if self.service:
            self.service.room(len(self.owed))

    def pass_on(self, kind: bytes, data: bytes) -> None:
        """What the service wrote."""
        self.owed += HEAD.pack(kind, len(data)) + data
        self.flush()

    def reply(self, status: int, outcome: str, output: bytes = b"", error: bytes = b"") -> None:
        for kind, data in ((ERROR, error), (OUTPUT, output)):
            if data:
                self.owed += HEAD.pack(kind, len(data)) + data
        self.owed += HEAD.pack(STATUS, status)
        self.ended(status, outcome or told(output))
        self.flush()

    def lost(self, reset: bool) -> None:
        if hasattr(self, "entry") and self.entry.ended is None:
            self.ended(None, "left")
        if self.service:
            self.service.hang_up()
        self.close()


def told(output: bytes) -> str:
    """ok, empty, or the name of the exception."""
    if not output:
        return "empty"
    return "ok" if output[:1] == b"0" else output.split(b"\0")[1].decode("utf-8", "backslashreplace")
