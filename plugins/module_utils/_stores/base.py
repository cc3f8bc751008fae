# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The interface that all stores have. What a store cannot do, its class says."""

from __future__ import annotations

from typing import Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence

from .._errors import QubeMissing, QubeMoved, Refused, SomeUnread, StoreError, VmconfigError, several
from .._interface import PERSISTENT, Row
from .._plan import Change, Snapshot
from .._selection import Selection
from .._text import escape

SELF = "self"
"""The qube that a machine is itself."""

Replan = Callable[[Snapshot], List[Change]]
Review = Callable[[str, Snapshot], bool]
"""Told what a qube holds, it says whether to update it, and raises where the task must not be done."""


class Update(NamedTuple):
    """How to change one qube: what to read again, what then to do about it, and whether access counts."""

    selection: Selection
    replan: Replan
    access: bool = False


class Outcome(NamedTuple):
    """What became of the updates of several qubes. One that is in neither was not to be updated, or not begun."""

    done: Dict[str, List[Change]]
    failed: Dict[str, VmconfigError]


class Watch:
    """Tells when a key may have changed."""

    def wait(self, seconds: float) -> bool:
        """Whether the key may have changed, since the watch began or last said so; false when the seconds are over."""
        raise NotImplementedError

    def end(self) -> None:
        """Ends the watch, and lets the store be used for something else."""


class Store:
    """A place that holds keys of qubes.

    A store is made without touching anything; the first operation opens it. Every operation ends within ``timeout``
    seconds of silence, and raises ``StoreError`` with a whole message for whatever goes wrong.
    """

    kind = ""
    permissions = False
    """Whether each key has permissions for the qube."""

    most_changes = 0
    """Changes to one qube at once at the most; 0 is any number."""

    protects = False
    """Whether somebody else keeps the protected keys, so that changing them needs ``force``."""

    def __init__(self, url: str, timeout: float) -> None:
        self.url = escape(url)
        self.timeout = timeout

    def limit(self, key: str, value: Optional[bytes]) -> str:
        """What this store has against such a key and value, or the empty text. Touches nothing."""
        return ""

    def canonical(self, keys: Dict[str, Optional[bytes]]) -> Dict[str, Optional[bytes]]:
        """Each value as reading gives it, of all that mean the same here. For what ``limit`` has nothing against."""
        return keys

    def lasts(self, row: Optional[Row]) -> str:
        """How long a write of this row lasts here."""
        return PERSISTENT

    def advice(self, keys: Sequence[str]) -> str:
        """A warning for who has just changed these keys, or the empty text."""
        return ""

    def qubes(self) -> List[str]:
        """The names of all qubes that are here."""
        raise NotImplementedError

    def scope(self) -> List[str]:
        """The qubes that a task means when it names none."""
        return self.qubes()

    def missing(self, qubes: List[str]) -> List[str]:
        """Those of the names that are not here."""
        raise NotImplementedError

    def read(self, wanted: Mapping[str, Selection], access: bool = False) -> Dict[str, Snapshot]:
        """What each of these qubes holds; see ``settled`` for when some are not here, or cannot be read.

        ``StoreError`` where two of the names are those of one qube.
        """
        raise NotImplementedError

    def update(self, qube: str, selection: Selection, replan: Replan, access: bool = False) -> List[Change]:
        """Reads again what is selected, asks ``replan`` what to change, and does that: all or nothing.

        Returns the changes that were made.
        """
        raise NotImplementedError

    def update_all(self, updates: Mapping[str, Update], review: Review) -> Outcome:
        """Reads these qubes, has each reviewed, and updates those that are to be.

        One after the other, until the store fails: behind all of them is one, which would fail again.
        """
        found = self._read_all(updates)
        outcome = Outcome({}, {})
        for qube in [qube for qube in updates if review(qube, found[qube])]:
            try:
                outcome.done[qube] = self.update(qube, *updates[qube])
            except VmconfigError as error:
                outcome.failed[qube] = error
                if not isinstance(error, (QubeMissing, QubeMoved, Refused)):
                    break
        return outcome

    def _read_all(self, updates: Mapping[str, Update]) -> Dict[str, Snapshot]:
        """What they hold; ``QubeMissing`` or ``StoreError`` before anything is changed when that is not known of one."""
        try:
            return self.read({qube: update.selection for qube, update in updates.items()}, any(update.access for update in updates.values()))
        except SomeUnread as error:
            gone = all(isinstance(reason, QubeMissing) for reason in error.failed.values())
            raise (QubeMissing if gone else StoreError)(several(error.failed.values())) from None

    def watch(self, qube: str, key: str) -> Watch:
        """A watch on one key of a qube; what happens to the key from now on is seen.

        ``QubeMissing`` when the qube is not here, at the latest when it is read.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Lets go of what the store holds open. It opens again when it is used again."""


def settled(found: Dict[str, Snapshot], failed: Mapping[str, VmconfigError]) -> Dict[str, Snapshot]:
    """What was found, where nothing failed; else ``SomeUnread`` with both, or where there is nothing but one missing qube its ``QubeMissing``."""
    if len(failed) == 1 and not found:
        only = next(iter(failed.values()))
        if isinstance(only, QubeMissing):
            raise only
    if failed:
        raise SomeUnread(found, failed)
    return found
