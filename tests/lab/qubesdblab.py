# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""QubesDB daemons without Qubes OS: a peer that speaks the daemon's side of the protocol, and tells what its clients did.

In Python: `with QubesdbLab() as lab: ...`. In a shell: `qubesdblab.py run [--keys FILE.json] -- COMMAND...`.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import socket as sockets
import subprocess
import sys
import tempfile
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Union

HERE = os.path.dirname(os.path.abspath(__file__))
CONTROL = "lab.control"
LOG = "lab.log"
SOCKET_PATH_MAX = 107
OWN = "self"
WAIT = 15.0  # seconds, for everything the lab waits for

Text = Union[str, bytes]
Keys = Mapping[str, Text]


class LabError(RuntimeError):
    """The lab did not do what was asked."""


class Request(NamedTuple):
    """What a client sent: `kind` by its name, `path` with its slash, `connection` a number that counts the qube's, `socket` "rw" or "ro"."""

    kind: str
    path: str
    data: bytes
    connection: int
    socket: str


class QubesdbLab:
    """Daemons of qubes, in `folder` (default: a short temporary one, removed by stop()), all served by one process.

    Keys have no leading slash. Each call is a connection of its own to that process, so threads and forked children may call as well.
    """

    def __init__(self, folder: Optional[str] = None) -> None:
        self._temporary = folder is None
        self.folder = _short_folder() if folder is None else os.path.abspath(folder)
        self.control = os.path.join(self.folder, CONTROL)
        if len(self.control) > SOCKET_PATH_MAX:
            raise ValueError("%s is too long for the paths of UNIX sockets" % self.folder)
        self._peer: Optional[subprocess.Popen[bytes]] = None

    @classmethod
    def attach(cls, control: str) -> QubesdbLab:
        """A lab that runs already, for its calls; its owner ends it."""
        return cls(os.path.dirname(os.path.abspath(control)))

    def __enter__(self) -> QubesdbLab:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return "qubesdb://" + self.folder

    def start(self) -> None:
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        command = [sys.executable, os.path.join(HERE, "qubesdbpeer.py"), self.folder]
        with open(os.path.join(self.folder, LOG), "wb") as log:
            # A session of its own: Ctrl-C is for the test, which then stops the lab.
            self._peer = subprocess.Popen(
                command + ["--remove"] * self._temporary, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
            )
        assert self._peer.stdout
        ready, _write, _error = select.select([self._peer.stdout], [], [], WAIT)
        if not ready or self._peer.stdout.readline() != b"ready\n":
            error = self._error("the peer did not start")
            self.stop()
            raise error

    def stop(self) -> None:
        """Ends the daemons; harmless when there are none."""
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

    # -- daemons --

    def add(self, qube: str, keys: Optional[Keys] = None, twin: bool = True) -> None:
        """The daemon of one qube as dom0 has it. Without `twin` it is one before 4.3.3, which has no read-only socket."""
        self.add_many({qube: keys or {}}, twin)

    def add_own(self, keys: Optional[Keys] = None, twin: bool = True) -> None:
        """The daemon inside a qube; its name in calls is "self"."""
        self.add_many({OWN: keys or {}}, twin)

    def add_many(self, qubes: Mapping[str, Keys], twin: bool = True) -> None:
        self._call("add", qubes={qube: _packed(keys) for qube, keys in qubes.items()}, twin=twin)

    def qubes(self) -> List[str]:
        return self._call("qubes")

    def kill(self, qube: str) -> None:
        """As SIGKILL: connections end, the sockets stay and refuse, the database is lost."""
        self._call("kill", qube=qube)

    def end(self, qube: str) -> None:
        """As SIGTERM: the sockets are gone."""
        self._call("end", qube=qube)

    def restart(self, qube: str, keys: Optional[Keys] = None) -> None:
        """A new daemon at the same sockets."""
        self._call("restart", qube=qube, keys=_packed(keys or {}))

    def freeze(self, qube: str) -> None:
        """Stops it in its tracks: clients connect, and hear nothing until thaw()."""
        self._call("freeze", qube=qube)

    def thaw(self, qube: str) -> None:
        self._call("thaw", qube=qube)

    # -- what they hold, from the peer's memory --

    def keys(self, qube: str) -> Dict[str, bytes]:
        return {key: base64.b64decode(value) for key, value in self._call("keys", qube=qube).items()}

    def put(self, qube: str, key: str, value: Text) -> None:
        """As the other side of the vchan does it: nothing is asked, watches fire."""
        self._call("put", qube=qube, key=key, value=_packed({key: value})[key])

    def remove(self, qube: str, key: str) -> None:
        """As put(); a key with a trailing slash is a prefix."""
        self._call("remove", qube=qube, key=key)

    # -- what clients did --

    def requests(self, qube: str) -> List[Request]:
        """In the order in which they came, answered or not."""
        return [Request(kind, path, base64.b64decode(data), *rest) for kind, path, data, *rest in self._call("requests", qube=qube)]

    def writes(self, qube: str) -> List[Request]:
        return [request for request in self.requests(qube) if request.kind in ("WRITE", "RM")]

    def violations(self, qube: str) -> List[str]:
        """What would have stalled or ended a real daemon, or was refused for its form; the README lists them."""
        return self._call("violations", qube=qube)

    def clear(self, qube: str) -> None:
        """Forgets requests and violations."""
        self._call("clear", qube=qube)

    def seconds(self) -> float:
        """The peer's own CPU time, to be set aside from what is measured."""
        return self._call("seconds")

    # -- the control socket --

    def _call(self, name: str, **arguments: object) -> Any:
        try:
            with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as line:
                line.settimeout(WAIT)
                line.connect(self.control)
                line.sendall(json.dumps(dict(arguments, call=name)).encode() + b"\n")
                with line.makefile("rb") as stream:
                    answer = json.loads(stream.readline() or b"{}")
        except OSError as error:
            raise self._error("%s: %s" % (name, error)) from None
        if "result" not in answer:
            raise self._error("%s: %s" % (name, answer.get("error", "no answer")))
        return answer["result"]

    def _error(self, message: str) -> LabError:
        try:
            with open(os.path.join(self.folder, LOG), "rb") as stream:
                tail = stream.read()[-2000:].decode(errors="replace").strip()
        except OSError:
            tail = ""
        return LabError("%s\n%s: %s" % (message, LOG, tail) if tail else message)


def _short_folder() -> str:
    return tempfile.mkdtemp(prefix="qubesdblab.", dir="/tmp" if os.access("/tmp", os.W_OK) else None)


def _packed(keys: Keys) -> Dict[str, str]:
    return {key: base64.b64encode(value if isinstance(value, bytes) else value.encode()).decode("ascii") for key, value in keys.items()}
