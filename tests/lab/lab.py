# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What labs have in common whose peers are processes of their own: the start, the end, and the calls."""

from __future__ import annotations

import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from typing import Any, Optional, Sequence, TypeVar

from peer import CONTROL, LOG, decoded, encoded

HERE = os.path.dirname(os.path.abspath(__file__))
SOCKET_PATH_MAX = 107
WAIT = 15.0  # seconds, for everything a lab waits for

Any_Lab = TypeVar("Any_Lab", bound="Lab")


class LabError(RuntimeError):
    """The lab did not do what was asked."""


class Lab:
    """A peer in `folder` (default: a short temporary one, removed by stop()).

    Each call is a connection of its own to that process, so threads and forked children may call as well.
    """

    program: str  # in this folder
    arguments: Sequence[str] = ()  # the program's own, after those of every peer
    longest = CONTROL  # of the names of its sockets

    def __init__(self, folder: Optional[str] = None) -> None:
        self._temporary = folder is None
        self.folder = self._short_folder() if folder is None else os.path.abspath(folder)
        self.control = os.path.join(self.folder, CONTROL)
        if len(os.path.join(self.folder, self.longest)) > SOCKET_PATH_MAX:
            raise ValueError("%s is too long for the paths of UNIX sockets" % self.folder)
        self._peer: Optional[subprocess.Popen[bytes]] = None

    @classmethod
    def attach(cls: type[Any_Lab], control: str) -> Any_Lab:
        """A lab that runs already, for its calls; its owner ends it."""
        return cls(os.path.dirname(os.path.abspath(control)))

    def __enter__(self: Any_Lab) -> Any_Lab:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        if self._peer:
            raise LabError("the lab is running")
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        command = [sys.executable, os.path.join(HERE, self.program), self.folder, "--remove" if self._temporary else "--keep", *self.arguments]
        with open(os.path.join(self.folder, LOG), "wb") as log:
            # A session of its own: Ctrl-C is for the test, which then stops the lab.
            self._peer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True)
        assert self._peer.stdout
        ready, _write, _error = select.select([self._peer.stdout], [], [], WAIT)
        if not ready or self._peer.stdout.readline() != b"ready\n":
            error = self._error("the peer did not start")
            self.stop()
            raise error

    def stop(self) -> None:
        """Ends the peer; harmless when there is none."""
        peer, self._peer = self._peer, None
        if peer:
            assert peer.stdin and peer.stdout
            peer.stdin.close()
            try:
                peer.wait(WAIT)
            except subprocess.TimeoutExpired:
                peer.kill()
                peer.wait(WAIT)
            peer.stdout.close()
            if self._temporary:
                shutil.rmtree(self.folder, ignore_errors=True)

    def seconds(self) -> float:
        """The peer's own CPU time, to be set aside from what is measured."""
        return self.call("seconds")

    def call(self, method: str, **arguments: object) -> Any:
        """What the peer's method `do_...` returns. LabError, with the peer's own words, when it cannot be."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
                line.settimeout(WAIT)
                line.connect(self.control)
                line.sendall(encoded(dict(arguments, call=method)))
                with line.makefile("rb") as stream:
                    answer = decoded(stream.readline() or b"{}")
        except OSError as error:
            raise self._error("%s: %s" % (method, error)) from None
        if "result" not in answer:
            raise self._error("%s: %s" % (method, answer.get("error", "no answer")))
        return answer["result"]

    def _error(self, message: str) -> LabError:
        try:
            with open(os.path.join(self.folder, LOG), "rb") as stream:
                tail = stream.read()[-2000:].decode(errors="replace").strip()
        except OSError:
            tail = ""
        return LabError("%s\n%s: %s" % (message, LOG, tail) if tail else message)

    @classmethod
    def _short_folder(cls) -> str:
        return tempfile.mkdtemp(prefix="%s." % cls.__name__.lower(), dir="/tmp" if os.access("/tmp", os.W_OK) else None)
