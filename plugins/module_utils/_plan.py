# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""Wanted and found make ordered changes, and a diff of them. Pure: no store, nothing of Ansible.

Check mode, diff mode and the run all use the changes that ``plan`` computes.
"""

from __future__ import annotations

import base64
import binascii
from functools import lru_cache
from typing import Callable, Dict, FrozenSet, Iterable, List, Mapping, NamedTuple, Optional, Tuple

from . import _interface
from ._errors import Refused, names
from ._forms import Malformed
from ._qubename import qube_name
from ._selection import Selection
from ._text import escape, show

INHERIT = "inherit"


class Wanted(NamedTuple):
    """What one qube should hold: key to bytes (None removes), directories that hold nothing else, the qube's own access.

    ``guarded`` is where protected keys may not change.
    """

    keys: Dict[str, Optional[bytes]]
    purge: Tuple[str, ...] = ()
    access: str = INHERIT
    guarded: bool = False

    @property
    def selection(self) -> Selection:
        """What has to be read to plan this."""
        return Selection(tuple(self.keys), tuple(prefix + "*" for prefix in self.purge))


class _Untold(bytes):
    """Nothing but itself."""


UNTOLD = _Untold(b"")
"""The value of a key that is there, and whose value a store does not tell."""


class Snapshot(NamedTuple):
    """What a store holds of one qube.

    ``values`` is key to exact bytes. ``denied`` are keys, and directories with their slash, that may not be read. ``access``
    is the qube's own, if asked for. ``either`` are keys of which a store cannot tell whether they are empty or not there.
    ``defaults`` are keys that hold a default in force, so there is nothing to remove. ``hint`` says what would let the denied
    be read.
    """

    values: Dict[str, bytes]
    denied: FrozenSet[str] = frozenset()
    access: Mapping[str, str] = {}
    either: FrozenSet[str] = frozenset()
    defaults: FrozenSet[str] = frozenset()
    hint: str = ""


class Change(NamedTuple):
    """One key to write. None is a key that is not there; an access is None where it is neither asked for nor known.

    Before and after are the same where the access alone differs, and where the key is written again to put others into force.
    """

    key: str
    before: Optional[bytes]
    after: Optional[bytes]
    access_before: Optional[str] = None
    access_after: Optional[str] = None

    @property
    def secret(self) -> bool:
        """Whether the values may not be shown."""
        return self.key in _interface.SECRETS


Problem = Tuple[str, Refused]
"""Where it is, and what is wrong."""

Limit = Callable[[str, Optional[bytes]], str]


def declare(qubes: Mapping, purge: Iterable, access: str, unknown: str, limit: Limit, guarded: bool = False) -> Dict[str, Wanted]:
    """What a task declares, validated and encoded, by qube.

    ``limit`` tells what a store has against a key and value, or the empty text. ``Refused`` lists everything that is
    wrong, in all qubes.
    """
    problems: List[Problem] = []
    prefixes = _purge(purge, unknown, problems)
    wanted: Dict[str, Wanted] = {}
    for qube, keys in qubes.items():
        try:
            name = qube_name(qube)
            if name in wanted:
                raise Refused("qube %s: it is given twice, as text and as a number" % show(name))
            if not isinstance(keys, Mapping):
                raise Refused("qube %s: expected a mapping of keys to values, not %s" % (show(name), show(keys)))
        except Refused as error:
            problems.append(("", error))
        else:
            wanted[name] = Wanted(_declare_keys(name, keys, unknown, limit, problems), prefixes, access, guarded)
    if problems:
        raise Refused(_listed(problems))
    return wanted


def _listed(problems: List[Problem]) -> str:
    if len(problems) == 1:
        return "%s%s. Nothing was written." % problems[0]
    # What is wrong with the others is not worked out.
    numbered = ["(%d) %s%s" % (number, *problem) for number, problem in enumerate(problems[:20], 1)]
    more = "; and %d more" % (len(problems) - 20) if len(problems) > 20 else ""
    return "%d problems, nothing was written: %s%s." % (len(problems), "; ".join(numbered), more)


def _purge(purge: Iterable, unknown: str, problems: List[Problem]) -> Tuple[str, ...]:
    prefixes = []
    for name in purge:
        try:
            prefix = _interface.directory(name)
            if unknown != "allow" and prefix not in _interface.DIRECTORIES:
                raise Refused("%s is not a directory of the interface; expected one of %s" % (
                    show(name), ", ".join(sorted(_interface.DIRECTORIES))))
            prefixes.append(prefix)
        except Refused as error:
            problems.append(("purge: ", error))
    return tuple(prefixes)


def _declare_keys(qube: str, keys: Mapping, unknown: str, limit: Limit, problems: List[Problem]) -> Dict[str, Optional[bytes]]:
    declared: Dict[str, Optional[bytes]] = {}
    for name, value, (key, row, wrong) in zip(keys, keys.values(), _looked_up(tuple(keys), unknown)):
        if not wrong:
            try:
                declared[key] = data = _encoded(key, row, value)
                against = limit(key, data)
                if not against:
                    continue
                wrong = Refused(against)
            except Refused as error:
                wrong = error
        problems.append(("qube %s, key %s: " % (show(qube), show(name)), wrong))
    return declared


# Many qubes have the same keys: what follows from the names alone is worked out once for them.
_once_for_names = lru_cache(maxsize=64)


@_once_for_names
def _looked_up(names: Tuple[object, ...], unknown: str) -> List[Tuple[str, Optional[_interface.Row], Optional[Refused]]]:
    """Each name's key, its row, and what is wrong with it."""
    looked_up: List[Tuple[str, Optional[_interface.Row], Optional[Refused]]] = []
    spelled: Dict[str, object] = {}
    for name in names:
        try:
            key = _interface.normal(name)
            if key in spelled:
                raise Refused("it is given twice, as %s and as %s" % (show(spelled[key]), show(name)))
            spelled[key] = name
            looked_up.append((key, _row(key, unknown), None))
        except Refused as error:
            looked_up.append(("", None, error))
    return looked_up


