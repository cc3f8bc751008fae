# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The settings behind the keys (Qubes R4) as a store, through the Admin API: what is written lasts, of halted qubes too.

It reads no byte that a qube wrote. Qubes are served side by side; the calls of one come one after the other, and are undone
when one of them fails.
"""

from __future__ import annotations

import functools
import re
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

from .. import _child, _interface
from .._errors import QubeMissing, StoreError, Unfinished, names
from .._interface import Row
from .._plan import UNTOLD, Change, Snapshot
from .._selection import Selection
from .._settings import ALWAYS, Computed, Removal, Setting, Unsettable
from .._text import show
from . import adminapi
from .adminapi import Answered, CallFailed, Client
from .base import Replan, Update, Watch
from .sidebyside import SideBySide
from .threads import Threads
from .work import Work

SIDE_BY_SIDE = 16
"""Qubes served at the same time at the most; each is a process at a time."""

LOOK_AGAIN = 1.0
"""Seconds between looks at a setting that is waited for."""

_PLAIN = [row.name for row in _interface.ROWS if "/" not in row.name]
_FAMILIES = [row for row in _interface.ROWS if row.setting.kind and "/" in row.name]
_LINE = re.compile(rb"(\S+) class=(\S+) state=(\S+)(?: .*)?")
_MISSING = ("QubesFeatureNotFoundError", "QubesNoSuchPropertyError")


class Held(NamedTuple):
    """What a setting holds: text, or None where there is none; ``default`` is a property's that was not set."""

    text: Optional[str]
    default: bool = False


