# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""Calls of the Qubes Admin API: a method, its argument and payload in, the value or one clear reason out.

Inside a qube a call is a process, ``qrexec-client-vm QUBE METHOD+ARGUMENT``. In dom0 it is made by the package ``qubesadmin``,
which qubesd's own tools use; where this interpreter does not have it, by the system's. Never qubesd's socket, which is private.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import threading
from contextlib import contextmanager
from typing import Iterator, List, Optional, Tuple

from .. import _child
from .._errors import StoreError
from .._text import cut, escape, show

QUBESD = "/var/run/qubesd.sock"
"""Where this is, there is dom0. It is looked for, and nothing is sent there."""

CLIENT = "qrexec-client-vm"
MOST = 2 ** 24
"""Bytes of an answer, at the most."""

_REFUSED, _NOT_RUN = 126, (125, 127)


class CallFailed(Exception):
    """A call was not carried out, or may not have been; the text is why, and is escaped."""


class TimedOut(CallFailed):
    """No answer in time; the call may still be carried out."""


class Denied(CallFailed):
    """Qrexec's policy does not allow the call; the text names the line that would."""


class Answered(CallFailed):
    """Qubesd answered with an exception; ``kind`` is its type's name."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__("%s: %s" % (escape(cut(kind)), text))
        self.kind = kind


class Client:
    """Makes calls, each of which ends within ``timeout`` seconds. Several threads may call at once."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout

    def call(self, qube: str, method: str, argument: str = "", payload: bytes = b"") -> bytes:
        """The value that qubesd answers; ``CallFailed`` says why there is none."""
        raise NotImplementedError


class Qrexec(Client):
    """Inside a qube, through ``qrexec-client-vm``."""

    def __init__(self, timeout: float, program: str) -> None:
        super().__init__(timeout)
        self._program = program

    def call(self, qube: str, method: str, argument: str = "", payload: bytes = b"") -> bytes:
        service = "%s+%s" % (method, argument) if argument else method
        status, output, told = _run([self._program, qube, service], payload, self.timeout)
        if status == _REFUSED:
            line = "%s  %s  %s  %s  allow target=dom0" % (method, "+" + argument if argument else "*", escape(socket.gethostname()), qube)
            raise Denied("qrexec's policy refuses it; in dom0, this line in a file of /etc/qubes/policy.d allows it: " + line)
        if status:
            what = "could not be run" if status in _NOT_RUN else "ended"
            raise CallFailed("%s %s with %d: %s" % (CLIENT, what, status, _said(told)))
        return value_of(output)


class Package(Client):
    """In dom0, through the package ``qubesadmin`` of this interpreter."""

    def __init__(self, timeout: float) -> None:
        super().__init__(timeout)
        import qubesadmin
        import qubesadmin.exc
        self._app = qubesadmin.Qubes()
        self._exception = qubesadmin.exc.QubesException

    def call(self, qube: str, method: str, argument: str = "", payload: bytes = b"") -> bytes:
        try:
            with _sockets_time_out(self.timeout):
                return self._app.qubesd_call(qube, method, argument or None, payload or None)
        except self._exception as error:
            raise Answered(type(error).__name__, escape(cut(str(error)))) from None
        except socket.timeout:
            raise TimedOut("no answer within %g seconds (store_timeout)" % self.timeout) from None
        except OSError as error:
            raise CallFailed("qubesd cannot be asked: %s" % (error.strerror or error)) from None


class _Calls:
    """How many calls of the package there are just now, and the timeout of sockets before the first of them."""

    lock = threading.Lock()
    count = 0
    before: Optional[float] = None


@contextmanager
def _sockets_time_out(timeout: float) -> Iterator[None]:
    """Gives the sockets of the block a timeout, for the package sets none; those of the rest of this process keep theirs."""
    with _Calls.lock:
        if not _Calls.count:
            _Calls.before = socket.getdefaulttimeout()
            socket.setdefaulttimeout(timeout)
        _Calls.count += 1
    try:
        yield
    finally:
        with _Calls.lock:
            _Calls.count -= 1
            if not _Calls.count:
                socket.setdefaulttimeout(_Calls.before)


