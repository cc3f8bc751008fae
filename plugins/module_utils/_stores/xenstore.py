# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""XenStore (Qubes R2, plain Xen) as a store, in dom0 or inside a guest.

Reading goes on outside a transaction; what differs is written in one short transaction a qube, which reads its keys again.
One transaction over many qubes would hold up every guest (COMMIT costs up to 7 ms a node with 1,000 guests), so the
promise is all or nothing for each qube.
"""

from __future__ import annotations

import random
import re
import sys
import time
from typing import Dict, Iterable, List, Mapping, Optional, Sequence, Set, Tuple

from .. import _interface
from .._errors import QubeMoved, StoreError
from .._interface import Row
from .._plan import Change, Snapshot
from .._selection import Selection
from .._text import escape, show
from . import xenwire
from .base import Replan, Store, Watch, settled
from .conversing import Down, Failure
from .xendomains import Domains, domid_of
from .xentree import DOMAINS, Tree, node
from .xenwire import PAYLOAD, Op, Request

_KEY = r"[A-Za-z0-9_@-]+(?:/[A-Za-z0-9_@-]+)*"
_TRIES = 50
_READS = 5
"""How often a qube is looked for that is another domain each time."""

_LONGEST_KEY = 2047
_HEADER_ON_BUS = 16


class XenStore(Store):
    """Live keys on a XenStore daemon. A qube is a name, a domid, or ``self``."""

    kind = "xenstore"
    permissions = True
    # One transaction; far more would stop every guest for seconds.
    most_changes = 2000

    def __init__(self, url: str, timeout: float, path: Optional[str], bus: bool) -> None:
        super().__init__(url, timeout)
        if xenwire.PYXS_ERROR is not None:
            raise StoreError("%s needs the Python library pyxs for %s; install python3-pyxs, or pyxs with pip" % (url, sys.executable))
        self._tree = Tree(url, timeout, path, bus)
        self._domains = Domains(self._tree)

    # what a key and value may be

    def limit(self, key: str, value: Optional[bytes]) -> str:
        if not _can_be(key):
            return "XenStore allows letters, digits and - _ @ / in a key, and %d characters in all" % _LONGEST_KEY
        size = len("%s/32751/%s" % (DOMAINS, key)) + 1 + len(value or b"")
        most = PAYLOAD - (_HEADER_ON_BUS if self._tree.bus else 0)
        if size > most:
            return "XenStore holds %d bytes at the most with this key, the value has %d" % (most - size + len(value or b""), len(value or b""))
        return ""

    def lasts(self, row: Optional[Row]) -> str:
        return _interface.UNTIL_RESTART

    # which qubes there are

    def qubes(self) -> List[str]:
        return self._domains.qubes()

    def scope(self) -> List[str]:
        return self._domains.scope()

    def missing(self, qubes: List[str]) -> List[str]:
        return self._domains.missing(qubes)

    # reading

    def read(self, wanted: Mapping[str, Selection], access: bool = False) -> Dict[str, Snapshot]:
        bases, failed = self._domains.located(list(wanted))
        found, moved = self._read({qube: (base, wanted[qube]) for qube, base in bases.items()}, access)
        for _again in range(_READS):
            if not moved:
                break
            self._domains.forget(moved)
            bases, lost = self._domains.located(moved)
            failed.update(lost)
            more, moved = self._read({qube: (base, wanted[qube]) for qube, base in bases.items()}, access)
            found.update(more)
        failed.update({qube: QubeMoved("%s: qube %s restarted meanwhile. Run again" % (self.url, show(qube))) for qube in moved})
        return settled({qube: found[qube] for qube in wanted if qube in found}, failed)

    def _read(self, wanted: Mapping[str, Tuple[str, Selection]], access: bool, transaction: int = 0) -> Tuple[Dict[str, Snapshot], List[str]]:
        """What qubes hold, and those that are no longer where they were found."""
        # A name that no node can have is that of a key that is not there.
        asked = [(qube, base, key) for qube, (base, selection) in wanted.items() for key in selection.exact if _can_be(key)]
        denied: Dict[str, List[str]] = {qube: [] for qube in wanted}
        asked += self._walk([(qube, base, selection) for qube, (base, selection) in wanted.items() if selection.globs], denied, transaction)
        # In one go with the keys, for alone it would double the time of a lookup; and behind them, for who is there then was there before.
        replies = self._tree.ask([(Op.READ, node(base + key)) for _qube, base, key in asked] + self._domains.proofs(wanted), transaction)
        moved = self._domains.moved(wanted, replies[len(asked):])
        snapshots = {qube: Snapshot({}, frozenset(), {}) for qube in wanted}
        empty = []
        for place, reply in zip(asked, replies):
            qube, _base, key = place
            if isinstance(reply, Failure):
                if reply == "EACCES":
                    denied[qube].append(key)
                elif reply != "ENOENT":
                    raise self._tree.error("it answered %s for key %s of qube %s" % (escape(reply), show(key), show(qube)))
            elif reply:
                snapshots[qube].values[key] = reply
            else:
                empty.append(place)
        either = self._add_empty(snapshots, empty, transaction)
        for qube in wanted:
            snapshots[qube] = snapshots[qube]._replace(denied=frozenset(denied[qube]), either=frozenset(either.get(qube, ())))
        if access:
            moved += self._add_access(snapshots, {qube: base for qube, (base, _selection) in wanted.items() if qube not in moved}, transaction)
        return {qube: snapshot for qube, snapshot in snapshots.items() if qube not in moved}, moved

    def _add_empty(self, snapshots: Dict[str, Snapshot], empty: List[Tuple[str, str, str]], transaction: int) -> Dict[str, List[str]]:
        """Adds the empty keys. An empty node with others in it, or that the interface knows as a directory alone, is either: returned."""
        either: Dict[str, List[str]] = {}
        listings = self._tree.ask([(Op.DIRECTORY, node(base + key)) for _qube, base, key in empty], transaction)
        for (qube, _base, key), listing in zip(empty, listings):
            if listing == b"" and not _is_directory(key):
                snapshots[qube].values[key] = b""
            else:
                either.setdefault(qube, []).append(key)
        return either

    def _walk(self, wanted: Iterable[Tuple[str, str, Selection]], denied: Dict[str, List[str]], transaction: int) -> List[Tuple[str, str, str]]:
        """The keys that globs select, by descending only where one can match; one round of requests a level."""
        found, level = [], [(qube, base, selection, "") for qube, base, selection in wanted]
        while level:
            listings = self._tree.listings([(base + path)[:-1] for _qube, base, _selection, path in level], transaction)
            below = []
            for (qube, base, selection, path), listing in zip(level, listings):
                if listing == "EACCES" and not selection.matches(path[:-1]):
                    denied[qube].append(path)
                for name in [] if isinstance(listing, Failure) else listing:
                    key = path + name
                    if key not in selection.exact and selection.matches(key):
                        found.append((qube, base, key))
                    if selection.may_hold(key + "/"):
                        below.append((qube, base, selection, key + "/"))
            level = below
        return found

    def _add_access(self, snapshots: Dict[str, Snapshot], bases: Mapping[str, str], transaction: int) -> List[str]:
        """Adds what each qube may do with its keys; returns the qubes whose keys went away meanwhile."""
        moved = []
        for qube, base in bases.items():
            keys = [*snapshots[qube].values, *snapshots[qube].either]
            lists = self._tree.permissions([base + key for key in keys], transaction)
            if None in lists:
                moved.append(qube)
            access = {key: entries.of(domid_of(base)) for key, entries in zip(keys, lists) if entries is not None}
            snapshots[qube] = snapshots[qube]._replace(access=access)
        return moved

    # watching

    def watch(self, qube: str, key: str) -> Watch:
        return self._tree.watch(self._domains.base(qube) + key)

    # writing

    def update(self, qube: str, selection: Selection, replan: Replan, access: bool = False) -> List[Change]:
        base = self._domains.base(qube)
        for attempt in range(_TRIES):
            transaction = self._begin(qube)
            try:
                changes = self._change(qube, base, selection, replan, access, transaction)
            except BaseException:
                # The daemon undoes what was open in a conversation that ends.
                self._tree.close()
                raise
            if self._end(qube, bool(changes), transaction):
                return changes
            time.sleep(random.uniform(0.0, min(0.001 * 2 ** min(attempt, 8), 0.2)))
        raise self._tree.error("the keys of qube %s changed under each of %d attempts; none of them was written" % (show(qube), _TRIES))

    def _end(self, qube: str, commit: bool, transaction: int) -> bool:
        """Whether the transaction stands; false when somebody else changed the same keys meanwhile."""
        try:
            reply = self._tree.end(transaction, commit)
        except Down as error:
            raise self._tree.error("%s; whether the keys of qube %s were written is not known" % (error, show(qube))) from None
        if isinstance(reply, Failure) and reply != "EAGAIN":
            raise self._tree.error("it answered %s at the end of the transaction of qube %s; none of its keys was written" % (escape(reply), show(qube)))
        return not isinstance(reply, Failure)

    def _begin(self, qube: str) -> int:
        reply = self._tree.ask([(Op.TRANSACTION_START, b"\0")])[0]
        if isinstance(reply, Failure):
            raise self._tree.error("it starts no transaction for qube %s: %s" % (show(qube), escape(reply)))
        if not re.fullmatch(b"[0-9]{1,10}\0?", reply):
            raise self._tree.error("it answered a transaction's start with %s" % show(reply))
        return int(reply.rstrip(b"\0"))

    def _change(self, qube: str, base: str, selection: Selection, replan: Replan, access: bool, transaction: int) -> List[Change]:
        found, moved = self._read({qube: (base, selection)}, access, transaction)
        if moved:
            raise self._moved(qube)
        changes = replan(found[qube])
        self._write(qube, base, [change for change in changes if change.after != change.before or not change.access_after], transaction)
        self._allow(qube, base, [change for change in changes if change.access_after], transaction)
        return changes

    def _moved(self, qube: str) -> QubeMoved:
        return QubeMoved("%s: qube %s restarted meanwhile; none of its keys was written. Run again" % (self.url, show(qube)))

    def _write(self, qube: str, base: str, changes: Sequence[Change], transaction: int) -> None:
        written = {change.key: change.after for change in changes if change.after is not None}
        removed = {change.key for change in changes if change.after is None}
        emptied, gone = self._emptied(base, removed, written, transaction)
        written.update({key: b"" for key in emptied})
        # pyxs refuses what the daemon stores faithfully: empty values, line ends, 8-bit bytes.
        requests = [(key, (Op.WRITE, node(base + key) + value)) for key, value in written.items()]
        requests += [(key, (Op.RM, node(base + key))) for key in gone]
        self._carry_out(qube, [key for key, _request in requests], [request for _key, request in requests], transaction)

    def _emptied(self, base: str, removed: Set[str], written: Mapping[str, bytes], transaction: int) -> Tuple[List[str], List[str]]:
        """What becomes of the nodes of removed keys, and of those above them: some stay as empty directories, the others go.

        RM takes all that is below, so a node goes only when nothing below it stays. The nodes above would look like empty
        keys when the last key in them is gone.
        """
        above = {parent for key in removed for parent in _parents(key)}.difference(removed, written)
        nodes = sorted(removed | {key for key in above if not _is_directory(key)}, key=lambda key: -key.count("/"))
        listings = self._tree.listings([base + key for key in nodes], transaction)
        values = self._tree.ask([(Op.READ, node(base + key)) for key in nodes], transaction)
        emptied: List[str] = []
        gone: List[str] = []
        kept = {parent for key in written for parent in _parents(key)}
        for key, listing, value in zip(nodes, listings, values):
            below = [] if isinstance(listing, Failure) else ["%s/%s" % (key, name) for name in listing]
            if key in kept or not set(below).issubset(gone):
                emptied += [key] if key in removed else []
            elif key in removed or value == b"":
                gone.append(key)
        return emptied, gone

    def _allow(self, qube: str, base: str, changes: Sequence[Change], transaction: int) -> None:
        if not changes:
            return
        domid = domid_of(base)
        lists = self._tree.permissions([base + change.key for change in changes], transaction)
        if None in lists:
            raise self._moved(qube)
        requests = [(Op.SET_PERMS, node(base + change.key) + entries.with_access(domid, change.access_after))
                    for change, entries in zip(changes, lists) if entries is not None]
        self._carry_out(qube, [change.key for change in changes], requests, transaction)

    def _carry_out(self, qube: str, keys: Sequence[str], requests: Sequence[Request], transaction: int) -> None:
        # A refused operation does not fail its transaction: COMMIT would apply the rest.
        for key, reply in zip(keys, self._tree.ask(requests, transaction)):
            if isinstance(reply, Failure):
                raise self._tree.error("%s for key %s of qube %s; none of the qube's keys was written" % (
                    _REFUSALS.get(reply, escape(reply)), show(key), show(qube)))

    def close(self) -> None:
        self._tree.close()


_REFUSALS = {
    "EACCES": "only dom0 may write here: EACCES",
    "ENOSPC": "the qube's quota is used up: ENOSPC",
    "E2BIG": "the value is too long for this daemon: E2BIG",
    "EINVAL": "this daemon does not take this name or value: EINVAL",
}


def _parents(key: str) -> List[str]:
    """The names above a key, the nearest first."""
    words = key.split("/")
    return ["/".join(words[:count]) for count in range(len(words) - 1, 0, -1)]


def _is_directory(key: str) -> bool:
    """Whether the interface has keys under it, and none of that name."""
    return key + "/" in _interface.DIRECTORIES and not _interface.find(key)


def _can_be(key: str) -> bool:
    """Whether a node can have this name."""
    return len(key) <= _LONGEST_KEY and re.fullmatch(_KEY, key) is not None
