# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""From a declaration to a result: declare, read, plan, and unless it is check mode, do."""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Tuple

from . import _interface
from ._errors import Refused, SomeUnread, Stopped, StoreError, Unfinished, VmconfigError, names
from ._inspect import SELF, prove
from ._plan import INHERIT, Change, Snapshot, Wanted, declare, diff, plan
from ._stores.base import Outcome, Store, Update
from ._text import show


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
    wanted = declare(task.qubes, task.purge, task.access, task.unknown, store.limit, store.protects and not task.force)
    wanted = {qube: each._replace(keys={key: store.canonical(key, value) for key, value in each.keys.items()}) for qube, each in wanted.items()}
    if task.access != INHERIT and not store.permissions:
        raise Refused("access: %s cannot be had: %s has no permissions for single keys. Nothing was written." % (task.access, store.url))
    try:
        absent = store.missing(list(wanted)) if task.missing == "skip" else []
        here = {qube: wanted[qube] for qube in wanted if qube not in absent}
        found, failed = _read(store, here, task.access != INHERIT)
    except StoreError as error:
        raise StoreError("%s. That was while reading the keys of qube %s; nothing was written." % (error, names(wanted))) from None
    planned = {qube: plan(qube, here[qube], found[qube]) for qube in found}
    _refuse_too_many(store, planned)
    outcome = Outcome(planned, {}) if task.check_mode else _do(store, here, planned)
    if failed or outcome.failed:
        raise _stopped(store, task, planned, Outcome(outcome.done, {**failed, **outcome.failed}))
    return _result(store, task, outcome.done, absent)


def _read(store: Store, wanted: Mapping[str, Wanted], access: bool) -> Tuple[Mapping[str, Snapshot], Mapping[str, VmconfigError]]:
    """What the qubes hold, and why some could not be read; ``StoreError`` when that is all of them."""
    if SELF in wanted:
        prove(store)
    try:
        return store.read({qube: each.selection for qube, each in wanted.items()}, access), {}
    except SomeUnread as error:
        if not error.found:
            raise
        return error.found, error.failed


def _refuse_too_many(store: Store, planned: Mapping[str, List[Change]]) -> None:
    for qube, changes in planned.items():
        if store.most_changes and len(changes) > store.most_changes:
            raise Refused("qube %s: %d keys at once, and %s takes %d; nothing was written. Set them in several tasks" % (
                show(qube), len(changes), store.url, store.most_changes))


def _do(store: Store, wanted: Mapping[str, Wanted], planned: Mapping[str, List[Change]]) -> Outcome:
    def update(qube: str) -> Update:
        return Update(wanted[qube].selection, lambda found: plan(qube, wanted[qube], found), wanted[qube].access != INHERIT)

    outcome = store.update_all({qube: update(qube) for qube, changes in planned.items() if changes})
    unchanged = {qube: [] for qube, changes in planned.items() if not changes}
    return outcome._replace(done={**unchanged, **outcome.done})


def _stopped(store: Store, task: Task, planned: Mapping[str, List[Change]], outcome: Outcome) -> Stopped:
    """The error of a task in which some qubes failed, with what was changed all the same."""
    changed = {qube: changes for qube, changes in outcome.done.items() if changes}
    left = [qube for qube in planned if planned[qube] and qube not in changed and qube not in outcome.failed]
    told = "it would change: %s" % names(changed) if task.check_mode else "written: %s; not begun: %s. Run again to complete it" % (names(changed), names(left))
    message = "%s. That was at qube %s; %s." % ("; ".join(map(str, outcome.failed.values())), names(outcome.failed), told)
    changed.update({qube: error.changes for qube, error in outcome.failed.items() if isinstance(error, Unfinished)})
    return Stopped(message, {"changed": bool(changed), "qubes": {qube: _report(store, changes) for qube, changes in changed.items()}})


def _result(store: Store, task: Task, done: Mapping[str, List[Change]], absent: List[str]) -> Dict[str, Any]:
    # In the order of the task.
    done = {str(qube): done[str(qube)] for qube in task.qubes if str(qube) in done}
    result: Dict[str, Any] = {
        "changed": any(done.values()),
        "qubes": {qube: _report(store, changes) for qube, changes in done.items()},
        "missing": absent,
    }
    if task.diff:
        result["diff"] = [diff(qube, store.kind, changes) for qube, changes in done.items() if changes]
    advice = store.advice(list(dict.fromkeys(change.key for changes in done.values() for change in changes)))
    if advice:
        result["warnings"] = [advice]
    return result


def _report(store: Store, changes: List[Change]) -> Dict[str, Any]:
    rows = {change.key: found.row if found else None for change, found in ((change, _interface.find(change.key)) for change in changes)}
    return {
        "changed_keys": list(rows),
        "lasts": {key: store.lasts(row) for key, row in rows.items()},
        "effective": {key: row.effective if row else _interface.NOW for key, row in rows.items()},
    }
