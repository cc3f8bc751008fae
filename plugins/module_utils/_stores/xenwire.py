# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""One conversation with a XenStore daemon: requests in, replies out, in bounded time.

pyxs gives the connection, the packet header and the operations. Its Client is not used: it has no timeout and waits for
ever for a daemon that died. Here one thread sends whole messages, several at once, and reads as it goes.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from contextlib import contextmanager
from typing import Any, Iterator, List, Optional, Sequence, Tuple, Union

from .conversing import Down, Failure, TimedOut, number_of_connection

try:
    from pyxs._internal import Op, Packet
    from pyxs.connection import UnixSocketConnection, XenBusConnection
    PYXS_ERROR = None
except ImportError as error:
    PYXS_ERROR = error
    Op = Packet = None
    UnixSocketConnection = XenBusConnection = object

DIRECTORY_PART = 22
"""An operation of the C daemon that pyxs does not know: a listing too long for one reply, in parts."""

PAYLOAD = 4096
"""Bytes of payload at the most in a request; a larger one makes the daemon drop the connection."""

WINDOW = 64
"""Requests sent ahead of their replies at the most: more gains nothing, and all their replies fit the socket's buffer."""

_HEADER_SIZE = 16
_LONGEST_REPLY = 16 * 1024 * 1024


Request = Tuple[int, bytes]
Reply = Union[bytes, Failure]


class _SocketTransport:
    """What pyxs calls a transport, over a socket on which the kernel keeps the timeouts.

    Python's own timeouts make a socket non-blocking: connecting then fails at once where the daemon's queue is full, and
    each reply wakes this process.
    """

    def __init__(self, path: str, timeout: float) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        limit = struct.pack("ll", int(timeout), int(timeout % 1 * 1000000))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        try:
            self.socket.connect(path)
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        return self.socket.fileno()

    def send(self, messages: Sequence[bytes]) -> None:
        self.socket.sendall(b"".join(messages))

    def recv(self, least: int) -> bytes:
        """Waits for ``least`` bytes, and takes what is there; less at the end of the stream alone."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, max(least, 1))
        data = self.socket.recv(65536)
        # Fewer bytes are what had come when the time was up; then this fails. At the end of the stream it gives nothing.
        return data if len(data) >= least else data + self.socket.recv(65536, socket.MSG_DONTWAIT)

    def close(self) -> None:
        # No shutdown, unlike pyxs: after a fork that would end the other process's conversation.
        self.socket.close()


class _BusTransport:
    """The XenBus device: one message for each write, and a poll before each read, because a read has no timeout."""

    def __init__(self, path: str, timeout: float) -> None:
        self.descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)
        self.timeout = timeout

    def fileno(self) -> int:
        return self.descriptor

    def send(self, messages: Sequence[bytes]) -> None:
        for message in messages:
            self._wait(select.POLLOUT)
            os.write(self.descriptor, message)

    def recv(self, least: int) -> bytes:
        self._wait(select.POLLIN)
        return os.read(self.descriptor, 4096)

    def _wait(self, event: int) -> None:
        poll = select.poll()
        poll.register(self.descriptor, event)
        if not poll.poll(self.timeout * 1000):
            raise BlockingIOError

    def close(self) -> None:
        os.close(self.descriptor)


class _SocketConnection(UnixSocketConnection):
    """pyxs' socket connection, with the transport above."""

    timeout = 0.0

    def create_transport(self):
        return _SocketTransport(self.path, self.timeout)


class _BusConnection(XenBusConnection):
    """pyxs' device connection, with the transport above."""

    timeout = 0.0

    def create_transport(self):
        return _BusTransport(self.path, self.timeout)


