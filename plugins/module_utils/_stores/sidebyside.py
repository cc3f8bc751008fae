# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""Stores in which each qube has a daemon, or a process, of its own: qubes are served side by side, and one that is stuck delays no other."""

from __future__ import annotations

import time
from contextlib import ExitStack, nullcontext
from typing import Any, ContextManager, Dict, List, Mapping, Optional, Set

from .._errors import SomeUnread, VmconfigError
from .._interface import Selection
from .._plan import Change, Snapshot
from .base import Outcome, Review, Store, Update
from .work import Ended, Work

PATIENCE = 0.1
"""How long a task waits for a qube while all are silent before it goes on with the others, as a part of the store's timeout."""


class SideBySide(Store):
    """A store whose qubes are served side by side."""

    def _work(self) -> Work:
        raise NotImplementedError

    def _need(self, qubes: List[str]) -> None:
        """Raises where one of the qubes is not here, or two are the same."""
        raise NotImplementedError

    def _reading(self, qube: str, selection: Selection) -> Any:
        """A job that returns the snapshot of a qube."""
        raise NotImplementedError

    def _updating(self, qube: str, update: Update) -> Any:
        """A job that updates a qube, and returns the changes that were made."""
        raise NotImplementedError

    def _turn(self) -> ContextManager[None]:
        """What has to be held while qubes are updated."""
        return nullcontext()

    def read(self, wanted: Mapping[str, Selection], access: bool = False) -> Dict[str, Snapshot]:
        self._need(list(wanted))
        with self._work() as work:
            for qube, selection in wanted.items():
                work.begin(qube, self._reading(qube, selection))
            ended: List[Ended] = []
            while len(ended) < len(wanted):
                ended += work.wait(self.timeout)
        results = {each.qube: each for each in ended}
        found = {qube: results[qube].result for qube in wanted if not results[qube].error}
        failed = {qube: _ours(results[qube].error) for qube in wanted if results[qube].error}
        if failed:
            raise SomeUnread(found, failed)
        return found

    def update_all(self, updates: Mapping[str, Update], review: Review) -> Outcome:
        """Nothing is written before all qubes are read and reviewed, so that a refusal comes before the first write.

        But where no qube answers for a while, those that did go on: a late one is reviewed and updated when it answers.
        """
        self._need(list(updates))
        with self._work() as work, ExitStack() as turn:
            return _Run(self, work, turn, updates, review).run()


class _Run:
    """One ``update_all``. It ends when all of its jobs have: what is under way at a daemon must not be cut off."""

    def __init__(self, store: SideBySide, work: Work, turn: ExitStack, updates: Mapping[str, Update], review: Review) -> None:
        self._store = store
        self._work = work
        self._turn = turn
        self._updates = updates
        self._review = review
        self._reading: Set[str] = set()
        self._updating: Set[str] = set()
        self._found: Dict[str, Snapshot] = {}
        self._done: Dict[str, List[Change]] = {}
        self._failed: Dict[str, Exception] = {}
        self._begun = False
        self._refusal: Optional[VmconfigError] = None

    def run(self) -> Outcome:
        for qube, update in self._updates.items():
            self._reading.add(qube)
            self._work.begin(qube, self._store._reading(qube, update.selection))
        while self._reading or self._updating:
            ended = self._work.wait(self._store.timeout * PATIENCE)
            for each in ended:
                self._take(each)
            if not self._updating:
                self._turn.close()
            if self._found and (self._begun or not self._reading or not ended):
                self._go_on()
        if self._refusal:
            raise self._refusal
        failed = {qube: _ours(self._failed[qube]) for qube in self._updates if qube in self._failed}
        return Outcome({qube: self._done[qube] for qube in self._updates if qube in self._done}, failed)

    def _take(self, ended: Ended) -> None:
        if ended.error:
            self._failed[ended.qube] = ended.error
        elif ended.qube in self._reading:
            self._found[ended.qube] = ended.result
        else:
            self._done[ended.qube] = ended.result
        self._reading.discard(ended.qube)
        self._updating.discard(ended.qube)

    def _go_on(self) -> None:
        """Reviews what was read, and begins the updates."""
        found, self._found = self._found, {}
        wanted = [qube for qube, snapshot in found.items() if self._reviewed(qube, snapshot)]
        if self._refusal or not wanted:
            return
        self._begun = True
        try:
            self._take_turn()
        except VmconfigError as error:
            self._failed.update({qube: error for qube in wanted})
            return
        for qube in wanted:
            self._updating.add(qube)
            self._work.begin(qube, self._store._updating(qube, self._updates[qube]))

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

    def _take_turn(self) -> None:
        if not self._updating:
            began = time.monotonic()
            self._turn.enter_context(self._store._turn())
            self._work.postpone(time.monotonic() - began)


def _ours(error: Optional[Exception]) -> VmconfigError:
    """The error where it is one of ours; any other is raised."""
    if not isinstance(error, VmconfigError):
        raise error
    return error
