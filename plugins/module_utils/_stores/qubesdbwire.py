# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""Conversations with QubesDB daemons: requests in, replies out, in bounded time, with many daemons side by side.

The protocol is that of qubes-core-qubesdb 4.3: a header of 72 bytes, then data. The official binding is not used: it is
built for the system's Python alone, has no timeout, and sends half of a write again after the daemon was restarted.

A daemon serves its clients one after the other and waits for each, so a slow client holds up all others, and some things
end it. Hence whole messages, few of them ahead of their replies, every reply read before a connection is closed (late ones by
another process), and one connection to a daemon at a time.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import time
from collections import deque
from typing import Any, Dict, Generator, List, NamedTuple, Optional, Sequence, Tuple, Union

from . import late
from .conversing import Down, Failure, TimedOut, number_of_connection
from .work import Ended, Work

READ, WRITE, MULTIREAD, RM, WATCH, UNWATCH = 0, 1, 2, 4, 5, 6
_OK, _NOENT, _ERROR, _R_READ, _R_MULTIREAD, _R_WATCH = 7, 8, 9, 10, 11, 13

LONGEST_PATH = 63
"""Bytes of a path at the most, with its slash: the daemon cuts a longer one without a word."""

LONGEST_VALUE = 3071
"""Bytes of a value at the most."""

WINDOW = 32
"""Requests sent ahead of their replies at the most. The daemon waits for whoever lets 50 of its longest replies pile up."""

WINDOW_BYTES = 65536
"""Bytes sent ahead of their replies at the most: they fit a socket's buffer, so no message is ever sent in part."""

LARGEST_REPLY = 64 * 1024 * 1024
"""Bytes of one reply at the most; a qube that fills its database beyond this is not read."""

SLOWEST_REPLY = 3
"""Timeouts that one reply may take at the most, however steadily it comes."""

_HEADER = struct.Struct("=B64s3xI")
_RECEIVE = 65536
_MOST_EVENTS = 1024
_RETRY = 0.02
_LONG = 3600.0


NOENT, ERROR, TOO_LARGE = Failure("NOENT"), Failure("ERROR"), Failure("TOO_LARGE")


class Request(NamedTuple):
    """One message to the daemon; the path has its slash."""

    kind: int
    path: bytes
    data: bytes = b""


Reply = Union[bytes, Dict[bytes, bytes], Failure]
"""To READ the value, to MULTIREAD path to value, to what changes something nothing; or a failure, ``TOO_LARGE`` one of our own."""

Asking = Tuple["Conversation", Sequence[Request]]
Job = Generator[Asking, List[Reply], Any]
"""Yields what it asks of which daemon, is sent the replies (or has ``Down`` raised in it), and returns its result."""


