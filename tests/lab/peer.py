# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process behind a lab: it serves what the lab is about, and answers the lab on its control socket.

`PROGRAM FOLDER --keep|--remove [ITS OWN ARGUMENTS]` runs until its standard input ends, and then removes what it made (with --remove,
FOLDER). It prints a line when it can be called. A call is a line of JSON, {"call": NAME, ...arguments}, and is answered with one,
{"result": ...} or {"error": TEXT}. Bytes are {"base64": TEXT}.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import os
import resource
import shutil
import signal
import socket
import sys
import time
from typing import Any, Callable, Dict, Type

from loop import Loop, Stream

CONTROL, LOG = "lab.control", "lab.log"


def encoded(message: Any) -> bytes:
    """A line of the control socket."""
    return json.dumps(message, default=_encoded_object).encode() + b"\n"


def decoded(line: bytes) -> Any:
    return json.loads(line, object_hook=_decoded_object)


def _encoded_object(value: Any) -> Any:
    return {"base64": base64.b64encode(value).decode("ascii")} if isinstance(value, bytes) else dataclasses.asdict(value)


def _decoded_object(found: Dict[str, Any]) -> Any:
    content = found.get("base64")
    return base64.b64decode(content) if len(found) == 1 and isinstance(content, str) else found


class Caller(Stream):
    """One connection of the control socket."""

    last = True

    def __init__(self, loop: Loop, connection: socket.socket, answer: Callable[[bytes], bytes]) -> None:
        super().__init__(loop, connection)
        self._answer = answer

    def arrived(self) -> None:
        while b"\n" in self.received:
            line, _end, rest = self.received.partition(b"\n")
            self.received = rest
            self.owed += self._answer(bytes(line))
        self.flush()


class Peer:
    """What is served, and the calls that the lab makes: the methods do_NAME."""

    def __init__(self, folder: str) -> None:
        self.loop = Loop()
        self.folder = folder
        self._control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def serve(self) -> None:
        self.listen(self._control, CONTROL, lambda connection: Caller(self.loop, connection, self._answer))
        self.loop.add(sys.stdin, self._owner, last=True)
        print("ready", flush=True)
        self.loop.run()

    def leave(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self.folder, CONTROL))

    def listen(self, server: socket.socket, name: str, made: Callable[[socket.socket], object]) -> None:
        """Binds to `name` in the lab's folder, and makes something of each connection."""

        def accept(_events: int) -> None:
            with contextlib.suppress(BlockingIOError):
                while True:
                    made(server.accept()[0])

        server.setblocking(False)
        server.bind(os.path.join(self.folder, name))
        server.listen(64)
        self.loop.add(server, accept)

    def _owner(self, _events: int) -> None:
        if not os.read(sys.stdin.fileno(), 1):
            self.loop.stop()

    def _answer(self, line: bytes) -> bytes:
        try:
            arguments = decoded(line)
            answer = {"result": getattr(self, "do_" + arguments.pop("call"))(**arguments)}
        except (ValueError, TypeError, AttributeError, KeyError, OSError) as error:
            answer = {"error": "%s: %s" % (type(error).__name__, error)}
        return encoded(answer)

    @staticmethod
    def do_seconds() -> float:
        return time.process_time()


def run(kind: Type[Peer]) -> None:
    folder = sys.argv[1]
    signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit())
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    peer = kind(folder)
    try:
        with contextlib.suppress(SystemExit):
            peer.serve()
    finally:
        peer.leave()
    # Not after an exception: the owner quotes it from the log.
    os.unlink(os.path.join(folder, LOG))
    if sys.argv[2] == "--remove":
        shutil.rmtree(folder, ignore_errors=True)
