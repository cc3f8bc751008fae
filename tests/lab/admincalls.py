# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A call on its way: who made it, what came of it, and the lab's end of qrexecclient.c."""

from __future__ import annotations

import dataclasses
import socket
import struct
import time
from typing import TYPE_CHECKING, List, Optional

import adminapi
from adminqubes import DOM0
from loop import Stream

if TYPE_CHECKING:
    from adminpeer import Peer

HEAD = struct.Struct("=cI")
CREDENTIALS = struct.Struct("=iII")
ARGUMENTS, OUTPUT, ERROR, STATUS = b"A", b"O", b"E", b"X"
REFUSED = 126
REFUSED_TEXT = b"Request refused\n"


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
    """A qrexec-client-vm."""

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
            elif data:
                self.entry.payload += data
            else:
                self._finish()

    def _begin(self, data: bytes) -> None:
        first, *arguments = data.decode("utf-8", "surrogateescape").split("\0")[:-1]
        target, service = arguments[int(first):int(first) + 2]
        service, _plus, argument = service.partition("+")
        target = target.replace("$", "@")
        pid, _uid, _gid = CREDENTIALS.unpack(self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size))
        self.entry = Entry(
            DOM0 if target == "@adminvm" else target, service, argument, adminapi.changes(service), pid, time.monotonic(), arguments
        )
        self.peer.begun(self)
        if self.peer.refuses(self.entry) or self.entry.target not in self.peer.house.qubes:
            self.reply(REFUSED, "refused", error=REFUSED_TEXT)

    def _finish(self) -> None:
        if self.entry.ended is None:
            self.reply(0, "", self.answer())

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
        self.close()


def told(output: bytes) -> str:
    """ok, empty, or the name of the exception."""
    if not output:
        return "empty"
    return "ok" if output[:1] == b"0" else output.split(b"\0")[1].decode("utf-8", "backslashreplace")
