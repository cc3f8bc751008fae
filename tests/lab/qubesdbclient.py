# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One connection to a QubesDB daemon, from the daemon's side: its requests, their order, what it is owed, and what it does wrong.

The real daemon waits for each of its clients. This one never does, and blames the client instead.
"""

from __future__ import annotations

import collections
import contextlib
import socket
import struct
from typing import TYPE_CHECKING, Callable, Deque, List, NamedTuple, Optional

from loop import Stream
from qubesdbprotocol import HEADER, MESSAGE, PATH_MAX, STALE, Request, shown

if TYPE_CHECKING:
    from qubesdbdaemon import Daemon

OUTSTANDING_MAX = 32
SPLIT = 0.05  # seconds
UNREAD = 1.0  # seconds
CREDENTIALS = struct.Struct("=iII")


class Outcome(NamedTuple):
    """What a request comes to: its reply, whether the daemon then hangs up, and the path of the event that follows."""

    reply: bytes
    closes: bool = False
    event: Optional[bytes] = None


class Client(Stream):
    """One connection to a daemon. `pending` are the complete requests that are not answered yet, in their order."""

    def __init__(self, daemon: Daemon, connection: socket.socket, number: int, socket_name: str) -> None:
        super().__init__(daemon.loop, connection)
        self.daemon = daemon
        self.number = number
        self.socket = socket_name
        self.pid = CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size))[0]
        self.pending: Deque[Request] = collections.deque()
        self.watches: List[bytes] = []
        self.held = False  # the next answer is kept back
        self.muted = False  # nothing more goes out
        self.excused = False  # it was kept waiting, so it may leave early
        self.spoiled = False  # it will be kept waiting for ever, or was sent what no daemon sends, so it must
        self._messages = 0
        self._parsed = 0
        self._split_noted = -1
        self._closing = False
        self._reply_owed = self._reply_last = self._reply_sent_last = False
        self._blocked_at = -1

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
        if self.received and parsed == self._parsed and not self.closed:
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
        self.respond(self.daemon.outcome(self, request))

    def respond(self, outcome: Outcome) -> None:
        self.send(outcome.reply)
        if outcome.closes:
            self.hang_up()
        if outcome.event is not None:
            self.daemon.fire(outcome.event)

    def message(self, kind: int, path: bytes, data: bytes = b"") -> bytes:
        self._messages += 1
        field = path + STALE if self._messages & 1 else path
        return MESSAGE.pack(kind, field, len(data)) + data

    def send(self, data: bytes, reply: bool = True) -> None:
        """Puts a reply, or an event, behind what is owed; flush() sends it."""
        if data and not self._closing and not self.muted and not self.closed:
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
            if self._closing or self.half_closed and not self.pending and not self.held:
                self.close()
        elif self._blocked_at != self.sent:
            self._blocked_at = sent = self.sent
            self.after(UNREAD, lambda: self._check_unread(sent))

    def _check_unread(self, sent: int) -> None:
        if self.owed and self.sent == sent and not self.closed and not self.excused:
            self.daemon.blame("unread: connection %d did not read its replies for %d s", self.number, UNREAD)

    def hold(self) -> None:
        """Keeps what is pending unanswered, until release()."""
        self.held = self.excused = True

    def release(self) -> None:
        """Answers the request that was held back, without a further look at the rules, and goes on."""
        self.held = False
        self.answer(self.take())
        self.go_on()

    def mute(self) -> None:
        """Answers nothing more, and sends no events either."""
        self.spoil()
        self.hold()
        self.muted = True

    def spoil(self) -> None:
        self.spoiled = self.excused = True

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

    def finished(self) -> None:
        """It is answered, and then hung up on."""
        self.wait_no_more()
        self.received.clear()
        self.go_on()

    def close(self) -> None:
        super().close()
        with contextlib.suppress(ValueError):
            self.daemon.clients.remove(self)

    def after(self, seconds: float, function: Callable[[], None]) -> None:
        """Later, while the daemon lives and is not frozen."""
        life = self.daemon.life
        self.loop.later(seconds, lambda: self.daemon.when_thawed(function) if self.daemon.life == life else None)
