# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process that serves the daemons of a lab; peer.py says how it is called."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import Any, Dict, List, Mapping

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import peer  # noqa: E402
from qubesdbdaemon import Daemon  # noqa: E402
from qubesdbprotocol import Entry  # noqa: E402
from qubesdbrules import Rule  # noqa: E402

OWN, DOM0 = "self", "dom0"
SOCKET, OWN_SOCKET = "qubesdb.%s.sock", "qubesdb.sock"


class Peer(peer.Peer):
    """Every daemon of a lab, by the name of its qube."""

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        self._daemons: Dict[str, Daemon] = {}

    def leave(self) -> None:
        for daemon in self._daemons.values():
            daemon.end()
        super().leave()

    def _daemon(self, qube: str) -> Daemon:
        if qube not in self._daemons:
            raise ValueError("no daemon for %s" % qube)
        return self._daemons[qube]

    # -- calls --

    def do_add(self, qubes: Mapping[str, Mapping[str, bytes]], twin: bool) -> None:
        for qube, keys in qubes.items():
            if qube in self._daemons or "/" in qube or not qube:
                raise ValueError("cannot add %r" % qube)
            path = os.path.join(self.folder, OWN_SOCKET if qube == OWN else SOCKET % qube)
            if qube == DOM0:
                self._link(path)
            daemon = Daemon(self.loop, path, path[:-len("sock")] + "ro.sock" if twin else "")
            try:
                daemon.start(keys)
            except (OSError, ValueError):
                daemon.end()
                raise
            self._daemons[qube] = daemon

    def _link(self, path: str) -> None:
        """Dom0's daemon is its own qube's too, and makes the link to itself."""
        own = os.path.join(self.folder, OWN_SOCKET)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(own)
        os.symlink(path, own)

    def do_qubes(self) -> List[str]:
        return list(self._daemons)

    def do_keys(self, qube: str) -> Dict[str, bytes]:
        return {path[1:].decode(): value for path, value in sorted(self._daemon(qube).database.values.items())}

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

    @staticmethod
    def do_expose() -> None:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)

    def do_freeze(self, qube: str) -> None:
        self._daemon(qube).freeze()

    def do_thaw(self, qube: str) -> None:
        self._daemon(qube).thaw()


if __name__ == "__main__":
    peer.run(Peer)
