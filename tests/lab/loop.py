# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A loop over sockets with timers, and connections that never make it wait."""

from __future__ import annotations

import heapq
import itertools
import select
import selectors
import socket
import time
from typing import Callable, List, Optional, Tuple

# More than a UNIX socket's queue holds unless its sender enlarged it (net.core.wmem_default, 212992 bytes), so one read takes all of it.
ROOM = 256 * 1024
READABLE, WRITABLE = selectors.EVENT_READ, selectors.EVENT_WRITE

Handler = Callable[[int], None]


class Loop:
    """Calls handlers with what their socket is ready for (READABLE, WRITABLE), and functions when their time has come.

    A handler may be called once more after its socket was removed, when both happen in one round.
    """

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(ROOM))
        self._selector = selectors.DefaultSelector()
        self._timers: List[Tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._running = True

    def add(self, source: object, handler: Handler, last: bool = False) -> None:
        """`last`: handled after all others that were ready by then, so that it sees what happened before."""
        self._selector.register(source, READABLE, (handler, last))

    def expect(self, source: object, events: int) -> None:
        self._selector.modify(source, events, self._selector.get_key(source).data)

    def remove(self, source: object) -> None:
        self._selector.unregister(source)

    def later(self, seconds: float, function: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._numbers), function))

    def stop(self) -> None:
        self._running = False

    def run(self) -> None:
        while self._running:
            lasts = self._round(self._patience())
            if lasts:
                self._round(0)  # what a client sent and that it left take a round each
            for handler, events in lasts:
                handler(events)
            while self._timers and self._timers[0][0] <= time.monotonic():
                heapq.heappop(self._timers)[2]()

    def _round(self, patience: Optional[float]) -> List[Tuple[Handler, int]]:
        """Calls the handlers of what is ready, and returns those that are to be called last."""
        lasts = []
        for key, events in self._selector.select(patience):
            handler, last = key.data
            if last:
                lasts.append((handler, events))
            else:
                handler(events)
        return lasts

    def _patience(self) -> Optional[float]:
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None


class Stream:
    """One connection: `received` is what came and was not taken yet; what is to go waits in `owed` until there is room for it."""

    last = False

    def __init__(self, loop: Loop, connection: socket.socket) -> None:
        self.loop = loop
        self.connection = connection
        self.received = bytearray()
        self.owed = bytearray()
        self.closed = False
        self.paused = False
        self.half_closed = False  # the other end sends nothing more, and still reads
        self.sent = 0  # bytes, in all
        self._expected = READABLE
        connection.setblocking(False)
        loop.add(connection, self.ready, self.last)

    def ready(self, events: int) -> None:
        if events & WRITABLE:
            self.flush()
        if events & READABLE and not self.half_closed:
            self.receive()

    def receive(self) -> bool:
        """Takes what is there; false when that was nothing."""
        if self.closed or self.paused or self.half_closed:
            return False
        try:
            size = self.connection.recv_into(self.loop.buffer)
        except BlockingIOError:
            return False
        except OSError:
            self.lost(reset=True)
            return False
        if not size:
            if self._is_read():
                self.finished()
            else:
                self.lost(reset=False)
            return False
        self.received += self.loop.buffer[:size]
        self.arrived()
        return True

    def flush(self) -> None:
        if self.closed or self.paused:
            return
        if self.owed:
            try:
                size = self.connection.send(self.owed)
            except BlockingIOError:
                size = 0
            except OSError:
                self.lost(reset=True)
                return
            self.sent += size
            del self.owed[:size]
        self._expect()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            if not self.paused and self._expected:
                self.loop.remove(self.connection)
            self.connection.close()

    def pause(self) -> None:
        """Neither reads nor writes until resume()."""
        self.paused = True
        if self._expected:
            self.loop.remove(self.connection)

    def resume(self) -> None:
        self.paused = False
        self._expected = 0
        self._expect()

    def catch_up(self) -> None:
        """Takes all that is there, and its end."""
        while self.receive():
            pass

    def arrived(self) -> None:
        """There is something new in `received`."""
        raise NotImplementedError

    def lost(self, reset: bool) -> None:
        """The other end has closed; `reset`: and left something unread."""
        self.close()

    def finished(self) -> None:
        """The other end sends nothing more, and still reads."""
        self.lost(reset=False)

    def wait_no_more(self) -> None:
        """Only sends from now on."""
        self.half_closed = True
        self._expect()

    def _is_read(self) -> bool:
        """Whether the other end, which sends nothing more, still reads."""
        poll = select.poll()
        poll.register(self.connection, 0)
        return not poll.poll(0)

    def _expect(self) -> None:
        expected = (0 if self.half_closed else READABLE) | (WRITABLE if self.owed else 0)
        before, self._expected = self._expected, expected
        if expected == before:
            return
        if not expected:
            self.loop.remove(self.connection)
            return
        if not before:
            self.loop.add(self.connection, self.ready, self.last)
        self.loop.expect(self.connection, expected)