class AdminStore(SideBySide):
    """Settings of qubes. A qube is a name, of one that runs or is halted."""

    kind = "admin"

    def __init__(self, url: str, timeout: float, client: Client) -> None:
        super().__init__(url, timeout)
        self.client = client

    def limit(self, key: str, value: Optional[bytes]) -> str:
        try:
            _interface.setting(key).text(value)
        except Unsettable as error:
            return str(error)
        name = _interface.setting_name(key)
        return "" if re.fullmatch("[A-Za-z0-9_.-]+", name) else "the name of a setting is letters, digits and _ . - alone, not %s" % show(name)

    # which qubes there are

    def qubes(self) -> List[str]:
        try:
            lines = self.client.call("dom0", "admin.vm.List").splitlines()
        except adminapi.Denied as error:
            raise _Unlisted("%s: %s" % (self.url, error)) from None
        except CallFailed as error:
            raise self.failed("dom0", "admin.vm.List", "", error) from None
        # Dom0 has settings too, and is no qube.
        found = [match.group(1).decode("ascii", "replace") for match in map(_LINE.fullmatch, lines) if match and match.group(2) != b"AdminVM"]
        return sorted(name for name in found if re.fullmatch(_interface.QUBE.pattern, name))

    def missing(self, qubes: List[str]) -> List[str]:
        return self._missing(qubes)[0]

    def _missing(self, qubes: Sequence[str]) -> Tuple[List[str], str]:
        """Those that are not here, and what is known of those that are."""
        try:
            known = self.qubes()
        except _Unlisted:
            # Who may not list them may still set them, and is told by each call what is refused. A name is an argument of a program.
            return [qube for qube in qubes if not re.fullmatch(_interface.QUBE.pattern, qube)], "policy does not let them be listed"
        there = frozenset(known)
        return [qube for qube in qubes if qube not in there], "in it are " + names(known)

    def _absent(self, qubes: Sequence[str]) -> Dict[str, QubeMissing]:
        missing, known = self._missing(qubes)
        return {qube: QubeMissing("qube %s is not in %s; %s" % (show(qube), self.url, known)) for qube in missing}

    def failed(self, qube: str, method: str, argument: str, error: CallFailed) -> StoreError:
        """The error of a call, as it is told."""
        kind = _Silent if isinstance(error, adminapi.TimedOut) else StoreError
        return kind("%s: %s of qube %s: %s" % (self.url, method + ("+" + argument if argument else ""), show(qube), error))

    # reading

    def _work(self) -> Work:
        return Threads(SIDE_BY_SIDE, _child.end_all)

    def _reading(self, qube: str, selection: Selection) -> Callable[[], Snapshot]:
        return functools.partial(self._read_if_there, qube, selection)

    def _read_if_there(self, qube: str, selection: Selection) -> Snapshot:
        """Reads; ``QubeMissing`` for one that was removed since it was looked for, whose calls policy may just refuse."""
        try:
            found = self._read(qube, selection)
        except _Silent:
            raise
        except StoreError:
            self._need([qube])
            raise
        if found.denied and not found.values:
            self._need([qube])
        return found

    def _read(self, qube: str, selection: Selection) -> Snapshot:
        return _Reading(self, qube).snapshot(selection)

    # writing

    def canonical(self, keys: Dict[str, Optional[bytes]]) -> Dict[str, Optional[bytes]]:
        return {key: _canonical(_interface.setting(key), value) for key, value in keys.items()}

    def update(self, qube: str, selection: Selection, replan: Replan, access: bool = False) -> List[Change]:
        found = self._read(qube, selection)
        changes = replan(found)
        done: List[Change] = []
        for change in changes:
            try:
                self._write(qube, change.key, change.after)
            except CallFailed as error:
                standing = done if isinstance(error, adminapi.TimedOut) else self._undo(qube, found, done)
                raise self._unfinished(qube, change, error, standing) from None
            done.append(change)
        return changes

    def _updating(self, qube: str, update: Update) -> Callable[[], List[Change]]:
        return functools.partial(self.update, qube, *update)

    def _write(self, qube: str, key: str, value: Optional[bytes]) -> None:
        setting = _interface.setting(key)
        if isinstance(setting, Removal):
            text = "1" if value is None else None
        else:
            text = setting.text(value)
        verb = "Set" if text is not None else "Reset" if setting.kind == "property" else "Remove"
        self.client.call(qube, "admin.vm.%s.%s" % (setting.kind, verb), _interface.setting_name(key), (text or "").encode("ascii"))

    def _undo(self, qube: str, found: Snapshot, done: Sequence[Change]) -> List[Change]:
        """Takes back what was written, the last first, where it is still as it was written. Returns the changes that stand."""
        standing: List[Change] = []
        for place, change in reversed(list(enumerate(done))):
            try:
                now = self._read(qube, Selection((change.key,)))
                held = None if change.key in now.defaults else now.values.get(change.key)
                if held == change.after:
                    self._write(qube, change.key, None if change.key in found.defaults else change.before)
            except (adminapi.TimedOut, _Silent):
                return [*done[:place + 1], *reversed(standing)]
            except (CallFailed, StoreError, Unsettable):
                # Unsettable: what was there before was not set through the interface, which has no form for it.
                standing.append(change)
        return standing[::-1]

    def _unfinished(self, qube: str, change: Change, error: CallFailed, standing: Sequence[Change]) -> StoreError:
        failed = self.failed(qube, "setting %s for key" % _interface.setting_name(change.key), change.key, error)
        perhaps = "; it is not known whether this one was" if isinstance(error, adminapi.TimedOut) else ""
        if not standing:
            return StoreError("%s; none of the qube's other keys was changed%s" % (failed, perhaps))
        return Unfinished("%s; these changes stand: %s%s" % (failed, names(each.key for each in standing), perhaps), list(standing))

    # watching

    def watch(self, qube: str, key: str) -> Watch:
        self._need([qube])
        return _AdminWatch()


