# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""Connections on which an answer is still due when this process has waited long enough.

A QubesDB daemon that was silent may go on later, and then it answers. Where nobody has its SIGPIPE ignored, as systemd does for
a service, an answer to a client that has hung up ends it, and with it the qube's database. So a small process outlives this
one, takes what comes for a while, and keeps nothing of it.

This side of the connection is shut at once: the daemon carries out what it was sent, answers, finds the end, and hangs up. So the process
needs to know nothing of the protocol to know when it is done.
"""

from __future__ import annotations

import socket
import sys
from typing import List

from .. import _child

SECONDS = 60
"""How long late answers are waited for. Who is silent for longer is hung up on."""

MOST = 128 * 1024 * 1024
"""Bytes that are taken on a connection at the most: about twice the largest answer that is read."""

MARK = "qubes-vmconfig-takes-late-answers"
"""By which the process is known in a list of processes."""

_START = 5.0

_due: List[socket.socket] = []


def take(connection: socket.socket) -> None:
    """Takes over a connection on which answers are due."""
    try:
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        connection.close()
    else:
        _due.append(connection)


def leave() -> None:
    """Leaves the connections to a process that outlives this one. Where there can be none they are hung up on."""
    if not _due:
        return
    due = list(_due)
    _due.clear()
    try:
        _start(due)
    finally:
        for connection in due:
            connection.close()


def _start(due: List[socket.socket]) -> None:
    import inspect

    from . import latecomer
    descriptors = [connection.fileno() for connection in due]
    # An interpreter of its own: a fork of this process would be as large as it is, and may have threads.
    command = [sys.executable or "python3", "-I", "-S", "-", MARK, *map(str, [SECONDS, MOST, *descriptors])]
    try:
        _child.run(command, inspect.getsource(latecomer).encode("utf-8"), _START, kept_open=descriptors)
    except (_child.NotRun, _child.TimedOut, _child.Interrupted, OSError):
        # Nothing better can be done than to hang up.
        pass
