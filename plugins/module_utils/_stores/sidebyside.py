# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""Stores in which each qube has a daemon, or a process, of its own: qubes are served side by side, and one that is stuck delays no other."""

from __future__ import annotations

import time
from typing import Any, Dict, List, Mapping, Optional, Set

from .._errors import QubeMissing, VmconfigError
from .._files import LOOK_AGAIN, Lock
from .._plan import Change, Snapshot
from .._selection import Selection
from .base import Outcome, Review, Store, Update, settled
from .work import Ended, Work

PATIENCE = 0.1
"""How long a task waits for a qube while all are silent before it goes on with the others, as a part of the store's timeout."""

MOST_PATIENCE = 0.5
"""How long it waits at the most, where others answer one after the other."""


class SideBySide(Store):
    """A store whose qubes are served side by side."""

    def _work(self) -> Work:
        raise NotImplementedError

    def _absent(self, qubes: List[str]) -> Dict[str, QubeMissing]:
        """The errors of those of the qubes that are not here. ``StoreError`` where two are the same."""
        raise NotImplementedError

    def _need(self, qubes: List[str]) -> None:
        """Raises where one of the qubes is not here, or two are the same."""
        for error in self._absent(qubes).values():
            raise error

    def _reading(self, qube: str, selection: Selection) -> Any:
        """A job that returns the snapshot of a qube."""
        raise NotImplementedError

    def _updating(self, qube: str, update: Update) -> Any:
        """A job that updates a qube, and returns the changes that were made."""
        raise NotImplementedError

    def _lock(self) -> Optional[Lock]:
        """What has to be held while qubes are updated."""
        return None

    def read(self, wanted: Mapping[str, Selection], access: bool = False) -> Dict[str, Snapshot]:
        failed: Dict[str, VmconfigError] = {**self._absent(list(wanted))}
        here = [qube for qube in wanted if qube not in failed]
        with self._work() as work:
            for qube in here:
                work.begin(qube, self._reading(qube, wanted[qube]))
            ended: List[Ended] = []
            while len(ended) < len(here):
                ended += work.wait(self.timeout)
        results = {each.qube: each for each in ended}
        failed.update({qube: _ours(results[qube].error) for qube in here if results[qube].error})
        return settled({qube: results[qube].result for qube in here if not results[qube].error}, failed)

    def update_all(self, updates: Mapping[str, Update], review: Review) -> Outcome:
        """Nothing is written before all qubes are read and reviewed, so that a refusal comes before the first write.

        But where no qube answers for a while, those that did go on: a late one is reviewed and updated when it answers.
        """
        self._need(list(updates))
        with self._work() as work:
            return _Run(self, work, updates, review).run()


class _Run:
    """One ``update_all``. It ends when all of its jobs have: what is under way at a daemon must not be cut off."""

    def __init__(self, store: SideBySide, work: Work, updates: Mapping[str, Update], review: Review) -> None:
        self._store = store
        self._work = work
        self._updates = updates
        self._review = review
        self._turn = _Turn(store._lock())
        self._patient_until = time.monotonic() + store.timeout * MOST_PATIENCE
        self._reading: Set[str] = set()
        self._updating: Set[str] = set()
        self._waiting: List[str] = []
        self._found: Dict[str, Snapshot] = {}
        self._done: Dict[str, List[Change]] = {}
        self._failed: Dict[str, Exception] = {}
        self._begun = False
        self._refusal: Optional[VmconfigError] = None

    def run(self) -> Outcome:
        for qube, update in self._updates.items():
            self._reading.add(qube)
            self._work.begin(qube, self._store._reading(qube, update.selection))
        with self._turn:
            while self._reading or self._updating or self._waiting:
                self._go_on(self._work.wait(LOOK_AGAIN if self._waiting else self._store.timeout * PATIENCE))
        if self._refusal:
            raise self._refusal
        failed = {qube: _ours(self._failed[qube]) for qube in self._updates if qube in self._failed}
        return Outcome({qube: self._done[qube] for qube in self._updates if qube in self._done}, failed)

    def _go_on(self, ended: List[Ended]) -> None:
        for each in ended:
            self._take(each)
        impatient = not ended or time.monotonic() >= self._patient_until
        if self._found and (self._begun or not self._reading or impatient):
            found, self._found = self._found, {}
            self._waiting += [qube for qube, snapshot in found.items() if self._reviewed(qube, snapshot)]
            if self._refusal:
                self._waiting = []
        if not self._updating:
            self._turn.end()
        if self._waiting:
            self._update()

    def _take(self, ended: Ended) -> None:
        if ended.error:
            self._failed[ended.qube] = ended.error
        elif ended.qube in self._reading:
            self._found[ended.qube] = ended.result
        else:
            self._done[ended.qube] = ended.result
        self._reading.discard(ended.qube)
        self._updating.discard(ended.qube)

    def _update(self) -> None:
        """Begins the updates that are due, if it is their turn."""
        try:
            if not self._turn.take():
                return
        except VmconfigError as error:
            self._failed.update(dict.fromkeys(self._waiting, error))
            self._waiting = []
            return
        self._begun = True
        for qube in self._waiting:
            self._updating.add(qube)
            self._work.begin(qube, self._store._updating(qube, self._updates[qube]))
        self._waiting = []

    def _reviewed(self, qube: str, snapshot: Snapshot) -> bool:
        """Whether the qube is to be updated. A refusal is the task's as long as nothing was written, and then the qube's."""
        try:
            return self._review(qube, snapshot)
        except VmconfigError as error:
            if self._begun:
                self._failed[qube] = error
            else:
                self._refusal = self._refusal or error
            return False


class _Turn:
    """The store's lock, if it has one, asked for again and again while the jobs go on; as a context it has ended at the end."""

    def __init__(self, lock: Optional[Lock]) -> None:
        self._lock = lock
        self._due = 0.0
        self._taken = False

    def take(self) -> bool:
        """Whether the lock is held; ``StoreError`` when it was waited for long enough."""
        if self._lock is None or self._taken:
            return True
        self._due = self._due or time.monotonic() + self._lock.timeout
        self._taken = self._lock.take()
        if not self._taken and time.monotonic() >= self._due:
            raise self._lock.late()
        return self._taken

    def end(self) -> None:
        """Lets others have it, if it is held."""
        if self._lock is not None and self._taken:
            self._lock.release()
            self._taken, self._due = False, 0.0

    def __enter__(self) -> _Turn:
        return self

    def __exit__(self, *error: object) -> None:
        if self._lock is not None:
            self._lock.release()


def _ours(error: Optional[Exception]) -> VmconfigError:
    """The error where it is one of ours; any other is raised."""
    if not isinstance(error, VmconfigError):
        raise error
    return error
