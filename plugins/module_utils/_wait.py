# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""Waiting until a key is as it should be."""

from __future__ import annotations

import re
import signal
import time
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

from . import _interface
from ._errors import QubeMissing, Refused, StoreError, VmconfigError
from ._inspect import prove
from ._plan import UNTOLD, encode
from ._qubename import qube_name
from ._selection import Selection
from ._stores.base import SELF, Store
from ._text import escape, plain, show

LONGEST = 14 * 24 * 3600
"""Seconds to wait at the most; poll(2) takes 24 days."""

GRACE = 0.5
"""Seconds after the timeout in which a store that is asked just then may still answer."""


class Task(NamedTuple):
    """What the module ``keys_wait`` was told, with every default filled in; ``timeout`` in seconds."""

    qube: str
    key: str
    state: str = "present"
    value: Any = None
    regexp: str = ""
    timeout: float = 300.0
    check_mode: bool = False


def named(task: Task) -> Task:
    """The task, with the names that a store has; ``Refused`` for names that no store can have."""
    return task._replace(qube=qube_name(task.qube), key=_interface.normal(task.key))


class TimeIsUp(BaseException):
    """The alarm went off. Nothing that handles errors may take it for one."""


def wait(store: Store, task: Task) -> Dict[str, Any]:
    """Waits for what the task says, and returns the module's result; ``VmconfigError`` when the time is up."""
    key = _interface.normal(task.key)
    secret = key in _interface.SECRETS
    try:
        is_met = _checked(store, key, task)
    except Refused as error:
        raise Refused("qube %s, key %s: %s" % (show(task.qube), show(key), error)) from None
    begun = time.monotonic()
    try:
        with _alarm(task.timeout + GRACE):
            met, untrusted_value = _look(store, key, task, is_met, begun + task.timeout)
    except TimeIsUp:
        raise StoreError("qube %s, key %s: %s does not answer, or the pattern takes too long, and the %g seconds to wait are over" % (
            show(task.qube), show(key), store.url, task.timeout)) from None
    except (QubeMissing, StoreError) as error:
        raise StoreError("%s. That was while waiting for key %s of qube %s" % (error, show(key), show(task.qube))) from None
    if not met and not task.check_mode:
        raise VmconfigError("qube %s, key %s: %g seconds are over and it is not %s; it is %s" % (
            show(task.qube), show(key), task.timeout, _goal(task), _described(untrusted_value, secret)))
    return {
        "changed": False,
        "met": met,
        "present": untrusted_value is not None,
        "value": None if secret or untrusted_value is None or untrusted_value is UNTOLD else plain(untrusted_value),
        "elapsed": round(time.monotonic() - begun, 3),
    }


def _look(store: Store, key: str, task: Task, is_met: Callable[[Optional[bytes]], bool], end: float) -> Tuple[bool, Optional[bytes]]:
    """Whether the condition is met, and the value that was seen last. The watch is there before the first look."""
    if task.qube == SELF:
        prove(store)
    watch = store.watch(task.qube, key)
    while True:
        untrusted_value = _value(store, task.qube, key)
        met = is_met(untrusted_value)
        left = end - time.monotonic()
        if met or task.check_mode or left <= 0 or not watch.wait(left):
            break
    try:
        watch.end()
    except (StoreError, TimeIsUp):
        # What was seen was seen; the connection is closed next.
        pass
    return met, untrusted_value


def _value(store: Store, qube: str, key: str) -> Optional[bytes]:
    snapshot = store.read({qube: Selection((key,))})[qube]
    if key in snapshot.denied:
        raise Refused("qube %s, key %s: it may not be read here, so cannot be waited for" % (show(qube), show(key)))
    return snapshot.values.get(key)


def _checked(store: Store, key: str, task: Task) -> Callable[[Optional[bytes]], bool]:
    if not 0 <= task.timeout <= LONGEST:
        raise Refused("timeout is %g; expected seconds, from 0 to %d" % (task.timeout, LONGEST))
    if key in _interface.SECRETS and task.state not in ("present", "absent"):
        raise Refused("it is a secret, of which is only told whether it is there; wait for state: present or absent")
    against = store.limit(key, encode(key, task.value, "allow") if task.state == "equal" else None)
    if against:
        raise Refused(against)
    return _condition(key, task)


def _condition(key: str, task: Task) -> Callable[[Optional[bytes]], bool]:
    if task.state == "present":
        return lambda value: value is not None
    if task.state == "absent":
        return lambda value: value is None
    if task.state == "changed":
        return _changed()
    if task.state == "equal":
        wanted = encode(key, task.value, "allow")
        return lambda value: value == wanted
    try:
        pattern = re.compile(task.regexp)
    except (re.error, OverflowError, RecursionError) as error:
        raise Refused("the regexp %s is none: %s" % (show(task.regexp), escape(str(error)))) from None
    return lambda value: value is not None and pattern.search(value.decode("utf-8", "surrogateescape")) is not None


def _changed() -> Callable[[Optional[bytes]], bool]:
    first: List[Optional[bytes]] = []

    def is_met(value: Optional[bytes]) -> bool:
        if not first:
            first.append(value)
        return value != first[0]

    return is_met


def _goal(task: Task) -> str:
    if task.state == "equal":
        return "equal to %s" % show(task.value)
    return "matching %s" % show(task.regexp) if task.state == "matching" else task.state


def _described(untrusted_value: Optional[bytes], secret: bool) -> str:
    if untrusted_value is None:
        return "not there"
    return "there" if secret else show(untrusted_value)


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Ends the block with ``TimeIsUp``, even in the middle of a pattern that takes for ever on a hostile value."""

    def ring(number, frame):
        raise TimeIsUp

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
