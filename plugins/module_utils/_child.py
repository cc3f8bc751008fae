# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""Running a program, and never longer or with more of its output than was agreed on.

The program is a list of arguments, never a line for a shell. It has a session of its own, and when it is over, all that is left of
that session's process group is ended too. What has moved to a session of its own by then (``setsid``) is not: that is how a daemon
starts.

``AnsibleModule.run_command`` has no timeout and keeps whatever comes, and there is no module in a lookup or where files are
rendered at a start.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import threading
import time
from typing import Dict, List, NamedTuple, Optional, Sequence, Set, Union

TIMEOUT = 30.0
"""Seconds that a program has, where nobody says anything else."""

KEPT = 65536
"""Bytes that are kept of each output, where nobody says anything else."""

CHUNK = 16384
"""Bytes read at once; with what is kept, that is all the memory that output costs."""

LOOK = 0.1
"""Seconds between looks whether a program has ended, and left something behind that holds its output open, or goes on writing."""

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


class _Program(subprocess.Popen):
    """A program that runs, and what it has started."""

    def __init__(self, command: List[str], folder: Optional[str], kept_open: Sequence[int]) -> None:
        super().__init__(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, start_new_session=True,
                         pass_fds=kept_open)

    def has_ended(self) -> bool:
        """Looks only: until it is waited for, its number is no other process's, so that what is left of its group can be ended."""
        found: Optional[object] = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return found is not None

    def kill_all(self) -> None:
        """Ends it and its group."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except OSError:
            pass


class _Running:
    """The programs that run now; when this process is to end, they all do."""

    lock = threading.Lock()
    now: Set[_Program] = set()
    over = False


def run(command: List[str], payload: bytes = b"", timeout: float = TIMEOUT, most: int = KEPT, folder: Optional[str] = None,
        kept_open: Sequence[int] = ()) -> Ended:
    """Runs a program to its end, and keeps ``most`` bytes of each of its outputs; the rest is read and dropped.

    It runs in ``folder``, and has the descriptors ``kept_open`` by their numbers.
    ``NotRun`` where it cannot be started, ``TimedOut`` where it does not end in time.
    """
    end = time.monotonic() + timeout
    refuse_to_go_on_when_ending()
    program = _start(command, folder, kept_open)
    try:
        outputs = _converse(program, payload, end, most)
        _await(program, end)
    finally:
        _finish(program)
    refuse_to_go_on_when_ending()
    return Ended(program.returncode, *outputs)


def refuse_to_go_on_when_ending() -> None:
    """``Interrupted`` when this process is about to end. What takes long asks now and then."""
    if _Running.over:
        raise Interrupted()


def end_all() -> None:
    """Ends all programs, of all threads, and lets no other be started."""
    with _Running.lock:
        _Running.over = True
        for program in _Running.now:
            program.kill_all()


def _start(command: List[str], folder: Optional[str], kept_open: Sequence[int]) -> _Program:
    try:
        program = _Program(command, folder, kept_open)
    except (OSError, ValueError) as error:
        raise NotRun("%s cannot be run: %s" % (command[0], getattr(error, "strerror", None) or error)) from None
    with _Running.lock:
        _Running.now.add(program)
        if _Running.over:
            program.kill_all()
    return program


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


def _converse(program: _Program, payload: bytes, end: float, most: int) -> List[Output]:
    """Writes the input and reads both outputs, until they end."""
    kept: Dict[int, _Kept] = {stream.fileno(): _Kept(most) for stream in (program.stdout, program.stderr)}
    rest = memoryview(payload)
    with selectors.DefaultSelector() as selector:
        for descriptor in kept:
            selector.register(descriptor, selectors.EVENT_READ)
        if rest:
            os.set_blocking(program.stdin.fileno(), False)
            selector.register(program.stdin.fileno(), selectors.EVENT_WRITE)
        else:
            program.stdin.close()
        gone, look = False, time.monotonic() + LOOK
        while selector.get_map():
            now = time.monotonic()
            if now >= end:
                if gone:
                    break
                raise TimedOut()
            for key, _events in selector.select(min(LOOK, end - now)):
                if key.fd not in kept:
                    rest = _write(program, selector, rest)
                else:
                    data = os.read(key.fd, CHUNK)
                    kept[key.fd].take(data)
                    if not data:
                        selector.unregister(key.fd)
            if gone or time.monotonic() < look:
                continue
            look = time.monotonic() + LOOK
            if program.has_ended():
                gone, end = True, min(end, time.monotonic() + REST)
                program.kill_all()
    return [kept[stream.fileno()].output() for stream in (program.stdout, program.stderr)]


def _write(program: _Program, selector: selectors.BaseSelector, rest: memoryview) -> memoryview:
    try:
        rest = rest[os.write(program.stdin.fileno(), rest[:CHUNK]):]
    except BlockingIOError:
        return rest
    except BrokenPipeError:  # who does not read its input may still do what is wanted
        rest = rest[:0]
    if not rest:
        selector.unregister(program.stdin.fileno())
        program.stdin.close()
    return rest


def _await(program: _Program, end: float) -> None:
    pause = 0.001
    while not program.has_ended():
        if time.monotonic() >= end:
            raise TimedOut()
        time.sleep(pause)
        pause = min(2 * pause, LOOK)


def _finish(program: _Program) -> None:
    program.kill_all()
    with _Running.lock:  # once it is waited for, its number may be another process's
        _Running.now.discard(program)
    program.wait()
    for stream in (program.stdin, program.stdout, program.stderr):
        stream.close()
