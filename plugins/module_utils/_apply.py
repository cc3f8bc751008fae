# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""From a declaration to a result: declare, read, plan, and unless it is check mode, do."""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Mapping, NamedTuple

from . import _interface
from ._errors import QubeMissing, Refused, StoreError, VmconfigError, names
from ._plan import INHERIT, Change, Snapshot, Wanted, declare, diff, plan
from ._stores.base import Store
from ._text import show


class Task(NamedTuple):
    """What the module ``keys`` was told, with every default filled in."""

    qubes: Mapping[str, Any]
    purge: Iterable[str] = ()
    access: str = INHERIT
    unknown: str = "reject"
    missing: str = "fail"
    check_mode: bool = False
    diff: bool = False


class Stopped(VmconfigError):
    """A store failed after some qubes were changed; ``result`` says which."""

    def __init__(self, message: str, result: Dict[str, Any]) -> None:
        super().__init__(message)
        self.result = result


def apply(store: Store, task: Task) -> Dict[str, Any]:
    """Makes the store hold what the task declares, and returns the module's result."""
    wanted = declare(task.qubes, task.purge, task.access, task.unknown, store.limit)
    if task.access != INHERIT and not store.permissions:
        raise Refused("access: %s cannot be had: %s has no permissions for single keys. Nothing was written." % (task.access, store.url))
    try:
        absent = store.missing(list(wanted)) if task.missing == "skip" else []
        here = {qube: wanted[qube] for qube in wanted if qube not in absent}
        found = store.read({qube: each.selection for qube, each in here.items()}, task.access != INHERIT)
    except StoreError as error:
        raise StoreError("%s. That was while reading the keys of qube %s; nothing was written." % (error, names(wanted))) from None
    planned = {qube: plan(qube, each, found[qube]) for qube, each in here.items()}
    _refuse_too_many(store, planned)
    done = planned if task.check_mode else _do(store, here, planned)
    return _result(store, task, done, absent)


def _refuse_too_many(store: Store, planned: Mapping[str, List[Change]]) -> None:
    for qube, changes in planned.items():
        if store.most_changes and len(changes) > store.most_changes:
            raise Refused("qube %s: %d keys at once, and %s takes %d; nothing was written. Set them in several tasks" % (
                show(qube), len(changes), store.url, store.most_changes))


def _do(store: Store, wanted: Mapping[str, Wanted], planned: Mapping[str, List[Change]]) -> Dict[str, List[Change]]:
    done: Dict[str, List[Change]] = {}
    for qube, changes in planned.items():
        try:
            done[qube] = _do_one(store, qube, wanted[qube]) if changes else []
        except (StoreError, QubeMissing) as error:
            changed = [each for each in done if done[each]]
            left = [each for each in planned if planned[each] and each not in done and each != qube]
            message = "%s. That was at qube %s; written before: %s; not begun: %s. Run again to complete it." % (
                error, show(qube), names(changed), names(left))
            raise Stopped(message, {"changed": bool(changed), "qubes": {each: _report(store, done[each]) for each in changed}}) from None
    return done


def _do_one(store: Store, qube: str, wanted: Wanted) -> List[Change]:
    def replan(found: Snapshot) -> List[Change]:
        return plan(qube, wanted, found)

    return store.update(qube, wanted.selection, replan, wanted.access != INHERIT)


def _result(store: Store, task: Task, done: Mapping[str, List[Change]], absent: List[str]) -> Dict[str, Any]:
    result: Dict[str, Any] = {
        "changed": any(done.values()),
        "qubes": {qube: _report(store, changes) for qube, changes in done.items()},
        "missing": absent,
    }
    if task.diff:
        result["diff"] = [diff(qube, store.kind, changes) for qube, changes in done.items() if changes]
    return result


def _report(store: Store, changes: List[Change]) -> Dict[str, Any]:
    rows = {change.key: found.row if found else None for change, found in ((change, _interface.find(change.key)) for change in changes)}
    return {
        "changed_keys": list(rows),
        "lasts": {key: store.lasts(row) for key, row in rows.items()},
        "effective": {key: row.effective if row else _interface.NOW for key, row in rows.items()},
    }
