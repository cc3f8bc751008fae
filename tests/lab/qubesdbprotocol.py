# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The messages of the QubesDB protocol, and a database of one qube, as the notes on the protocol describe them."""

from __future__ import annotations

import bisect
import re
import struct
from typing import Dict, List, NamedTuple, Tuple

HEADER = struct.Struct("=B64s3sI")  # type, path, padding, length of the data
MESSAGE = struct.Struct("=B64s3xI")
PATH_MAX = 63
DATA_MAX = 3071
PATH = re.compile(rb"(?:[A-Za-z0-9_./:@][A-Za-z0-9_./:@-]*)?")

KINDS = (
    "READ", "WRITE", "MULTIREAD", "LIST", "RM", "WATCH", "UNWATCH", "OK", "ERROR_NOENT", "ERROR", "R_READ", "R_MULTIREAD", "R_LIST", "R_WATCH",
)
READ, WRITE, MULTIREAD, LIST, RM, WATCH, UNWATCH, OK, ERROR_NOENT, ERROR, R_READ, R_MULTIREAD, R_LIST, R_WATCH = range(14)
CHANGES = (WRITE, RM)

# What may follow the NUL of a path: what was there before. Every other message has it, for clients that would read it.
STALE = b"\0/left-over/from/another/message/that/was/longer/than/this/one/is"


class Request(NamedTuple):
    kind: int
    path: bytes
    data: bytes


class Entry(NamedTuple):
    """A request as it is logged: `kind` by its name, `connection` a number, `socket` "rw" or "ro"."""

    kind: str
    path: str
    data: bytes
    connection: int
    socket: str


class Database:
    """The keys of one qube, by their path, in byte order."""

    def __init__(self) -> None:
        self.values: Dict[bytes, bytes] = {}
        self._paths: List[bytes] = []

    def write(self, path: bytes, value: bytes) -> None:
        if path not in self.values:
            bisect.insort(self._paths, path)
        self.values[path] = value

    def beneath(self, prefix: bytes) -> List[bytes]:
        start, end = self._range(prefix)
        return self._paths[start:end]

    def remove(self, path: bytes) -> bool:
        """One key, or with a trailing slash all that begin with it; false when there was none."""
        if path.endswith(b"/"):
            start, end = self._range(path)
            for each in self._paths[start:end]:
                del self.values[each]
            del self._paths[start:end]
            return end > start
        if path not in self.values:
            return False
        del self.values[path]
        del self._paths[bisect.bisect_left(self._paths, path)]
        return True

    def _range(self, prefix: bytes) -> Tuple[int, int]:
        # No path has a byte as high as 0xFF.
        return bisect.bisect_left(self._paths, prefix), bisect.bisect_left(self._paths, prefix + b"\xff")


def path_of(key: str) -> bytes:
    path = b"/" + key.encode()
    if not key or key.endswith("/") or len(path) > PATH_MAX or not PATH.fullmatch(path):
        raise ValueError("no daemon has a key %r" % key)
    return path


def kind_name(kind: int) -> str:
    return KINDS[kind] if kind < len(KINDS) else str(kind)


def text(path: bytes) -> str:
    return path.decode("ascii", "backslashreplace")


def shown(request: Request) -> str:
    return "%s %s" % (kind_name(request.kind), text(request.path))
