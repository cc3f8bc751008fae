# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""Running a program, and never longer or with more of its output than was agreed on.

The program is a list of arguments, never a line for a shell. It has a session of its own, and when it is over, all that is left of
that session's process group is ended too.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import threading
import time
from typing import Dict, List, NamedTuple, Optional, Set, Union

CHUNK = 16384
"""Bytes read at once; with what is kept, that is all the memory that output costs."""

LOOK = 0.1
"""Seconds between looks whether a program that keeps silent has ended, and left something behind that holds its output open."""

REST = 1.0
"""Seconds that what is left in the pipes may take when the program has ended."""


class NotRun(Exception):
    """The program cannot be started; the text is why."""


class TimedOut(Exception):
    """The time was up, and the program was ended."""


class Interrupted(Exception):
    """This process is about to end, and so did the program."""


class Output(NamedTuple):
    """What a program wrote: the first bytes of it, and how many there were."""

    data: Union[bytes, bytearray]
    size: int

    @property
    def cut(self) -> bool:
        return self.size > len(self.data)


class Ended(NamedTuple):
    """How a program ended; the status is negative for a signal."""

    status: int
    output: Output
    told: Output


class _Running:
    """The programs that run now; when this process is to end, they all do."""

    lock = threading.Lock()
    now: Set[subprocess.Popen] = set()
    over = False


def run(command: List[str], payload: bytes, timeout: float, most: int) -> Ended:
    """Runs a program to its end, and keeps ``most`` bytes of each of its outputs; the rest is read and dropped."""
    end = time.monotonic() + timeout
    if _Running.over:
        raise Interrupted()
    process = _start(command)
    try:
        outputs = _converse(process, payload, end, most)
        _await(process, end)
    finally:
        _finish(process)
    if _Running.over:
        raise Interrupted()
    return Ended(process.returncode, *outputs)


def end_all() -> None:
    """Ends all programs, of all threads, and lets no other be started."""
    with _Running.lock:
        _Running.over = True
        for process in _Running.now:
            _kill(process)


def _start(command: List[str]) -> subprocess.Popen:
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, start_new_session=True)
    except (OSError, ValueError) as error:
        raise NotRun("%s cannot be run: %s" % (command[0], getattr(error, "strerror", None) or error)) from None
    with _Running.lock:
        _Running.now.add(process)
        if _Running.over:
            _kill(process)
    return process


class _Kept:
    """One output as it comes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._data = bytearray()
        self._size = 0

    def take(self, data: bytes) -> None:
        self._size += len(data)
        self._data += data[:self._most - len(self._data)]

    def output(self) -> Output:
        return Output(self._data, self._size)


def _converse(process: subprocess.Popen, payload: bytes, end: float, most: int) -> List[Output]:
    """Writes the input and reads both outputs, until they end."""
    kept: Dict[int, _Kept] = {stream.fileno(): _Kept(most) for stream in (process.stdout, process.stderr)}
    rest = memoryview(payload)
    with selectors.DefaultSelector() as selector:
        for descriptor in kept:
            selector.register(descriptor, selectors.EVENT_READ)
        if rest:
            os.set_blocking(process.stdin.fileno(), False)
            selector.register(process.stdin.fileno(), selectors.EVENT_WRITE)
        else:
            process.stdin.close()
        gone = False
        while selector.get_map():
            now = time.monotonic()
            if now >= end:
                if gone:
                    break
                raise TimedOut()
            ready = selector.select(min(LOOK, end - now))
            for key, _events in ready:
                if key.fd not in kept:
                    rest = _write(process, selector, rest)
                else:
                    data = os.read(key.fd, CHUNK)
                    kept[key.fd].take(data)
                    if not data:
                        selector.unregister(key.fd)
            if not ready and not gone and _has_ended(process):
                gone, end = True, min(end, time.monotonic() + REST)
                _kill(process)
    return [kept[stream.fileno()].output() for stream in (process.stdout, process.stderr)]


def _write(process: subprocess.Popen, selector: selectors.BaseSelector, rest: memoryview) -> memoryview:
    try:
        rest = rest[os.write(process.stdin.fileno(), rest[:CHUNK]):]
    except BlockingIOError:
        return rest
    except BrokenPipeError:  # who does not read its input may still do what is wanted
        rest = rest[:0]
    if not rest:
        selector.unregister(process.stdin.fileno())
        process.stdin.close()
    return rest


def _await(process: subprocess.Popen, end: float) -> None:
    pause = 0.001
    while not _has_ended(process):
        if time.monotonic() >= end:
            raise TimedOut()
        time.sleep(pause)
        pause = min(2 * pause, LOOK)


def _has_ended(process: subprocess.Popen) -> bool:
    """Looks only: until it is waited for, its number is no other process's, so that what is left of its group can be ended."""
    found: Optional[object] = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return found is not None


def _kill(process: subprocess.Popen) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except OSError:
        pass


def _finish(process: subprocess.Popen) -> None:
    _kill(process)
    with _Running.lock:  # once it is waited for, its number may be another process's
        _Running.now.discard(process)
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        stream.close()
