# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""Which domains there are on a XenStore, and where the keys of each are."""

from __future__ import annotations

import re
from collections import Counter
from typing import Dict, Iterable, List, Sequence, Tuple

from .._errors import QubeMissing, VmconfigError, names
from .._text import escape, show
from .base import SELF
from .conversing import Failure
from .xentree import DOMAINS, Tree, node
from .xenwire import Op, Reply, Request

_NAME = r"[A-Za-z0-9_.:@+-]{1,64}"


class Domains:
    """Qubes, each a name, a domid or ``self``, and the path of its keys, with a slash at its end."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._bases: Dict[str, str] = {}

    def qubes(self) -> List[str]:
        """All of them, by their names; a domid stands for one that has none of its own."""
        found = self._names()
        shared = Counter(found.values())
        return [name if name and shared[name] == 1 else domid for domid, name in found.items()]

    def scope(self) -> List[str]:
        """All of them in dom0, and inside a qube itself alone."""
        listing = self._tree.listing(DOMAINS)
        return [SELF] if isinstance(listing, Failure) else self.qubes()

    def missing(self, qubes: List[str]) -> List[str]:
        """Those that are not here."""
        self.forget(qubes)
        found = self.located(qubes)[1]
        return [qube for qube, error in found.items() if isinstance(error, QubeMissing)]

    def _names(self) -> Dict[str, str]:
        """Domid to name, of all domains; an empty name where there is none that can be one."""
        domids = self._tree.listing(DOMAINS)
        if isinstance(domids, Failure):
            raise self._tree.error("the domains cannot be listed (%s); inside a qube there is only self" % escape(domids))
        domids = [domid for domid in domids if _is_domid(domid)]
        replies = self._tree.ask([(Op.READ, node("%s/%s/name" % (DOMAINS, domid))) for domid in domids])
        return {domid: _name(reply) for domid, reply in zip(domids, replies)}

    def located(self, qubes: Sequence[str]) -> Tuple[Dict[str, str], Dict[str, VmconfigError]]:
        """The paths of these qubes' keys, with what is known from an earlier call, and why those of others are not known.

        Names move: see ``moved``. ``StoreError`` where two are one domain.
        """
        failed = self._resolve([qube for qube in qubes if qube not in self._bases])
        bases: Dict[str, str] = {}
        owners: Dict[str, str] = {}
        for qube in qubes:
            if qube in failed:
                continue
            bases[qube] = self._bases[qube]
            other = owners.setdefault(bases[qube], qube)
            if other != qube:
                raise self._tree.error("the qubes %s and %s are the same domain, %s; name it once" % (show(other), show(qube), domid_of(bases[qube])))
        return bases, failed

    def _resolve(self, qubes: Sequence[str]) -> Dict[str, VmconfigError]:
        """Finds out where the keys of these are; returns why it cannot be told for some."""
        if SELF in qubes:
            self._bases[SELF] = self._own()
        self._bases.update(self._by_number([qube for qube in qubes if _is_domid(qube)]))
        unknown = [qube for qube in qubes if qube not in self._bases]
        if not unknown:
            return {}
        known = self._names()
        there = names(name or domid for domid, name in known.items())
        named: Dict[str, List[str]] = {}
        for domid, name in known.items():
            # One without a name is found by its domid alone.
            if name:
                named.setdefault(name, []).append(domid)
        failed: Dict[str, VmconfigError] = {}
        for qube in unknown:
            domids = named.get(qube, [])
            if len(domids) == 1:
                self._bases[qube] = "%s/%s/" % (DOMAINS, domids[0])
            elif domids:
                failed[qube] = self._tree.error("%s is the name of the domains %s; give the domid of the one that is meant" % (
                    show(qube), ", ".join(domids)))
            else:
                failed[qube] = QubeMissing("qube %s is not in %s; in it are %s. XenStore has running qubes alone" % (show(qube), self._tree.url, there))
        return failed

    def _own(self) -> str:
        """Where the keys of this domain are: its toolstack wrote its number beside them."""
        reply = self._tree.ask([(Op.READ, node("domid"))])[0]
        domid = "" if isinstance(reply, Failure) else reply.decode("ascii", "replace")
        if not _is_domid(domid):
            raise self._tree.error("it does not tell the number of this domain (key domid), so self is not known")
        return "%s/%s/" % (DOMAINS, domid)

    def _by_number(self, domids: Sequence[str]) -> Dict[str, str]:
        bases = ["%s/%d/" % (DOMAINS, int(domid)) for domid in domids]
        replies = self._tree.ask([(Op.READ, node(base[:-1])) for base in bases])
        return {domid: base for domid, base, reply in zip(domids, bases, replies) if not isinstance(reply, Failure)}

    def proofs(self, qubes: Iterable[str]) -> List[Request]:
        """One request for each qube, whose reply tells ``moved`` whether the qube is still where it was found."""
        paths = [self._bases[qube] + "name" if _is_name(qube) else self._bases[qube][:-1] for qube in qubes]
        return [(Op.READ, node(path)) for path in paths]

    @staticmethod
    def moved(qubes: Iterable[str], proofs: Iterable[Reply]) -> List[str]:
        """Those of the qubes that are no longer where they were found."""
        return [qube for qube, reply in zip(qubes, proofs) if (_name(reply) != qube if _is_name(qube) else reply == "ENOENT")]

    def forget(self, qubes: Iterable[str]) -> None:
        """Has these qubes looked for again."""
        for qube in qubes:
            self._bases.pop(qube, None)

    def base(self, qube: str) -> str:
        """The path of a qube's keys; ``QubeMissing`` when it is not here."""
        bases, failed = self.located([qube])
        if failed:
            raise failed[qube]
        return bases[qube]


def domid_of(base: str) -> str:
    return base.split("/")[3]


def _is_domid(text: str) -> bool:
    return re.fullmatch("[0-9]{1,5}", text) is not None


def _is_name(qube: str) -> bool:
    return qube != SELF and not _is_domid(qube)


def _name(untrusted_reply: Reply) -> str:
    """A domain's name where it can be one, else nothing."""
    if isinstance(untrusted_reply, Failure):
        return ""
    untrusted_name = untrusted_reply.decode("ascii", "replace")
    return untrusted_name if re.fullmatch(_NAME, untrusted_name) and _is_name(untrusted_name) else ""