class System(Client):
    """In dom0, through the ``qubesadmin`` of the system's Python: a process for each call, so slower by far."""

    PYTHON = "/usr/bin/python3"
    PROGRAM = """
import sys
import qubesadmin, qubesadmin.exc
qube, method, argument = sys.argv[1:]
try:
    answer = b"0\\0" + qubesadmin.Qubes().qubesd_call(qube, method, argument or None, sys.stdin.buffer.read() or None)
except qubesadmin.exc.QubesException as error:
    answer = b"\\0".join([b"2", type(error).__name__.encode(), b"", b"%s", str(error).encode("utf-8", "replace"), b""])
sys.stdout.buffer.write(answer)
"""

    def call(self, qube: str, method: str, argument: str = "", payload: bytes = b"") -> bytes:
        status, output, told = _run([self.PYTHON, "-c", self.PROGRAM, qube, method, argument], payload, self.timeout)
        if status:
            raise CallFailed("%s with qubesadmin ended with %d: %s" % (self.PYTHON, status, _said(told)))
        return value_of(output)


def client(url: str, timeout: float) -> Client:
    """The client of this machine; ``StoreError`` where it has none."""
    if os.path.exists(QUBESD):
        return Package(timeout) if importlib.util.find_spec("qubesadmin") else System(timeout)
    program = shutil.which(CLIENT)
    if program is None:
        raise StoreError("%s: there is no %s on PATH, as in a qube, and no %s, as in dom0" % (url, CLIENT, QUBESD))
    return Qrexec(timeout, program)


def is_here(timeout: float) -> bool:
    """Whether this machine has an Admin API that it may use.

    In dom0 the package says so. Elsewhere an answer does: the client is in every qube and proves nothing.
    """
    if os.path.exists(QUBESD):
        return importlib.util.find_spec("qubesadmin") is not None
    program = shutil.which(CLIENT)
    try:
        return program is not None and Qrexec(timeout, program).call("dom0", "admin.vm.List") is not None
    except CallFailed:
        return False


def value_of(answer: bytes) -> bytes:
    """The value in an answer's frame, ``0`` NUL value; ``Answered`` for ``2`` NUL and an exception's parts."""
    tag, rest = answer[:2], answer[2:]
    if tag == b"0\0":
        return rest
    if tag == b"2\0":
        parts = rest.split(b"\0")
        if len(parts) >= 4 and not parts[-1]:
            kind, _traceback, template, *fields = parts[:-1]
            raise Answered(kind.decode("ascii", "replace"), _formatted(template, fields))
    if not answer:
        raise CallFailed("qubesd answered nothing, which is how it refuses; its journal in dom0 says why")
    raise CallFailed("the answer is none of qubesd's: %s" % show(answer[:200]))


def _formatted(template: bytes, fields: List[bytes]) -> str:
    """An exception's text. Only ``%s`` and ``%r`` stand for fields: whatever else looks like a format is text."""
    text = template.decode("utf-8", "replace")
    for field in fields:
        before, mark, after = min((text.partition("%s"), text.partition("%r")), key=lambda parts: len(parts[0]))
        text = before + (field.decode("utf-8", "replace").replace("%", "%\0") if mark else "") + after
    return escape(cut(text.replace("%\0", "%")))


def _run(command: List[str], payload: bytes, timeout: float) -> Tuple[int, bytes, bytes]:
    """A process's status and what it wrote. It ends with all its children when the time is up."""
    try:
        ended = _child.run(command, payload, timeout, MOST)
    except _child.NotRun as error:
        raise CallFailed(str(error)) from None
    except _child.TimedOut:
        raise TimedOut("no answer within %g seconds (store_timeout)" % timeout) from None
    if ended.output.cut:
        raise CallFailed("the answer has %d bytes, and %d are the most" % (ended.output.size, MOST))
    return ended.status, bytes(ended.output.data), bytes(ended.told.data)


def _said(told: bytes) -> str:
    return escape(cut(told.decode("utf-8", "replace").strip())) or "it said nothing"
