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
from collections import Counter
from typing import Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from .. import _interface
from .._errors import QubeMissing, StoreError
from .._interface import Row, Selection
from .._plan import Change, Snapshot
from .._text import escape, show
from . import xenwire
from .base import Replan, Store
from .xenwire import PAYLOAD, Conversation, Down, Failure, Op

DOMAINS = "/local/domain"
SELF = "self"
_NAME = r"[A-Za-z0-9_.:@+-]{1,64}"
_KEY = r"[A-Za-z0-9_@-]+(?:/[A-Za-z0-9_@-]+)*"
_TRIES = 50
_LONGEST_KEY = 2047
_ACCESS = {"n": "none", "r": "read", "w": "write-only", "b": "write"}
_LETTER = {access: letter for letter, access in _ACCESS.items()}
_HEADER_ON_BUS = 16


class _Permissions(NamedTuple):
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
        self._wire = Conversation(path, bus, timeout)
        self._bases: Dict[str, str] = {}

    # what a key and value may be

    def limit(self, key: str, value: Optional[bytes]) -> str:
        if not _can_be(key):
            return "XenStore allows letters, digits and - _ @ / in a key, and %d characters in all" % _LONGEST_KEY
        size = len("%s/32751/%s" % (DOMAINS, key)) + 1 + len(value or b"")
        most = PAYLOAD - (_HEADER_ON_BUS if self._wire.bus else 0)
        if size > most:
            return "XenStore holds %d bytes at the most with this key, the value has %d" % (most - size + len(value or b""), len(value or b""))
        return ""

    def lasts(self, row: Optional[Row]) -> str:
        return _interface.UNTIL_RESTART

    # which qubes there are

    def qubes(self) -> List[str]:
        names = self._names()
        shared = Counter(names.values())
        return [name if name and shared[name] == 1 else domid for domid, name in names.items()]

    def scope(self) -> List[str]:
        listing = self._list(DOMAINS)
        return [SELF] if isinstance(listing, Failure) else self.qubes()

    def missing(self, qubes: List[str]) -> List[str]:
        self._resolve(qubes)
        return [qube for qube in qubes if qube not in self._bases]

    def _names(self) -> Dict[str, str]:
        """Domid to name, of all domains; an empty name where there is none that can be one."""
        domids = self._list(DOMAINS)
        if isinstance(domids, Failure):
            raise self._error("the domains cannot be listed (%s); inside a qube there is only self" % escape(domids))
        domids = [domid for domid in domids if _is_domid(domid)]
        replies = self._ask([(Op.READ, _path("%s/%s/name" % (DOMAINS, domid))) for domid in domids])
        return {domid: _name(reply) for domid, reply in zip(domids, replies)}

    def _resolve(self, qubes: Sequence[str]) -> None:
        """Finds out where these qubes' keys are. What is known from an earlier call is looked at again: names move."""
        known = [qube for qube in qubes if qube in self._bases]
        for qube, stands in zip(known, self._stand(known)):
            if not stands:
                del self._bases[qube]
        unknown = [qube for qube in qubes if qube not in self._bases]
        if SELF in unknown:
            self._bases[SELF] = self._own()
        self._bases.update(self._by_number([qube for qube in unknown if _is_domid(qube)]))
        named = [qube for qube in unknown if _is_name(qube)]
        if named:
            self._bases.update(self._by_name(named))

    def _own(self) -> str:
        """Where the keys of this domain are: its toolstack wrote its number beside them."""
        reply = self._ask([(Op.READ, _path("domid"))])[0]
        domid = "" if isinstance(reply, Failure) else reply.decode("ascii", "replace")
        if not _is_domid(domid):
            raise self._error("it does not tell the number of this domain (key domid), so self is not known")
        return "%s/%s/" % (DOMAINS, domid)

    def _by_number(self, domids: Sequence[str]) -> Dict[str, str]:
        bases = ["%s/%d/" % (DOMAINS, int(domid)) for domid in domids]
        replies = self._ask([(Op.READ, _path(base[:-1])) for base in bases])
        return {domid: base for domid, base, reply in zip(domids, bases, replies) if not isinstance(reply, Failure)}

    def _by_name(self, qubes: Sequence[str]) -> Dict[str, str]:
        wanted = set(qubes)
        found: Dict[str, List[str]] = {}
        for domid, name in self._names().items():
            if name in wanted:
                found.setdefault(name, []).append(domid)
        for name, domids in found.items():
            if len(domids) > 1:
                raise self._error("%s is the name of the domains %s; give the domid of the one that is meant" % (show(name), ", ".join(domids)))
        return {name: "%s/%s/" % (DOMAINS, domids[0]) for name, domids in found.items()}

    def _stand(self, qubes: Sequence[str], transaction: int = 0) -> List[bool]:
        """Whether these qubes are still where they were found."""
        replies = self._ask([(Op.READ, _path(self._bases[qube] + "name" if _is_name(qube) else self._bases[qube][:-1])) for qube in qubes],
                            transaction)
        return [not isinstance(reply, Failure) and (not _is_name(qube) or _name(reply) == qube) for qube, reply in zip(qubes, replies)]

    def _base(self, qube: str) -> str:
        if qube not in self._bases:
            names = [name or domid for domid, name in self._names().items()]
            nearest = ", ".join(names[:30]) + (" and %d more" % (len(names) - 30) if len(names) > 30 else "")
            raise QubeMissing("qube %s is not in %s; there are %s. XenStore has running qubes alone" % (show(qube), self.url, nearest or "none"))
        return self._bases[qube]

    # reading

    def read(self, wanted: Mapping[str, Selection], access: bool = False) -> Dict[str, Snapshot]:
        self._resolve(list(wanted))
        return self._read({qube: (self._base(qube), selection) for qube, selection in wanted.items()}, access)

    def _read(self, wanted: Mapping[str, Tuple[str, Selection]], access: bool, transaction: int = 0) -> Dict[str, Snapshot]:
        # A name that no node can have is that of a key that is not there.
        asked = [(qube, base, key) for qube, (base, selection) in wanted.items() for key in selection.exact if _can_be(key)]
        denied: Dict[str, List[str]] = {qube: [] for qube in wanted}
        asked += self._walk([(qube, base, selection) for qube, (base, selection) in wanted.items() if selection.globs], denied, transaction)
        replies = self._ask([(Op.READ, _path(base + key)) for _qube, base, key in asked], transaction)
        snapshots = {qube: Snapshot({}, frozenset(), {}) for qube in wanted}
        empty = []
        for place, reply in zip(asked, replies):
            qube, _base, key = place
            if isinstance(reply, Failure):
                if reply == "EACCES":
                    denied[qube].append(key)
                elif reply != "ENOENT":
                    raise self._error("it answered %s for key %s of qube %s" % (escape(reply), show(key), show(qube)))
            elif reply:
                snapshots[qube].values[key] = reply
            else:
                empty.append(place)
        either = self._add_empty(snapshots, empty, transaction)
        for qube in wanted:
            snapshots[qube] = snapshots[qube]._replace(denied=frozenset(denied[qube]), either=frozenset(either.get(qube, ())))
        return self._with_access(snapshots, wanted, transaction) if access else snapshots

    def _add_empty(self, snapshots: Dict[str, Snapshot], empty: List[Tuple[str, str, str]], transaction: int) -> Dict[str, List[str]]:
        """Adds the empty keys. An empty node with others in it, or that the interface knows as a directory alone, is either: returned."""
        either: Dict[str, List[str]] = {}
        listings = self._ask([(Op.DIRECTORY, _path(base + key)) for _qube, base, key in empty], transaction)
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
            listings = self._listings([(base + path)[:-1] for _qube, base, _selection, path in level], transaction)
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

    def _with_access(self, snapshots: Dict[str, Snapshot], wanted: Mapping[str, Tuple[str, Selection]], transaction: int) -> Dict[str, Snapshot]:
        for qube, (base, _selection) in wanted.items():
            domid = _domid(base)
            keys = [*snapshots[qube].values, *snapshots[qube].either]
            lists = self._permissions([base + key for key in keys], transaction)
            snapshots[qube] = snapshots[qube]._replace(access={key: entries.of(domid) for key, entries in zip(keys, lists)})
        return snapshots

    def _permissions(self, paths: Sequence[str], transaction: int) -> List[_Permissions]:
        replies = self._ask([(Op.GET_PERMS, _path(path)) for path in paths], transaction)
        for path, reply in zip(paths, replies):
            if isinstance(reply, Failure):
                raise self._error("it answered %s for the permissions of %s" % (escape(reply), show(path)))
        return [_Permissions(tuple(reply.decode("ascii").rstrip("\0").split("\0"))) for reply in replies]

    # writing

    def update(self, qube: str, selection: Selection, replan: Replan, access: bool = False) -> List[Change]:
        if qube not in self._bases:
            self._resolve([qube])
        base = self._base(qube)
        for attempt in range(_TRIES):
            transaction = self._begin(qube)
            try:
                changes = self._change(qube, base, selection, replan, access, transaction)
            except BaseException:
                # The daemon undoes what was open in a conversation that ends.
                self._wire.close()
                raise
            if self._end(qube, bool(changes), transaction):
                return changes
            time.sleep(random.uniform(0.0, min(0.001 * 2 ** min(attempt, 8), 0.2)))
        raise self._error("the keys of qube %s changed under each of %d attempts; none of them was written" % (show(qube), _TRIES))

    def _end(self, qube: str, commit: bool, transaction: int) -> bool:
        """Whether the transaction stands; false when somebody else changed the same keys meanwhile."""
        try:
            reply = self._wire.ask([(Op.TRANSACTION_END, b"T\0" if commit else b"F\0")], transaction)[0]
        except Down as error:
            raise self._error("%s; whether the keys of qube %s were written is not known" % (error, show(qube))) from None
        if isinstance(reply, Failure) and reply != "EAGAIN":
            raise self._error("it answered %s at the end of the transaction of qube %s; none of its keys was written" % (escape(reply), show(qube)))
        return not isinstance(reply, Failure)

    def _begin(self, qube: str) -> int:
        reply = self._ask([(Op.TRANSACTION_START, b"\0")])[0]
        if isinstance(reply, Failure):
            raise self._error("it starts no transaction for qube %s: %s" % (show(qube), escape(reply)))
        if not re.fullmatch(b"[0-9]{1,10}\0?", reply):
            raise self._error("it answered a transaction's start with %s" % show(reply))
        return int(reply.rstrip(b"\0"))

    def _change(self, qube: str, base: str, selection: Selection, replan: Replan, access: bool, transaction: int) -> List[Change]:
        if not self._stand([qube], transaction)[0]:
            raise self._error("qube %s restarted meanwhile; none of its keys was written. Run again" % show(qube))
        changes = replan(self._read({qube: (base, selection)}, access, transaction)[qube])
        self._write(qube, base, [change for change in changes if change.after != change.before], transaction)
        self._allow(qube, base, [change for change in changes if change.access_after], transaction)
        return changes

    def _write(self, qube: str, base: str, changes: Sequence[Change], transaction: int) -> None:
        written = {change.key: change.after for change in changes if change.after is not None}
        removed = {change.key for change in changes if change.after is None}
        emptied, gone = self._emptied(base, removed, written, transaction)
        written.update({key: b"" for key in emptied})
        # pyxs refuses what the daemon stores faithfully: empty values, line ends, 8-bit bytes.
        requests = [(key, (Op.WRITE, _path(base + key) + value)) for key, value in written.items()]
        requests += [(key, (Op.RM, _path(base + key))) for key in gone]
        self._carry_out(qube, [key for key, _request in requests], [request for _key, request in requests], transaction)

    def _emptied(self, base: str, removed: Set[str], written: Mapping[str, bytes], transaction: int) -> Tuple[List[str], List[str]]:
        """What becomes of the nodes of removed keys, and of those above them: some stay as empty directories, the others go.

        RM takes all that is below, so a node goes only when nothing below it stays. The nodes above would look like empty
        keys when the last key in them is gone.
        """
        above = {parent for key in removed for parent in _parents(key)}.difference(removed, written)
        nodes = sorted(removed | {key for key in above if not _is_directory(key)}, key=lambda key: -key.count("/"))
        listings = self._listings([base + key for key in nodes], transaction)
        values = self._ask([(Op.READ, _path(base + key)) for key in nodes], transaction)
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
        domid = _domid(base)
        lists = self._permissions([base + change.key for change in changes], transaction)
        requests = [(Op.SET_PERMS, _path(base + change.key) + entries.with_access(domid, change.access_after))
                    for change, entries in zip(changes, lists)]
        self._carry_out(qube, [change.key for change in changes], requests, transaction)

    def _carry_out(self, qube: str, keys: Sequence[str], requests: Sequence[xenwire.Request], transaction: int) -> None:
        # A refused operation does not fail its transaction: COMMIT would apply the rest.
        for key, reply in zip(keys, self._ask(requests, transaction)):
            if isinstance(reply, Failure):
                raise self._error("%s for key %s of qube %s; none of the qube's keys was written" % (
                    _REFUSALS.get(reply, escape(reply)), show(key), show(qube)))

    # the conversation

    def _list(self, path: str):
        return self._listings([path], 0)[0]

    def _listings(self, paths: Sequence[str], transaction: int) -> List:
        """What is in each directory: names, or the failure. Names that no key can have are left out."""
        replies = self._ask([(Op.DIRECTORY, _path(path)) for path in paths], transaction)
        return [self._names_in(self._long_listing(path, transaction) if reply == "E2BIG" else reply) for path, reply in zip(paths, replies)]

    @staticmethod
    def _names_in(reply: xenwire.Reply):
        return reply if isinstance(reply, Failure) else [name for name in reply.decode("ascii", "replace").split("\0") if name]

    def _long_listing(self, path: str, transaction: int) -> xenwire.Reply:
        """A listing longer than a reply, in parts; from the start again when the directory changes meanwhile."""
        end = time.monotonic() + self.timeout
        while time.monotonic() < end:
            listing = self._parts(path, transaction, end)
            if listing is not None:
                return listing
        raise self._error("%s cannot be listed within %g seconds (store_timeout): it keeps changing" % (path, self.timeout))

    def _parts(self, path: str, transaction: int, end: float) -> Optional[xenwire.Reply]:
        generation, listing = None, b""
        while time.monotonic() < end:
            reply = self._ask([(xenwire.DIRECTORY_PART, _path(path) + b"%d\0" % len(listing))], transaction)[0]
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

    def _ask(self, requests: Sequence[xenwire.Request], transaction: int = 0) -> List[xenwire.Reply]:
        if not requests:
            return []
        try:
            return self._wire.ask(requests, transaction)
        except Down as error:
            raise self._error("%s; see that xenstored runs and that this user may open it" % error) from None

    def _error(self, why: str) -> StoreError:
        return StoreError("%s: %s" % (self.url, why))

    def close(self) -> None:
        self._wire.close()


_REFUSALS = {
    "EACCES": "only dom0 may write here: EACCES",
    "ENOSPC": "the qube's quota is used up: ENOSPC",
    "E2BIG": "the value is too long for this daemon: E2BIG",
    "EINVAL": "this daemon does not take this name or value: EINVAL",
}


def _path(path: str) -> bytes:
    return path.encode("ascii") + b"\0"


def _domid(base: str) -> str:
    return base.split("/")[3]


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


def _is_domid(text: str) -> bool:
    return re.fullmatch("[0-9]{1,5}", text) is not None


def _is_name(qube: str) -> bool:
    return qube != SELF and not _is_domid(qube)


def _name(untrusted_reply: xenwire.Reply) -> str:
    """A domain's name where it can be one, else nothing."""
    if isinstance(untrusted_reply, Failure):
        return ""
    untrusted_name = untrusted_reply.decode("ascii", "replace")
    return untrusted_name if re.fullmatch(_NAME, untrusted_name) and _is_name(untrusted_name) else ""