class Conversation:
    """One connection to the daemon behind a socket, opened when it is needed, and the requests that are under way on it.

    It belongs to the process that opened it: after a fork the child opens its own. ``due`` is when the daemon has been
    silent for too long. ``events`` are the paths of watches that fired, the oldest first; ``opened`` is the number of
    the connection, for watches end with theirs.
    """

    def __init__(self, path: str, timeout: float) -> None:
        self.path = path
        self.timeout = timeout
        self.due = self._latest = 0.0
        self.opened = 0
        self.events: deque = deque(maxlen=_MOST_EVENTS)
        self._socket: Optional[socket.socket] = None
        self._owner = 0
        self._connected = False
        self._requests: Sequence[Request] = ()
        self._replies: List[Reply] = []
        self._packed = 0
        self._ahead: deque = deque()
        self._unsent = b""
        self._buffer = bytearray()
        self._several: Dict[bytes, bytes] = {}
        self._several_bytes = 0

    # exchanges

    def begin(self, requests: Sequence[Request]) -> None:
        """Takes on requests; all earlier ones are answered."""
        if self._owner != os.getpid():
            self.close()
        self._requests, self._replies, self._packed = requests, [], 0
        self._expect()

    def _expect(self) -> None:
        """A reply is due."""
        now = time.monotonic()
        self.due, self._latest = now + self.timeout, now + self.timeout * SLOWEST_REPLY

    def advance(self) -> Optional[List[Reply]]:
        """Does what can be done without waiting; the replies once all are there. ``Down`` when the conversation has ended."""
        try:
            if self._connected or self._connect():
                self._exchange()
            if len(self._replies) == len(self._requests):
                return self._replies
            now = time.monotonic()
            if now >= self._latest:
                raise TimedOut("its answer has no end after %g seconds, which is %d times store_timeout" % (SLOWEST_REPLY * self.timeout, SLOWEST_REPLY))
            if now >= self.due:
                what = "answer" if self._connected else "accept a connection"
                raise TimedOut("it does not %s within %g seconds (store_timeout)" % (what, self.timeout))
        except OSError as error:
            self._ahead.clear()
            raise self._down(Down("the connection ended: %s" % (error.strerror or error))) from None
        except Down as error:
            raise self._down(error) from None
        return None

    def _down(self, error: Down) -> Down:
        """The error with what was answered before; nothing is asked again here, for another daemon may be there by now."""
        error.replies, error.sent = self._replies, self._packed
        self.close()
        return error

    def _connect(self) -> bool:
        """Whether there is a connection; not yet where the daemon's queue of them is full."""
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
                self._owner = os.getpid()
            self._socket.connect(self.path)
        except BlockingIOError:
            return False
        except OSError as error:
            known = {errno.ECONNREFUSED: "its daemon has ended and left the socket behind", errno.ENOENT: "its daemon has ended"}
            raise Down(known.get(error.errno, "it cannot be opened: %s" % (error.strerror or error))) from None
        self._connected = True
        self.opened = number_of_connection()
        return True

    def _exchange(self) -> None:
        self._send()
        try:
            data = self._socket.recv(_RECEIVE)
        except BlockingIOError:
            return
        self._take(data)
        if data:
            self._send()
        elif self._ahead:
            self._ahead.clear()
            raise Down("it closed the connection")

    def _send(self) -> None:
        ready = [self._unsent]
        size = sum(self._ahead)
        while self._packed < len(self._requests) and len(self._ahead) < WINDOW and size + _HEADER.size + LONGEST_VALUE <= WINDOW_BYTES:
            kind, path, data = self._requests[self._packed]
            ready.append(_HEADER.pack(kind, path, len(data)) + data)
            self._ahead.append(len(ready[-1]))
            self._packed += 1
            size += len(ready[-1])
        self._unsent = b"".join(ready)
        if self._unsent:
            try:
                self._unsent = self._unsent[self._socket.send(self._unsent, socket.MSG_NOSIGNAL):]
            except BlockingIOError:
                pass

    # replies

    def _take(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        start, end = 0, len(buffer)
        while end - start >= _HEADER.size:
            kind, path, size = _HEADER.unpack_from(buffer, start)
            nul = path.find(b"\0")
            if size > LONGEST_VALUE or nul < 0:
                raise Down("it answered out of step")
            if end - start - _HEADER.size < size:
                break
            start += _HEADER.size + size
            # What stands behind the NUL is left over from other messages.
            self._take_one(kind, path[:nul], bytes(buffer[start - size:start]))
        del buffer[:start]

    def _take_one(self, kind: int, path: bytes, data: bytes) -> None:
        if kind == _R_WATCH and not data:
            self.events.append(path)
            return
        if not self._ahead:
            raise Down("it answered what was not asked")
        request = self._requests[len(self._replies)]
        if kind == _R_MULTIREAD and request.kind == MULTIREAD and path:
            self._take_one_of_several(request, path, data)
            return
        self._replies.append(self._reply(request, kind, path, data))
        self._ahead.popleft()
        self._expect()

    def _take_one_of_several(self, request: Request, path: bytes, data: bytes) -> None:
        self._several_bytes += _HEADER.size + len(data)
        if not path.startswith(request.path):
            raise Down("it answered out of step")
        if self._several_bytes <= LARGEST_REPLY:
            self._several[path] = data
            self.due = min(time.monotonic() + self.timeout, self._latest)
        else:
            # Taken in to its end all the same, for hanging up in the middle is what ends a daemon.
            self._several.clear()

    def _reply(self, request: Request, kind: int, path: bytes, data: bytes) -> Reply:
        if kind == _R_READ and request.kind == READ and path == request.path:
            return data
        if kind == _R_MULTIREAD and request.kind == MULTIREAD and not data:
            several: Reply = self._several if self._several_bytes <= LARGEST_REPLY else TOO_LARGE
            self._several, self._several_bytes = {}, 0
            return several
        if kind == _OK and request.kind in (WRITE, RM, WATCH, UNWATCH) and not data:
            return b""
        if kind == _NOENT and request.kind in (READ, RM, UNWATCH) and not data:
            return NOENT
        if kind == _ERROR and not data:
            return ERROR
        raise Down("it answered out of step")

    # waiting

    def fileno(self) -> int:
        """The socket to wait for, or -1 where there is no connection yet and it is to be tried again."""
        return self._socket.fileno() if self._connected else -1

    @property
    def mask(self) -> int:
        """What to wait for."""
        return select.POLLIN | (select.POLLOUT if self._unsent else 0)

    def wait_for_event(self, seconds: float) -> bool:
        """Whether a watch fired within so many seconds, on a connection with nothing under way. ``Down`` when it ended."""
        end = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        while not self.events:
            left = end - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                return False
            try:
                data = self._socket.recv(_RECEIVE)
                self._take(data)
                if not data:
                    raise Down("it closed the connection")
            except OSError as error:
                self.close()
                raise Down("the connection ended: %s" % (error.strerror or error)) from None
            except Down:
                self.close()
                raise
        self.events.clear()
        return True

    def close(self) -> None:
        """Hangs up; where the daemon has still to answer, it is left to ``late``."""
        if self._socket is not None:
            if self._ahead and self._owner == os.getpid():
                late.take(self._socket)
            else:
                self._socket.close()
        self._socket = None
        self._connected = False
        self._unsent = b""
        self._buffer.clear()
        self._ahead.clear()
        self._several, self._several_bytes = {}, 0
        self.events.clear()


def alone(job: Job) -> Any:
    """Runs one job, and returns what it does."""
    with Running() as running:
        running.begin("", job)
        while True:
            for ended in running.wait(_LONG):
                if ended.error:
                    raise ended.error
                return ended.result


class Running(Work):
    """Jobs, each on a conversation of its own, and the conversations that they wait for."""

    def __init__(self) -> None:
        self._jobs: Dict[str, Job] = {}
        self._waiting: Dict[str, Conversation] = {}
        self._ended: List[Ended] = []

    def begin(self, qube: str, job: Job) -> None:
        self._jobs[qube] = job
        self._go_on(qube, None)

    def __exit__(self, *error: object) -> None:
        for conversation in self._waiting.values():
            conversation.close()
        late.leave()

    def _go_on(self, name: str, news: Union[None, List[Reply], Down]) -> None:
        """Tells a job what it waited for, and as long as it gets its answers at once the next ones too."""
        job = self._jobs[name]
        try:
            while True:
                conversation, requests = job.throw(news) if isinstance(news, Down) else job.send(news)
                conversation.begin(requests)
                news = self._news(conversation)
                if news is None:
                    self._waiting[name] = conversation
                    return
        except StopIteration as end:
            self._ended.append(Ended(name, end.value))
        except Exception as error:  # pylint: disable=broad-except
            # For the caller to judge, when the others have ended too: a connection with an answer under way must not be closed.
            self._ended.append(Ended(name, None, error))

    @staticmethod
    def _news(conversation: Conversation) -> Union[None, List[Reply], Down]:
        try:
            return conversation.advance()
        except Down as error:
            return error

    def wait(self, seconds: float) -> List[Ended]:
        end = time.monotonic() + seconds
        if not self._waiting and not self._ended:
            time.sleep(seconds)
        while self._waiting and not self._ended and time.monotonic() < end:
            self._wait(end)
        ended, self._ended = self._ended, []
        return ended

    def _wait(self, end: float) -> None:
        """Waits until something can go on, and lets all of that go on."""
        poll, names, unconnected = select.poll(), {}, []
        for name, conversation in self._waiting.items():
            descriptor = conversation.fileno()
            if descriptor < 0:
                unconnected.append(name)
            else:
                names[descriptor] = name
                poll.register(descriptor, conversation.mask)
        until = min(end, *(conversation.due for conversation in self._waiting.values()))
        if unconnected:
            until = min(until, time.monotonic() + _RETRY)
        ready = [names[descriptor] for descriptor, _event in poll.poll(max(0.0, until - time.monotonic()) * 1000)]
        now = time.monotonic()
        late = [name for name, conversation in self._waiting.items() if conversation.due <= now]
        for name in dict.fromkeys(ready + unconnected + late):
            news = self._news(self._waiting[name])
            if news is not None:
                del self._waiting[name]
                self._go_on(name, news)
