# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guests' side of the lab: what the kernel's XenBus driver does in a real guest.

`guests.py DIRECTORY` serves the ring pages in DIRECTORY/machine (laid out in hypervisor.c) until its standard input ends. Each line there
is `open N` or `close N`, and is answered with `ok`. An open guest N has DIRECTORY/guest.N, a UNIX socket of which each connection is one
open of /dev/xen/xenbus, and DIRECTORY/xenbus.N, the path of a pty that programs open as they open the device.

As in the kernel, a request id belongs to its opener, a transaction is usable only by the opener that started it, and an opener's end ends
its transactions and watches. A pty cannot tell two openers apart that are open together, nor one that opens right after another ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import select
import signal
import socket
import struct
import sys
import termios
import tty
from typing import Callable, Dict, List, Optional, Set, Tuple

from wire import ERROR, HEADER, PAYLOAD_MAX, TRANSACTION_END, TRANSACTION_START, UNWATCH, WATCH, WATCH_EVENT

FIRST_RESERVED_DOMID = 32752
PENDING = 32768
RINGS = 65536
PAGE = 4096
MACHINE_SIZE = RINGS + PAGE * FIRST_RESERVED_DOMID

RING = 1024
RESPONSES = 1024
INDEXES = 2048
REQUEST_CONSUMER, REQUEST_PRODUCER, RESPONSE_CONSUMER, RESPONSE_PRODUCER = range(4)
WORD = 0xFFFFFFFF

BACKLOG_MAX = 64 * 1024
PR_SET_PDEATHSIG = 1


def event_port(domid: int) -> int:
    return domid + 2


class Opener:
    """One open of the device: what it sent, what it is owed, what ends with it."""

    def __init__(self, number: int, fd: int, connection: Optional[socket.socket] = None) -> None:
        self.number = number
        self.fd = fd
        self.connection = connection
        self.received = bytearray()
        self.owed = bytearray()
        self.transactions: Set[int] = set()
        self.watches: Set[Tuple[bytes, bytes]] = set()
        self.alive = True
        self.wanted = select.EPOLLIN

    def owe(self, kind: int, request: int, transaction: int, body: bytes) -> None:
        self.owed += HEADER.pack(kind, request, transaction, len(body)) + body

    def next_message(self) -> Optional[Tuple[int, int, int, bytes]]:
        """None: not all of it is here. ValueError: longer than the device takes."""
        if len(self.received) < HEADER.size:
            return None
        kind, request, transaction, length = HEADER.unpack_from(self.received)
        end = HEADER.size + length
        if end > PAYLOAD_MAX:
            raise ValueError("a message of %d bytes" % end)
        if len(self.received) < end:
            return None
        body = bytes(self.received[HEADER.size:end])
        del self.received[:end]
        return kind, request, transaction, body


class Ring:
    """A guest's end of its ring page: bytes in, bytes out, indexes that run freely."""

    def __init__(self, machine: int, domid: int) -> None:
        self._page = mmap.mmap(machine, PAGE, offset=RINGS + PAGE * domid)
        self._view = memoryview(self._page)
        self._indexes = self._view[INDEXES:INDEXES + 16].cast("I")

    def close(self) -> None:
        self._indexes.release()
        self._view.release()
        self._page.close()

    def receive(self) -> bytes:
        consumer, producer = self._indexes[RESPONSE_CONSUMER], self._indexes[RESPONSE_PRODUCER]
        size = (producer - consumer) & WORD
        start = consumer % RING
        first = min(size, RING - start)
        data = self._page[RESPONSES + start:RESPONSES + start + first] + self._page[RESPONSES:RESPONSES + size - first]
        self._indexes[RESPONSE_CONSUMER] = producer
        return data

    def send(self, data: bytearray) -> int:
        """The number of bytes there was room for."""
        consumer, producer = self._indexes[REQUEST_CONSUMER], self._indexes[REQUEST_PRODUCER]
        size = min(len(data), RING - ((producer - consumer) & WORD))
        start = producer % RING
        first = min(size, RING - start)
        self._page[start:start + first] = bytes(data[:first])
        self._page[:size - first] = bytes(data[first:size])
        self._indexes[REQUEST_PRODUCER] = (producer + size) & WORD
        return size


