# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The embedded store: one JSON or YAML file that maps qubes to keys to values.

It is locked while it is changed, and replaced as a whole, so a reader never sees half of a change. The lock is on the
folder: the file itself is another one after each change.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import time
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from .. import _document
from .._errors import QubeMissing, Refused, StoreError, VmconfigError, names
from .._files import Lock, locked, read_file, replace_file
from .._plan import Change, Snapshot
from .._selection import Selection
from .._text import plain, show
from .base import SELF, Outcome, Replan, Review, Store, Update, Watch, settled

_LOOK_AGAIN = 0.1
"""Seconds between looks at a file that is waited for."""

Qubes = Dict[str, Dict[str, Any]]
"""As it is in the file: a value is text, or ``{base64: ...}`` that has been looked at. Bytes are made of what is asked for alone."""


class FileStore(Store):
    """A store in a file. Parsed again only when the file is another one or has changed."""

    kind = "file"

    def __init__(self, url: str, timeout: float, path: str) -> None:
        super().__init__(url, timeout)
        self.path = os.path.realpath(path)
        self._loaded: Optional[Tuple[Tuple[int, ...], Qubes]] = None

    def qubes(self) -> List[str]:
        return list(self._load())

    def missing(self, qubes: List[str]) -> List[str]:
        known = self._load()
        return [qube for qube in qubes if qube not in known]

    def read(self, wanted: Mapping[str, Selection], access: bool = False) -> Dict[str, Snapshot]:
        known = self._load()
        found = {qube: _snapshot(known[qube], selection) for qube, selection in wanted.items() if qube in known}
        return settled(found, self._absent(wanted, known))

    def _absent(self, qubes: Iterable[str], known: Qubes) -> Dict[str, VmconfigError]:
        """For each that is not there the same error, which names them all."""
        absent = [qube for qube in qubes if qube not in known]
        if not absent:
            return {}
        there = "in it are %s" % names(known) if known else "it has no qube yet"
        what = "qube %s is" % names(absent) if len(absent) == 1 else "qubes %s are" % names(absent)
        return dict.fromkeys(absent, QubeMissing("%s not in %s; %s%s" % (what, self.url, there, _hint(absent))))

    def update(self, qube: str, selection: Selection, replan: Replan, access: bool = False) -> List[Change]:
        outcome = self._update({qube: Update(selection, replan, access)})
        if outcome.failed:
            raise outcome.failed[qube]
        return outcome.done[qube]

    def update_all(self, updates: Mapping[str, Update], review: Review) -> Outcome:
        """Updates all in one replacement of the file, so each qube, and what is written at all, is there whole or not."""
        before = self._load()
        for error in self._absent(updates, before).values():
            raise error
        found: Dict[str, Snapshot] = {}
        due: Dict[str, Update] = {}
        for qube, update in updates.items():
            found[qube] = _snapshot(before[qube], update.selection)
            if review(qube, found[qube]):
                due[qube] = update
        return self._update(due, before, found) if due else Outcome({}, {})

    def _update(self, updates: Mapping[str, Update], before: Optional[Qubes] = None, found: Optional[Mapping[str, Snapshot]] = None) -> Outcome:
        """Plans each from what the locked file holds: what was ``found`` where that is as ``before``.

        One that is refused by then is left out, and the others are written.
        """
        outcome = Outcome({}, {})
        with locked(Lock(self.url, os.path.dirname(self.path), self.timeout)):
            known = self._load()
            same = found if found and known is before else {}
            outcome.failed.update(self._absent(updates, known))
            changed: Qubes = {}
            for qube in [qube for qube in updates if qube in known]:
                try:
                    outcome.done[qube] = updates[qube].replan(same.get(qube) or _snapshot(known[qube], updates[qube].selection))
                except VmconfigError as error:
                    outcome.failed[qube] = error
                    continue
                if outcome.done[qube]:
                    changed[qube] = _changed(known[qube], outcome.done[qube])
            if changed:
                try:
                    self._replace({**known, **changed})
                except StoreError as error:
                    outcome.failed.update(dict.fromkeys(changed, error))
                    for qube in changed:
                        del outcome.done[qube]
        return outcome

    def watch(self, qube: str, key: str) -> Watch:
        return _FileWatch(self.path)

    def _load(self) -> Qubes:
        try:
            mark = _mark(self.path)
            if self._loaded and self._loaded[0] == mark:
                return self._loaded[1]
            data = read_file(self.path, _document.LARGEST)
        except OSError as error:
            raise StoreError('%s cannot be read: %s; a file store is a file that is there, such as {"work": {}}, in which is one qube without keys' % (
                self.url, error.strerror)) from None
        qubes = self._shaped(data)
        self._loaded = (mark, qubes)
        return qubes

    def _shaped(self, written: bytes) -> Qubes:
        try:
            data = _document.parse(_document.text_of(written, self.url), self.url)
        except Refused as error:
            raise StoreError(str(error)) from None
        if not isinstance(data, dict):
            raise StoreError("%s is not a mapping of qubes to keys" % self.url)
        return {self._name(qube): self._keys(qube, keys) for qube, keys in data.items()}

    def _name(self, qube: Any) -> str:
        if not isinstance(qube, str):
            raise StoreError("%s: the qube %s is not text; put it in quotes" % (self.url, show(qube)))
        if not qube.strip():
            raise StoreError("%s: the name of a qube is %s; expected one that is not empty" % (self.url, show(qube)))
        return qube

    def _keys(self, qube: str, keys: Any) -> Dict[str, Any]:
        if not isinstance(keys, dict):
            raise StoreError("%s: qube %s is not a mapping of keys to text" % (self.url, show(qube)))
        # Nearly always all are text, which this tells without a look at each.
        if not {str}.issuperset(map(type, keys.values())):
            for key, value in keys.items():
                self._refuse_other(qube, key, value)
        return keys

    def _refuse_other(self, qube: str, key: str, value: Any) -> None:
        try:
            if isinstance(value, str) or isinstance(value, dict) and set(value) == {"base64"} and _decoded(value) is not None:
                return
        except (binascii.Error, TypeError, ValueError):
            pass
        raise StoreError("%s: qube %s, key %s: %s is not text; put it in quotes, or give bytes as {base64: ...}" % (
            self.url, show(qube), show(key), show(value)))

    def _replace(self, qubes: Qubes) -> None:
        write = _document.write_json if self.path.endswith(".json") else _document.write_yaml
        try:
            replace_file(self.path, write(qubes).encode("utf-8"))
        except OSError as error:
            raise StoreError("%s cannot be written: %s; it stands as it was" % (self.url, error.strerror)) from None


