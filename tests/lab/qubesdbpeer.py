# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process that serves the daemons of a lab, and answers the lab on its control socket.

`qubesdbpeer.py FOLDER [--remove]` runs until its standard input ends, and then removes its sockets (with --remove, FOLDER). It prints a
line when it can be called. A call is a line of JSON, {"call": NAME, ...arguments}, and is answered with one, {"result": ...} or
{"error": TEXT}. Bytes are {"base64": TEXT}.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import sys
import time
from typing import Any, Callable, Dict, List, Mapping

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from qubesdbdaemon import Daemon  # noqa: E402
from qubesdbloop import Loop, Stream  # noqa: E402
from qubesdbprotocol import Entry  # noqa: E402
from qubesdbrules import Rule  # noqa: E402

CONTROL, LOG = "lab.control", "lab.log"
OWN = "self"
SOCKET, OWN_SOCKET = "qubesdb.%s.sock", "qubesdb.sock"


def encoded(message: Any) -> bytes:
    """A line of the control socket."""
    return json.dumps(message, default=lambda value: {"base64": base64.b64encode(value).decode("ascii")}).encode() + b"\n"


def decoded(line: bytes) -> Any:
    return json.loads(line, object_hook=_decoded_object)


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
    """Every daemon of a lab, by the name of its qube."""

    def __init__(self, folder: str) -> None:
        self.loop = Loop()
        self._folder = folder
        self._daemons: Dict[str, Daemon] = {}
        self._control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def serve(self) -> None:
        self._control.setblocking(False)
        self._control.bind(os.path.join(self._folder, CONTROL))
        self._control.listen(64)
        self.loop.add(self._control, self._accept)
        self.loop.add(sys.stdin, self._owner, last=True)
        print("ready", flush=True)
        self.loop.run()

    def leave(self) -> None:
        for daemon in self._daemons.values():
            daemon.end()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self._folder, CONTROL))

    def _owner(self, _events: int) -> None:
        if not os.read(sys.stdin.fileno(), 1):
            self.loop.stop()

    def _accept(self, _events: int) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                Caller(self.loop, self._control.accept()[0], self._answer)

    def _answer(self, line: bytes) -> bytes:
        try:
            arguments = decoded(line)
            answer = {"result": getattr(self, "do_" + arguments.pop("call"))(**arguments)}
        except (ValueError, TypeError, AttributeError, KeyError, OSError) as error:
            answer = {"error": "%s: %s" % (type(error).__name__, error)}
        return encoded(answer)

    def _daemon(self, qube: str) -> Daemon:
        if qube not in self._daemons:
            raise ValueError("no daemon for %s" % qube)
        return self._daemons[qube]

    # -- calls --

    def do_add(self, qubes: Mapping[str, Mapping[str, bytes]], twin: bool) -> None:
        for qube, keys in qubes.items():
            if qube in self._daemons or "/" in qube or not qube:
                raise ValueError("cannot add %r" % qube)
            path = os.path.join(self._folder, OWN_SOCKET if qube == OWN else SOCKET % qube)
            daemon = Daemon(self.loop, path, path[:-len("sock")] + "ro.sock" if twin else "")
            try:
                daemon.start(keys)
            except (OSError, ValueError):
                daemon.end()
                raise
            self._daemons[qube] = daemon

    def do_qubes(self) -> List[str]:
        return list(self._daemons)

    def do_keys(self, qube: str) -> Dict[str, bytes]:
        return {path[1:].decode(): value for path, value in self._daemon(qube).database.values.items()}

    def do_put(self, qube: str, key: str, value: bytes) -> None:
        self._daemon(qube).put(key, value)

    def do_remove(self, qube: str, key: str) -> None:
        self._daemon(qube).remove(key)

    def do_requests(self, qube: str) -> List[Entry]:
        return self._daemon(qube).entries()

    def do_violations(self, qube: str) -> List[str]:
        return self._daemon(qube).violations

    def do_clear(self, qube: str) -> None:
        daemon = self._daemon(qube)
        daemon.requests.clear()
        daemon.violations.clear()

    def do_rule(self, qube: str, **rule: Any) -> None:
        self._daemon(qube).rules.append(Rule(**rule))

    def do_unrule(self, qube: str) -> None:
        self._daemon(qube).rules.clear()

    def do_kill(self, qube: str) -> None:
        self._daemon(qube).kill()

    def do_end(self, qube: str) -> None:
        self._daemon(qube).end()

    def do_restart(self, qube: str, keys: Mapping[str, bytes]) -> None:
        self._daemon(qube).restart(keys)

    def do_freeze(self, qube: str) -> None:
        self._daemon(qube).freeze()

    def do_thaw(self, qube: str) -> None:
        self._daemon(qube).thaw()

    def do_seconds(self) -> float:
        return time.process_time()


def main() -> None:
    folder = sys.argv[1]
    signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit())
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    peer = Peer(folder)
    try:
        with contextlib.suppress(SystemExit):
            peer.serve()
    finally:
        peer.leave()
    # Not after an exception: the owner quotes it from the log.
    os.unlink(os.path.join(folder, LOG))
    if "--remove" in sys.argv[2:]:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
