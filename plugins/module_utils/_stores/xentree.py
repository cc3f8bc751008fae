# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The tree of nodes that a XenStore daemon keeps: many requests at a time, listings of any length, clear errors."""

from __future__ import annotations

import time
from typing import List, NamedTuple, Optional, Sequence, Tuple, Union

from .._errors import StoreError
from .._text import escape, show
from . import xenwire
from .base import Watch
from .conversing import ConnectionWatch, Down, Failure
from .xenwire import Conversation, Op, Reply, Request

DOMAINS = "/local/domain"
_ACCESS = {"n": "none", "r": "read", "w": "write-only", "b": "write"}
_LETTER = {access: letter for letter, access in _ACCESS.items()}


Listing = Union[List[str], Failure]


class Permissions(NamedTuple):
    """A node's list as the daemon sends it: ``n0``, ``r7``; the first is the owner and what everybody else may do."""

    entries: Tuple[str, ...]

    def of(self, domid: str) -> str:
        """What the domain itself may do, as the option ``access`` says it; ``owner`` where dom0 is not the owner."""
        if self.entries[0][1:] != "0":
            return "owner" if self.entries[0][1:] == domid else "foreign"
        letters = [entry[0] for entry in self.entries[1:] if entry[1:] == domid]
        return _ACCESS.get((letters or [self.entries[0][0]])[0], "unknown")

    def with_access(self, domid: str, access: str) -> bytes:
        """The payload that gives dom0 the node and the domain its access; other domains keep theirs."""
        others = [entry for entry in self.entries[1:] if entry[1:] not in (domid, "0")]
        own = [_LETTER[access] + domid] if access != "none" else []
        return b"".join([entry.encode("ascii") + b"\0" for entry in ["n0", *others, *own]])


def node(path: str) -> bytes:
    """The path as a request carries it."""
    return path.encode("ascii") + b"\0"


class Tree:
    """Requests about nodes by their paths. ``StoreError`` when the daemon does not answer, or not as it should."""

    def __init__(self, url: str, timeout: float, path: Optional[str], bus: bool) -> None:
        self.url = url
        self.timeout = timeout
        self.bus = bus
        self._wire = Conversation(path, bus, timeout)

    def error(self, why: str) -> StoreError:
        """An error that names the store."""
        return StoreError("%s: %s" % (self.url, why))

    def ask(self, requests: Sequence[Request], transaction: int = 0) -> List[Reply]:
        """The replies to these requests, in their order; what the daemon refuses is a ``Failure`` among them."""
        if not requests:
            return []
        try:
            return self._wire.ask(requests, transaction)
        except Down as error:
            raise self.error("%s; see that xenstored runs and that this user may open it" % error) from None

    def end(self, transaction: int, commit: bool) -> Reply:
        """Ends a transaction. ``Down`` when it is not known how it ended."""
        return self._wire.ask([(Op.TRANSACTION_END, b"T\0" if commit else b"F\0")], transaction)[0]

    def listing(self, path: str) -> Listing:
        """What is in one directory."""
        return self.listings([path])[0]

    def listings(self, paths: Sequence[str], transaction: int = 0) -> List[Listing]:
        """What is in each directory: names, or the failure. Names that no key can have are left out."""
        replies = self.ask([(Op.DIRECTORY, node(path)) for path in paths], transaction)
        return [self._names_in(self._long_listing(path, transaction) if reply == "E2BIG" else reply) for path, reply in zip(paths, replies)]

    @staticmethod
    def _names_in(reply: Reply):
        return reply if isinstance(reply, Failure) else [name for name in reply.decode("ascii", "replace").split("\0") if name]

    def _long_listing(self, path: str, transaction: int) -> Reply:
        """A listing longer than a reply, in parts; from the start again when the directory changes meanwhile."""
        end = time.monotonic() + self.timeout
        while time.monotonic() < end:
            listing = self._parts(path, transaction, end)
            if listing is not None:
                return listing
        raise self.error("%s cannot be listed within %g seconds (store_timeout): it keeps changing" % (path, self.timeout))

    def _parts(self, path: str, transaction: int, end: float) -> Optional[Reply]:
        generation, listing = None, b""
        while time.monotonic() < end:
            reply = self.ask([(xenwire.DIRECTORY_PART, node(path) + b"%d\0" % len(listing))], transaction)[0]
            if isinstance(reply, Failure):
                return reply
            found, _nul, names = reply.partition(b"\0")
            if generation not in (None, found) or not names:
                return None
            generation = found
            listing += names
            if names.endswith(b"\0\0") or names == b"\0":
                return listing
        return None

    def permissions(self, paths: Sequence[str], transaction: int = 0) -> List[Optional[Permissions]]:
        """The permissions of nodes; None for one that is not there."""
        replies = self.ask([(Op.GET_PERMS, node(path)) for path in paths], transaction)
        for path, reply in zip(paths, replies):
            if isinstance(reply, Failure) and reply != "ENOENT":
                raise self.error("it answered %s for the permissions of %s" % (escape(reply), show(path)))
        return [None if isinstance(reply, Failure) else Permissions(tuple(reply.decode("ascii").rstrip("\0").split("\0"))) for reply in replies]

    def watch(self, path: str) -> Watch:
        """A watch on one node and what is below it."""
        return _TreeWatch(self, self._wire, path)

    def close(self) -> None:
        """Ends the conversation, and with it a transaction that is open."""
        self._wire.close()


class _TreeWatch(ConnectionWatch):
    """One node's. Its first event comes at once, as XenStore has it."""

    def __init__(self, tree: Tree, wire: Conversation, path: str) -> None:
        self._tree = tree
        self._wire = wire
        self._payload = node(path) + b"vmconfig\0"
        super().__init__(tree.timeout)

    def _begin(self) -> int:
        reply = self._tree.ask([(Op.WATCH, self._payload)])[0]
        if isinstance(reply, Failure):
            raise self._tree.error("it refuses a watch: %s" % escape(reply))
        return self._current()

    def _current(self) -> int:
        return self._wire.opened

    def _event(self, seconds: float) -> bool:
        return self._wire.wait_for_event(seconds)

    def end(self) -> None:
        self._tree.ask([(Op.UNWATCH, self._payload)])