class Guest:
    """One guest's driver: many openers, one ring."""

    def __init__(self, bridge: Bridge, domid: int) -> None:
        self.domid = domid
        self._bridge = bridge
        self._ring = Ring(bridge.machine, domid)
        self._requests = bytearray()
        self._responses = bytearray()
        self._waiting: Dict[int, Tuple[Optional[Opener], int, int, int]] = {}
        self._last_request = 0
        self._last_opener = 0
        self._openers: Dict[int, Opener] = {}
        self._pty_opener: Optional[Opener] = None
        self._listen()
        self._plug_in()

    # -- the ways in --

    def _listen(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._listener.bind(self._bridge.path("guest.%d" % self.domid))
        self._listener.listen(64)
        self._bridge.register(self._listener.fileno(), select.EPOLLIN, self._accept)

    def _plug_in(self) -> None:
        self._master, slave = os.openpty()
        tty.setraw(slave)
        os.set_blocking(self._master, False)
        self._device = os.ttyname(slave)
        os.symlink(self._device, self._bridge.path("xenbus.%d" % self.domid))
        os.close(slave)
        # Edge-triggered: while nobody has the device open, a level would say "hung up" for ever.
        self._bridge.register(self._master, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET, self._pty_event)

    def close(self) -> None:
        for opener in list(self._openers.values()):
            self._drop(opener)
        self._bridge.unregister(self._listener.fileno())
        self._bridge.unregister(self._master)
        self._listener.close()
        os.close(self._master)
        for name in ("guest.%d", "xenbus.%d"):
            os.unlink(self._bridge.path(name % self.domid))
        self._ring.close()

    def _accept(self, _events: int) -> None:
        connection, _address = self._listener.accept()
        connection.setblocking(False)
        opener = self._new_opener(connection.fileno(), connection)
        self._bridge.register(opener.fd, select.EPOLLIN, lambda events: self._socket_event(opener, events))

    def _new_opener(self, fd: int, connection: Optional[socket.socket] = None) -> Opener:
        self._last_opener += 1
        opener = Opener(self._last_opener, fd, connection)
        self._openers[opener.number] = opener
        return opener

    def _socket_event(self, opener: Opener, events: int) -> None:
        if events & ~select.EPOLLOUT:
            try:
                data = os.read(opener.fd, 65536)
            except BlockingIOError:  # the event was of an earlier opener with this descriptor
                return
            except OSError:
                data = b""
            if not data or not self._feed(opener, data):
                self._drop(opener)
        self.pump()

    def _pty_event(self, _events: int) -> None:
        while True:
            try:
                data = os.read(self._master, 65536)
            except BlockingIOError:
                break
            except OSError:  # EIO: nobody has the device open any more
                if self._pty_opener:
                    self._drop(self._pty_opener)
                break
            if not self._pty_opener:
                self._pty_opener = self._new_opener(self._master)
            if not self._feed(self._pty_opener, data):
                self._drop(self._pty_opener)
        self.pump()

    def _drop(self, opener: Opener) -> None:
        opener.alive = False
        del self._openers[opener.number]
        for transaction in opener.transactions:
            self._submit(None, 0, TRANSACTION_END, transaction, b"F\0")
        for path, token in opener.watches:
            self._submit(None, 0, UNWATCH, 0, path + b"\0" + token + b"\0")
        if opener.connection:
            self._bridge.unregister(opener.fd)
            opener.connection.close()
        else:
            self._pty_opener = None
            self._forget_unread()

    def _forget_unread(self) -> None:
        slave = os.open(self._device, os.O_RDWR | os.O_NOCTTY)
        termios.tcflush(slave, termios.TCIFLUSH)
        os.close(slave)

    # -- opener to ring --

    def _feed(self, opener: Opener, data: bytes) -> bool:
        opener.received += data
        try:
            message = opener.next_message()
            while message:
                self._forward(opener, *message)
                message = opener.next_message()
        except ValueError:
            return False
        return True

    def _forward(self, opener: Opener, kind: int, request: int, transaction: int, body: bytes) -> None:
        if transaction and transaction not in opener.transactions:
            opener.owe(ERROR, request, transaction, b"ENOENT\0")
            return
        if kind in (WATCH, UNWATCH):
            path, token = (body.split(b"\0") + [b""])[:2]
            own = b"%x:%s" % (opener.number, token)
            (opener.watches.add if kind == WATCH else opener.watches.discard)((path, own))
            body = path + b"\0" + own + b"\0"
        self._submit(opener, request, kind, transaction, body)

    def _submit(self, opener: Optional[Opener], request: int, kind: int, transaction: int, body: bytes) -> None:
        self._last_request = (self._last_request + 1) & WORD
        self._waiting[self._last_request] = (opener, request, kind, transaction)
        self._requests += HEADER.pack(kind, self._last_request, transaction, len(body)) + body

    # -- ring to opener --

    def pump(self) -> None:
        """Moves what can be moved, in both directions."""
        received = self._ring.receive()
        self._responses += received
        self._dispatch_all()
        for opener in list(self._openers.values()):
            self._pay(opener)
        sent = self._ring.send(self._requests)
        del self._requests[:sent]
        if received or sent:
            self._bridge.kick(self.domid)

    def _dispatch_all(self) -> None:
        while len(self._responses) >= HEADER.size:
            kind, request, transaction, length = HEADER.unpack_from(self._responses)
            end = HEADER.size + length
            if len(self._responses) < end:
                return
            body = bytes(self._responses[HEADER.size:end])
            del self._responses[:end]
            if kind == WATCH_EVENT:
                self._tell(body)
            else:
                self._answer(kind, request, transaction, body)

    def _tell(self, body: bytes) -> None:
        path, own = body.split(b"\0")[:2]
        number, _colon, token = own.partition(b":")
        opener = self._openers.get(int(number, 16))
        if opener:
            opener.owe(WATCH_EVENT, 0, 0, path + b"\0" + token + b"\0")

    def _answer(self, kind: int, ring_request: int, transaction: int, body: bytes) -> None:
        opener, request, asked, in_transaction = self._waiting.pop(ring_request)
        started = int(body.rstrip(b"\0")) if asked == TRANSACTION_START and kind != ERROR else None
        if opener is None or not opener.alive:
            if started is not None:
                self._submit(None, 0, TRANSACTION_END, started, b"F\0")
            return
        if started is not None:
            opener.transactions.add(started)
        if asked == TRANSACTION_END:
            opener.transactions.discard(in_transaction)
        opener.owe(kind, request, transaction, body)

    def _pay(self, opener: Opener) -> None:
        try:
            while opener.owed:
                written = os.write(opener.fd, opener.owed[:4096])
                del opener.owed[:written]
        except BlockingIOError:
            pass
        except OSError:
            self._drop(opener)
            return
        if opener.connection:
            # An opener that sends faster than the daemon answers has to wait, as in write() on the device.
            reading = 0 if len(self._requests) > BACKLOG_MAX else select.EPOLLIN
            wanted = reading | (select.EPOLLOUT if opener.owed else 0)
            if wanted != opener.wanted:
                self._bridge.modify(opener.fd, wanted)
                opener.wanted = wanted


class Bridge:
    """The event loop over all guests."""

    def __init__(self, directory: str) -> None:
        self.machine = os.open(os.path.join(directory, "machine"), os.O_RDWR | os.O_CLOEXEC)
        self._directory = directory
        self._pending = mmap.mmap(self.machine, RINGS)
        self._guests: Dict[int, Guest] = {}
        self._epoll = select.epoll()
        self._handlers: Dict[int, Callable[[int], None]] = {}
        self._commands = b""
        self._events = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._events.bind(self.path("guests"))
        self.register(self._events.fileno(), select.EPOLLIN, self._wake_up)
        self.register(sys.stdin.fileno(), select.EPOLLIN, self._command)

    def path(self, name: str) -> str:
        return os.path.join(self._directory, name)

    def register(self, fd: int, events: int, handler: Callable[[int], None]) -> None:
        self._handlers[fd] = handler
        self._epoll.register(fd, events)

    def modify(self, fd: int, events: int) -> None:
        self._epoll.modify(fd, events)

    def unregister(self, fd: int) -> None:
        self._epoll.unregister(fd)
        del self._handlers[fd]

    def kick(self, domid: int) -> None:
        with contextlib.suppress(OSError):  # full: a wake-up is pending anyway; refused: the daemon is gone
            self._events.sendto(struct.pack("=I", event_port(domid)), self.path("hypervisor"))

    def run(self) -> None:
        while True:
            for fd, events in self._epoll.poll():
                handler = self._handlers.get(fd)
                if handler:
                    handler(events)

    def _wake_up(self, _events: int) -> None:
        try:
            while True:
                self._events.recv(16)
        except BlockingIOError:
            pass
        found = self._pending.find(b"\1", PENDING)
        while found >= 0:
            self._pending[found] = 0
            guest = self._guests.get(found - PENDING)
            if guest:
                guest.pump()
            found = self._pending.find(b"\1", found + 1)

    def _command(self, _events: int) -> None:
        data = os.read(sys.stdin.fileno(), 4096)
        if not data:
            sys.exit(0)
        lines: List[bytes] = (self._commands + data).split(b"\n")
        self._commands = lines.pop()
        for line in lines:
            verb, domid = line.split()
            self._open(int(domid)) if verb == b"open" else self._close(int(domid))
            os.write(sys.stdout.fileno(), b"ok\n")

    def _open(self, domid: int) -> None:
        if domid not in self._guests:
            self._guests[domid] = Guest(self, domid)

    def _close(self, domid: int) -> None:
        guest = self._guests.pop(domid, None)
        if guest:
            guest.close()


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    Bridge(sys.argv[1]).run()
