# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""From a declaration to a result: declare, read, plan, and unless it is check mode, do."""

from __future__ import annotations

import gc
import itertools
from contextlib import contextmanager
from typing import Any, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from . import _interface
from ._errors import QubeMissing, Refused, Stopped, StoreError, Unfinished, names, several
from ._inspect import refuse_unproven, with_proof
from ._plan import INHERIT, Change, Snapshot, Wanted, declare, diff, plan
from ._stores.base import SELF, Store, Update
from ._text import show


_LOOKS = 5
"""How often it is looked which qubes are there, while some of them go away."""


class Task(NamedTuple):
    """What the module ``keys`` was told, with every default filled in."""

    qubes: Mapping[str, Any]
    purge: Iterable[str] = ()
    access: str = INHERIT
    unknown: str = "reject"
    missing: str = "fail"
    force: bool = False
    check_mode: bool = False
    diff: bool = False


def apply(store: Store, task: Task) -> Dict[str, Any]:
    """Makes the store hold what the task declares, and returns the module's result."""
    with _uncollected():
        return _applied(store, task)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without looks for cycles in the many objects of a task: there are none, and the looks would take a tenth of its time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _applied(store: Store, task: Task) -> Dict[str, Any]:
    wanted = declare(task.qubes, task.purge, task.access, task.unknown, store.limit, store.protects and not task.force)
    wanted = {qube: each._replace(keys=store.canonical(each.keys)) for qube, each in wanted.items()}
    if task.access != INHERIT and not store.permissions:
        raise Refused("access: %s cannot be had: %s has no permissions for single keys. Nothing was written." % (task.access, store.url))
    try:
        run, absent = _run(store, wanted, task)
    except StoreError as error:
        raise StoreError("%s. That was while reading the keys of qube %s; nothing was written." % (error, names(wanted))) from None
    result = _result(store, task, run.changes(), absent)
    if run.failed:
        raise Stopped(run.error(), result)
    return result


def _run(store: Store, wanted: Mapping[str, Wanted], task: Task) -> Tuple[_Run, List[str]]:
    """The run, and the qubes that are not there and may be skipped: from the start, or gone meanwhile."""
    if task.missing != "skip":
        return _Run(store, wanted, task.check_mode), []
    for look in range(1, _LOOKS + 1):
        absent = store.missing(list(wanted))
        try:
            run = _Run(store, {qube: each for qube, each in wanted.items() if qube not in absent}, task.check_mode)
        except QubeMissing:
            # Raised before anything is written.
            if look == _LOOKS:
                raise
        else:
            break
    gone = [qube for qube, error in run.failed.items() if isinstance(error, QubeMissing)]
    for qube in gone:
        del run.failed[qube]
    return run, [qube for qube in wanted if qube in absent or qube in gone]


class _Run:
    """The qubes read, planned and, unless it is check mode, updated; and what became of it."""

    def __init__(self, store: Store, wanted: Mapping[str, Wanted], check_mode: bool) -> None:
        self._store = store
        self._wanted = wanted
        self._check_mode = check_mode
        self._planned: Dict[str, List[Change]] = {}
        self._found: Dict[str, Snapshot] = {}
        try:
            self._done, self.failed = store.update_all({qube: self._update(qube) for qube in wanted}, self._review)
        except Refused as error:
            raise Refused("%s. Nothing was written" % error) from None
        if self.failed and not self._planned:
            raise StoreError(several(self.failed.values()))

    def _update(self, qube: str) -> Update:
        wanted = self._wanted[qube]
        selection = with_proof(wanted.selection) if qube == SELF else wanted.selection
        return Update(selection, lambda found: self._plan(qube, found), wanted.access != INHERIT)

    def _plan(self, qube: str, found: Snapshot) -> List[Change]:
        """The plan; the one that was reviewed where the store found nothing else since."""
        return self._planned[qube] if self._found.get(qube) is found else plan(qube, self._wanted[qube], found)

    def _review(self, qube: str, found: Snapshot) -> bool:
        if qube == SELF:
            refuse_unproven(self._store, found)
        changes = plan(qube, self._wanted[qube], found)
        if self._store.most_changes and len(changes) > self._store.most_changes:
            raise Refused("qube %s: %d keys at once, and %s takes %d; set them in several tasks" % (
                show(qube), len(changes), self._store.url, self._store.most_changes))
        self._planned[qube], self._found[qube] = changes, found
        return bool(changes) and not self._check_mode

    def changes(self) -> Dict[str, List[Change]]:
        """What was changed, or would be: of failed qubes only what stands."""
        standing = {qube: list(error.changes) for qube, error in self.failed.items() if isinstance(error, Unfinished)}
        unchanged = {qube: changes for qube, changes in self._planned.items() if not changes or self._check_mode}
        return {**unchanged, **self._done, **standing}

    def error(self) -> str:
        """What went wrong, and what was changed all the same."""
        changed = [qube for qube, changes in self.changes().items() if changes and qube not in self.failed]
        left = [qube for qube, changes in self._planned.items() if changes and qube not in self._done and qube not in self.failed]
        told = "written: %s; not begun: %s" % (names(changed), names(left))
        if any(isinstance(error, StoreError) for error in self.failed.values()):
            told += ". Run again to complete it"
        if self._check_mode:
            told = "it would change: %s" % names(changed)
        return "%s. That was at qube %s; %s." % (several(self.failed.values()), names(self.failed), told)


def _result(store: Store, task: Task, done: Mapping[str, List[Change]], absent: List[str]) -> Dict[str, Any]:
    # In the order of the task.
    done = {str(qube): done[str(qube)] for qube in task.qubes if str(qube) in done}
    changed = {qube: tuple(dict.fromkeys([change.key for change in changes])) for qube, changes in done.items()}
    # Once a key, and once for the same keys, which many qubes may have.
    rows = {key: _row(key) for key in dict.fromkeys(itertools.chain.from_iterable(dict.fromkeys(changed.values())))}
    lasts = {key: store.lasts(row) for key, row in rows.items()}
    effective = {key: row.effective if row else _interface.NOW for key, row in rows.items()}
    told = {keys: {"lasts": {key: lasts[key] for key in keys}, "effective": {key: effective[key] for key in keys}} for keys in set(changed.values())}
    result: Dict[str, Any] = {
        "changed": any(done.values()),
        "qubes": {qube: {"changed_keys": list(keys), **told[keys]} for qube, keys in changed.items()},
        "missing": absent,
    }
    if task.diff:
        result["diff"] = [diff(qube, store.kind, changes) for qube, changes in done.items() if changes]
    advice = store.advice(list(rows))
    if advice:
        result["warnings"] = [advice]
    return result


def _row(key: str) -> Optional[_interface.Row]:
    found = _interface.find(key)
    return found.row if found else None
