# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services in qubes: scripts, found and run as qrexec's agent does it, with what they read and write on its way to and from the caller.

A caller that goes away is an end of file and a broken pipe to its service, and nothing else; it may go on.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import TYPE_CHECKING, Dict, Optional

from loop import READABLE, WRITABLE, Loop
from rpcclients import Asked

if TYPE_CHECKING:
    from admincalls import QrexecCall

ENOUGH = 1024 * 1024  # bytes on their way to a caller, after which its service has to wait
CHUNK = 65536
NOT_EXECUTED, NOT_FOUND = 125, 127
SOON = 0.002


class Services:
    """The scripts of all qubes, and those that run."""

    def __init__(self, loop: Loop, folder: str, records: str) -> None:
        self.loop = loop
        self.folder = folder
        self.records = records
        self.processes: Dict[subprocess.Popen[bytes], None] = {}

    def running(self) -> int:
        for process in [process for process in self.processes if process.poll() is not None]:
            del self.processes[process]
        return len(self.processes)

    def end(self) -> None:
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def find(self, service: str) -> Optional[str]:
        """The file of a service with its argument, else that of the service."""
        for name in (service if "+" in service else service + "+", service.partition("+")[0]):
            path = os.path.join(self.folder, name)
            if len(name) <= 255 and os.path.lexists(path):
                return path
        return None

    def run(self, asked: Asked, path: str) -> subprocess.Popen[bytes]:
        name, _plus, argument = asked.service.partition("+")
        env = {"PATH": os.environ["PATH"], "QREXEC_REMOTE_DOMAIN": "dom0", "QREXEC_SERVICE_FULL_NAME": asked.service, "LAB_QUBE": asked.target,
               "LAB_RECORDS": self.records}
        process = subprocess.Popen(
            [path, *filter(None, [argument])], env=env, cwd=self.records, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            bufsize=0, start_new_session=True)
        self.processes[process] = None
        return process


class Service:
    """One that was called."""

    def __init__(self, call: QrexecCall, services: Services, asked: Asked) -> None:
        self._call = call
        self._services = services
        self._kinds = {}
        self._input = bytearray()
        self._closing = False
        self._slowed = False
        self._process: Optional[subprocess.Popen[bytes]] = None
        self._passes = asked.passes_io
        path = services.find(asked.service)
        if path is None:
            call.reply(NOT_FOUND, "not found")
        else:
            self._begin(services, asked, path)

    def _begin(self, services: Services, asked: Asked, path: str) -> None:
        try:
            self._process = services.run(asked, path)
        except OSError:
            return self._call.reply(NOT_EXECUTED, "not executed")
        self._kinds = {self._process.stdout: b"O", self._process.stderr: b"E"}
        for stream in self._kinds:
            services.loop.add(stream, lambda events, stream=stream: self._output(stream))
        os.set_blocking(self._process.stdin.fileno(), False)
        services.loop.add(self._process.stdin, lambda events: self._write())

    def input(self, data: bytes) -> None:
        """What the caller wrote; nothing is its end."""
        self._input += data
        self._closing = self._closing or not data
        self._write()

    def room(self, owed: int) -> None:
        """So many bytes wait for the caller."""
        if self._slowed and owed < ENOUGH:
            self._slowed = False
            for stream in self._kinds:
                self._services.loop.add(stream, lambda events, stream=stream: self._output(stream))

    def hang_up(self) -> None:
        if self._process:
            if not self._slowed:
                for stream in self._kinds:
                    self._services.loop.remove(stream)
            for stream in self._kinds:
                stream.close()
            self._kinds = {}
            self._close_input()
            self._services.loop.later(SOON, self._reap)

    def _write(self) -> None:
        if not self._process or self._process.stdin.closed:
            return
        try:
            while self._input:
                del self._input[:os.write(self._process.stdin.fileno(), self._input[:CHUNK])]
        except BlockingIOError:
            pass
        except OSError:
            self._input.clear()
            return self._close_input()
        if self._closing and not self._input:
            return self._close_input()
        self._services.loop.expect(self._process.stdin, WRITABLE if self._input else READABLE)

    def _close_input(self) -> None:
        if self._process and not self._process.stdin.closed:
            self._services.loop.remove(self._process.stdin)
            self._process.stdin.close()

    def _output(self, stream: object) -> None:
        if stream not in self._kinds or self._slowed:
            return
        data = os.read(stream.fileno(), CHUNK)
        if data:
            if self._passes:
                self._call.pass_on(self._kinds[stream], data)
            if len(self._call.owed) > ENOUGH:
                self._slowed = True
                for each in self._kinds:
                    self._services.loop.remove(each)
            return
        self._services.loop.remove(stream)
        del self._kinds[stream]
        stream.close()
        if not self._kinds:
            self._ended()

    def _ended(self) -> None:
        status = self._process.poll()
        if status is None:
            self._services.loop.later(SOON, self._ended)
        elif not self._call.closed:
            self._close_input()
            self._call.reply(128 - status if status < 0 else status, "ok")

    def _reap(self) -> None:
        if self._process.poll() is None:
            self._services.loop.later(10 * SOON, self._reap)