class _FileWatch(Watch):
    """Looks again and again whether the file is another one or has changed: a file tells nobody."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen = self._now()

    def _now(self) -> Optional[Tuple[int, ...]]:
        try:
            return _mark(self._path)
        except OSError:
            # Reading it says what is wrong.
            return None

    def wait(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while True:
            now = self._now()
            if now != self._seen:
                self._seen = now
                return True
            left = end - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(left, _LOOK_AGAIN))

    def end(self) -> None:
        pass


def _mark(path: str) -> Tuple[int, ...]:
    """What differs when a file is another one or has changed."""
    status = os.stat(path)
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def _hint(qubes: Sequence[str]) -> str:
    """How qubes of these names get into the file; a task adds none, for a name may be misspelled."""
    if not all(qube != SELF and re.fullmatch("[A-Za-z0-9_.-]{1,64}", qube) for qube in qubes):
        return ""
    return '. To add it, write  "%s": {}  into the file' % qubes[0] if len(qubes) == 1 else '. To add one, write  "NAME": {}  into the file'


def _decoded(value: Mapping[str, str]) -> bytes:
    return base64.b64decode(value["base64"], validate=True)


def _snapshot(keys: Mapping[str, Any], selection: Selection) -> Snapshot:
    matches = selection.matcher() if selection.globs else None
    asked = [key for key in keys if matches(key)] if matches else selection.exact
    return Snapshot({key: value.encode("utf-8") if isinstance(value, str) else _decoded(value) for key in asked if (value := keys.get(key)) is not None})


def _changed(keys: Mapping[str, Any], changes: Sequence[Change]) -> Dict[str, Any]:
    """The keys of a qube with the changes."""
    changed = dict(keys)
    for key, _before, after, _access_before, _access_after in changes:
        if after is None:
            changed.pop(key, None)
        else:
            changed[key] = plain(after)
    return changed