class _Reading:
    """What one qube holds of a selection, with no call more than that takes."""

    def __init__(self, store: AdminStore, qube: str) -> None:
        self._store = store
        self._qube = qube
        self._features: Optional[Set[str]] = None
        self._properties: Dict[str, Held] = {}
        self._denied: Dict[str, str] = {}

    def snapshot(self, selection: Selection) -> Snapshot:
        keys = self._keys(selection)
        self._ask_in_bulk({name for name in map(_property, keys) if name})
        values: Dict[str, bytes] = {}
        defaults = set()
        for key in keys:
            try:
                value, default = self._value(key)
            except adminapi.Denied as error:
                self._denied[key] = str(error)
                continue
            if value is not None:
                values[key] = value
            if default:
                defaults.add(key)
        return Snapshot(values, frozenset(self._denied), defaults=frozenset(defaults), hint="; ".join(dict.fromkeys(self._denied.values())))

    def _keys(self, selection: Selection) -> List[str]:
        """The keys that are selected; of families, from the names of the features that there are."""
        keys = list(selection.exact)
        if not selection.globs:
            return keys
        matches = selection.matcher()
        keys += [name for name in _PLAIN if name not in keys and matches(name)]
        families = [row for row in _FAMILIES if selection.may_hold(_directory(row))]
        if families:
            self._list_features(families)
        for row in families:
            prefix = row.setting.of("")
            found = [_directory(row) + feature[len(prefix):] for feature in self._features or () if feature.startswith(prefix)]
            keys += [key for key in sorted(found) if key not in keys and matches(key) and _interface.setting_name(key)]
        return keys

    def _list_features(self, families: Sequence[Row]) -> None:
        try:
            self._features = set(self._call("admin.vm.feature.List").split("\n"))
        except adminapi.Denied as error:
            self._denied.update({_directory(row): str(error) for row in families})

    def _ask_in_bulk(self, names: Set[str]) -> None:
        """Reads all properties in one call, where it is about several, the release has that call and policy allows it."""
        if len(names) < 2:
            return
        try:
            lines = self._call("admin.vm.property.GetAll", unless=Answered).split("\n")
        except (Answered, adminapi.Denied):
            return
        for line in lines:
            name, _space, rest = line.partition(" ")
            if name in names:
                self._properties[name] = self._held(name, _unescaped(rest))

    def _value(self, key: str) -> Tuple[Optional[bytes], bool]:
        """A key's value, or None where there is none, and whether it is a default in force."""
        setting, name = _interface.setting(key), _interface.setting_name(key)
        if isinstance(setting, Computed):
            there = setting.given == ALWAYS or setting.given and self._property(setting.given).text not in (None, "", "False")
            return (UNTOLD if there else None), False
        if setting.kind == "property":
            held = self._property(name)
            return setting.value(held.text), held.default
        text = self._feature(name)
        if isinstance(setting, Removal):
            return (None if text else UNTOLD), False
        return setting.value(text), False

    def _feature(self, name: str) -> Optional[str]:
        if self._features is not None and name not in self._features:
            return None
        try:
            return self._call("admin.vm.feature.Get", name, unless=Answered)
        except Answered as error:
            return self._none(error, "admin.vm.feature.Get", name)

    def _property(self, name: str) -> Held:
        if name not in self._properties:
            try:
                self._properties[name] = self._held(name, self._call("admin.vm.property.Get", name, unless=Answered))
            except Answered as error:
                self._properties[name] = Held(self._none(error, "admin.vm.property.Get", name))
        return self._properties[name]

    def _none(self, error: Answered, method: str, name: str) -> None:
        """Nothing, where qubesd says that it does not have this."""
        if error.kind not in _MISSING:
            raise self._store.failed(self._qube, method, name, error) from None

    def _held(self, name: str, answer: str) -> Held:
        match = re.fullmatch(r"default=(True|False) type=[a-z]+ ?(.*)", answer, re.DOTALL)
        if not match:
            raise StoreError("%s: property %s of qube %s: the answer is none: %s" % (self._store.url, name, show(self._qube), show(answer)))
        return Held(match.group(2), match.group(1) == "True")

    def _call(self, method: str, argument: str = "", unless: Any = ()) -> str:
        """The answer's text. ``Denied`` and what ``unless`` names is for the caller, any other failure ends the reading."""
        try:
            return self._store.client.call(self._qube, method, argument).decode("utf-8", "replace")
        except adminapi.Denied:
            raise
        except CallFailed as error:
            if unless and isinstance(error, unless):
                raise
            raise self._store.failed(self._qube, method, argument, error) from None


def _canonical(setting: Setting, value: Optional[bytes]) -> Optional[bytes]:
    return value if isinstance(setting, Removal) else setting.value(setting.text(value))


def _property(key: str) -> str:
    """The property that a key's value, or its being there, depends on; or the empty text."""
    setting = _interface.setting(key)
    if isinstance(setting, Computed):
        return setting.given if setting.given != ALWAYS else ""
    return _interface.setting_name(key) if setting.kind == "property" else ""


class _Silent(StoreError):
    """A call was not answered in time, so no other is made to this qube."""


class _Unlisted(StoreError):
    """Policy does not let the qubes be listed."""


class _AdminWatch(Watch):
    """Looks again and again: a call tells what is, and no more."""

    def wait(self, seconds: float) -> bool:
        time.sleep(min(seconds, LOOK_AGAIN))
        return True

    def end(self) -> None:
        pass


def _directory(row: Row) -> str:
    return row.name.partition("/")[0] + "/"


def _unescaped(text: str) -> str:
    """A property's value as ``GetAll`` writes it: line ends and backslashes are escaped."""
    return re.sub(r"\\([n\\])", lambda match: "\n" if match.group(1) == "n" else "\\", text)