class Conversation:
    """Pipelined requests over one connection, opened when first used and opened again after it ended.

    A conversation belongs to the process that opened it: after a fork the child opens its own. ``fired`` tells that a watch
    did; ``opened`` is the number of the connection, for watches end with theirs.
    """

    def __init__(self, path: Optional[str], bus: bool, timeout: float) -> None:
        self.timeout = timeout
        self._connection: Any = (_BusConnection if bus else _SocketConnection)(path)
        self._connection.timeout = timeout
        self.fired = False
        self.opened = 0
        self._owner = 0
        self._number = 0
        self._buffer = bytearray()

    def ask(self, requests: Sequence[Request], transaction: int = 0) -> List[Reply]:
        """The replies to these requests, in their order. ``Down`` when the conversation ends before all are there.

        A conversation left over from an earlier call may have ended since, with a restarted daemon: then the requests are
        sent once more, unless one was answered, one timed out, or they are part of a transaction.
        """
        fresh = self._open()
        replies: List[Reply] = []
        try:
            self._exchange(requests, transaction, replies)
        except TimedOut:
            raise
        except Down:
            if fresh or transaction or replies:
                raise
            self._open()
            self._exchange(requests, transaction, replies)
        return replies

    def wait_for_event(self, seconds: float) -> bool:
        """Whether a watch fired within so many seconds. ``Down`` when the conversation ended."""
        end = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self._connection.transport.fileno(), select.POLLIN)
        while not self.fired:
            left = end - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                return False
            with self._closed_when_it_ends():
                self._receive((), 0, [], 0)
        self.fired = False
        return True

    def close(self) -> None:
        """Ends the conversation; a transaction that is open in it ends with it, undone."""
        self._connection.close()
        self._buffer.clear()
        self.fired = False

    def _open(self) -> bool:
        """Whether the conversation had to be opened."""
        if self._connection.is_connected and self._owner == os.getpid():
            return False
        self.close()
        try:
            self._connection.connect()
        except BlockingIOError:
            raise TimedOut("it does not accept a connection within %g seconds (store_timeout)" % self.timeout) from None
        except OSError as error:
            raise Down("it cannot be opened: %s" % (error.strerror or error)) from None
        self._owner = os.getpid()
        self.opened = number_of_connection()
        return True

    def _exchange(self, requests: Sequence[Request], transaction: int, replies: List[Reply]) -> None:
        first, self._number = self._number, (self._number + len(requests)) & 0xFFFFFFFF
        sent = 0
        with self._closed_when_it_ends():
            while len(replies) < len(requests):
                if sent < len(requests) and sent - len(replies) <= WINDOW // 2:
                    ahead = min(len(replies) + WINDOW, len(requests))
                    self._connection.transport.send([_packed(requests[place], first + place, transaction) for place in range(sent, ahead)])
                    sent = ahead
                self._receive(requests, first, replies, sent)

    @contextmanager
    def _closed_when_it_ends(self) -> Iterator[None]:
        """``Down`` for all that can go wrong with a connection, which is then closed: what still comes would answer the next request."""
        try:
            yield
        except BlockingIOError:
            self.close()
            raise TimedOut("it does not answer within %g seconds (store_timeout)" % self.timeout) from None
        except OSError as error:
            self.close()
            raise Down("the connection ended: %s" % (error.strerror or error)) from None
        except Down:
            self.close()
            raise

    def _receive(self, requests: Sequence[Request], first: int, replies: List[Reply], sent: int) -> None:
        data = self._connection.transport.recv((sent - len(replies)) * _HEADER_SIZE - len(self._buffer))
        if not data:
            raise Down("it closed the connection")
        buffer = self._buffer
        buffer += data
        start, end = 0, len(buffer)
        while end - start >= _HEADER_SIZE:
            operation, number, _transaction, size = Packet._struct.unpack_from(buffer, start)
            place = len(replies)
            whole = end - start - _HEADER_SIZE >= size
            if operation == Op.WATCH_EVENT and size <= PAYLOAD:
                self.fired = self.fired or whole
            elif place == len(requests) or number != (first + place) & 0xFFFFFFFF or size > _LONGEST_REPLY:
                raise Down("it answered out of step")
            elif whole:
                payload = bytes(buffer[start + _HEADER_SIZE:start + _HEADER_SIZE + size])
                replies.append(_reply(operation, requests[place][0], payload))
            if not whole:
                break
            start += _HEADER_SIZE + size
        del buffer[:start]


def _packed(request: Request, number: int, transaction: int) -> bytes:
    operation, payload = request
    return Packet._struct.pack(operation, number & 0xFFFFFFFF, transaction, len(payload)) + payload


def _reply(operation: int, asked: int, payload: bytes) -> Reply:
    if operation == asked:
        return payload
    if operation == Op.ERROR:
        return Failure(payload.rstrip(b"\0").decode("ascii", "backslashreplace"))
    raise Down("it answered out of step")
