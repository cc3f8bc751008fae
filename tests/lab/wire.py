# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A minimal XenStore client for the lab's own setup and checks; it shares no code with the collection."""

from __future__ import annotations

import collections
import errno
import itertools
import socket
import struct
from typing import Deque, Iterable, List, Tuple

HEADER = struct.Struct("=IIII")  # type, request id, transaction, length of the body
PAYLOAD_MAX = 4096
TIMEVAL = struct.Struct("@ll")

READ, GET_PERMS, WATCH, UNWATCH, TRANSACTION_START, TRANSACTION_END = 2, 3, 4, 5, 6, 7
INTRODUCE, RELEASE, WRITE, RM, SET_PERMS, WATCH_EVENT, ERROR = 8, 9, 11, 13, 14, 15, 16
IS_DOMAIN_INTRODUCED = 17

Request = Tuple[int, bytes]

# The daemon answers one request a round; this many in flight keep both sides busy, and their replies fit any socket buffer.
WINDOW = 64


class Wire:
    """One connection to a XenStore socket.

    `timeout` is in seconds, for each wait. An error of the daemon is an OSError with its errno, silence is a TimeoutError, and the
    connection's end a ConnectionError. The events of watches gather, as paths, in `events`.
    """

    def __init__(self, path: str, timeout: float = 10.0) -> None:
        self.events: Deque[str] = collections.deque()
        self._path = path
        self._buffer = bytearray()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._connect(path, timeout)
        except OSError:
            self._socket.close()
            raise

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def _connect(self, path: str, timeout: float) -> None:
        # xenstored has a queue of one for new connections. With Python's own timeout the next one is refused (EAGAIN); this way it waits.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, TIMEVAL.pack(int(timeout), int(timeout % 1 * 1e6)))
        try:
            self._socket.connect(path)
        except BlockingIOError:
            raise TimeoutError("XenStore at %s takes no connection for %s s" % (path, timeout)) from None
        self._socket.settimeout(timeout)

    def request(self, kind: int, body: bytes, transaction: int = 0) -> bytes:
        """The body of the reply, as it came."""
        self._socket.sendall(HEADER.pack(kind, 0, transaction, len(body)) + body)
        return self._reply()

    def pipeline(self, requests: Iterable[Request], transaction: int = 0) -> List[bytes]:
        """The bodies of the replies, in order; the first error is raised and leaves the connection out of step."""
        replies: List[bytes] = []
        pending = iter(requests)
        while True:
            batch = [HEADER.pack(kind, 0, transaction, len(body)) + body for kind, body in itertools.islice(pending, WINDOW)]
            if not batch:
                return replies
            self._socket.sendall(b"".join(batch))
            replies += [self._reply() for _request in batch]

    def _reply(self) -> bytes:
        while True:
            kind, body = self._message()
            if kind == WATCH_EVENT:
                self.events.append(body.split(b"\0")[0].decode())
            elif kind == ERROR:
                name = body.rstrip(b"\0").decode()
                raise OSError(getattr(errno, name, errno.EIO), name)
            else:
                return body

    def _message(self) -> Tuple[int, bytes]:
        kind, _request, _transaction, length = HEADER.unpack(self._take(HEADER.size))
        return kind, self._take(length)

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            try:
                data = self._socket.recv(65536)
            except socket.timeout:
                raise TimeoutError("no answer of XenStore at %s for %s s" % (self._path, self._socket.gettimeout())) from None
            if not data:
                raise ConnectionError("XenStore at %s closed the connection" % self._path)
            self._buffer += data
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken


def strings(*parts: object) -> bytes:
    """The parts as XenStore's NUL-terminated strings, one after another."""
    return b"".join(str(part).encode() + b"\0" for part in parts)