def _row(key: str, unknown: str) -> Optional[_interface.Row]:
    found = _interface.find(key) if unknown == "allow" else _interface.known(key)
    return found.row if found else None


def encode(key: str, value, unknown: str) -> Optional[bytes]:
    """The bytes of a key for a value from a playbook, None for none; ``Refused`` says what is wrong with them."""
    return _encoded(key, _row(key, unknown), value)


def _encoded(key: str, row: Optional[_interface.Row], value) -> Optional[bytes]:
    if value is None:
        return None
    if key in _interface.SECRETS:
        raise Refused("it is a secret, which can only be removed, with null")
    try:
        if isinstance(value, str) or not _is_base64(value):
            return row.encode(value) if row else _interface.TEXT.encode(value).encode("utf-8")
        data = _from_base64(value["base64"])
        if not _interface.free(key):
            row.decode(data)
        return data
    except Malformed as error:
        expected = row.expected(error) if row else "expected text; %s" % error
        raise Refused("the value %s is refused: %s" % (show(value), expected)) from None
    except UnicodeEncodeError:
        raise Refused("the value %s is not Unicode; give its bytes as {base64: ...}" % show(value)) from None


def _is_base64(value) -> bool:
    return isinstance(value, Mapping) and set(value) == {"base64"}


def _from_base64(written) -> bytes:
    try:
        data = base64.b64decode(written, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise Malformed("what follows base64: is not base64") from None
    if b"\0" in data:
        raise Malformed("no store holds a NUL")
    return data


def plan(qube: str, wanted: Wanted, found: Snapshot) -> List[Change]:
    """What has to change, in the order to do it: a directory's own key after what is in it. Empty when nothing differs."""
    denied = sorted([key for key in found.denied if key in wanted.keys or key.startswith(wanted.purge)])
    if denied:
        raise Refused("qube %s: %s may not be read here, so cannot be compared%s" % (
            show(qube), names(denied), ". " + found.hint if found.hint else ""))
    changes = _differing(wanted, found)
    if changes:
        again = _commits(changes, wanted)
        changes = ordered(changes + again) if again else changes
        _refuse_protected(qube, changes, wanted)
    return changes


def ordered(changes: Iterable[Change]) -> List[Change]:
    """Changes of one qube in the order of a plan."""
    return sorted(changes, key=lambda change: _place(change.key))


def _place(key: str) -> str:
    return key + "/~"


@_once_for_names
def _in_order(keys: Tuple[str, ...]) -> Tuple[str, ...]:
    return tuple(sorted(keys, key=_place))


def _commits(changes: List[Change], wanted: Wanted) -> List[Change]:
    """The keys that are right already, and are written again to put changes of others into force."""
    committing = _committing(tuple(wanted.keys))
    changed = frozenset([change.key for change in changes]) if committing else ()
    again = []
    for key, beginning in committing:
        value = wanted.keys[key]
        if value is not None and key not in changed and any(other.startswith(beginning) for other in changed):
            again.append(Change(key, value, value))
    return again


@_once_for_names
def _committing(keys: Tuple[str, ...]) -> List[Tuple[str, str]]:
    """Those of the keys that put others into force, each with what the names of those begin with."""
    rows = {key: found.row for key, found in zip(keys, map(_interface.find, keys)) if found}
    return [(key, key + row.commits) for key, row in rows.items() if row.commits]


def _refuse_protected(qube: str, changes: List[Change], wanted: Wanted) -> None:
    if not wanted.guarded:
        return
    rows = {change.key: _interface.find(change.key) for change in changes}
    protected = [key for key, found in rows.items() if found and found.row.protected]
    if protected:
        raise Refused("qube %s: %s would change. What is protected (identity, addresses, firewall, device lists) is qubesd's; "
                      "give force: true if this is meant" % (show(qube), names(protected)))


def _differing(wanted: Wanted, found: Snapshot) -> List[Change]:
    """What differs, in the order of a plan."""
    goal, held = wanted.keys, found.values
    if wanted.purge:
        goal = {**{key: None for key in held if key.startswith(wanted.purge)}, **goal}
    if found.defaults:
        goal = {key: after for key, after in goal.items() if after is not None or key not in found.defaults}
    if found.either:
        held = {**{key: b"" for key in found.either if goal.get(key) is not None}, **held}
    keys = _in_order(tuple(goal))
    if wanted.access == INHERIT:
        # The class itself takes twice as long for each.
        new = tuple.__new__
        return [new(Change, (key, before, after, None, None)) for key in keys if (before := held.get(key)) != (after := goal[key])]
    changes = [Change(key, held.get(key), goal[key], found.access.get(key), wanted.access) if goal[key] is not None else Change(key, held.get(key), None)
               for key in keys]
    return [change for change in changes if change.before != change.after or change.access_before != change.access_after]


def diff(qube: str, store: str, changes: List[Change]) -> Dict[str, str]:
    """One entry for Ansible's ``diff``: a line a changed key, escaped and cut."""
    header = "%s (%s)" % (show(qube)[1:-1], store)
    return {
        "before_header": header,
        "after_header": header,
        "before": "".join([_line(change, change.before, change.access_before) for change in changes if change.before is not None]),
        "after": "".join([_line(change, change.after, change.access_after) for change in changes if change.after is not None]),
    }


def _line(change: Change, value: bytes, access: Optional[str]) -> str:
    shown = "(a secret)" if change.secret else "(computed by qubesd)" if value is UNTOLD else show(value)
    return "%s: %s%s\n" % (escape(change.key), shown, " access=%s" % access if access else "")
