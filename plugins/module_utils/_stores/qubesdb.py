# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""QubesDB (Qubes R3 and later) as a store: in dom0 a daemon for each running qube, inside a qube its own.

The daemons have no transactions. What was written before a failure is undone, as far as it still holds what was written;
the folder of the sockets is locked meanwhile, so two of our own runs take turns. Qubes are served side by side: one whose
daemon hangs fails no other.
"""

from __future__ import annotations

import os
import re
from contextlib import ExitStack
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from .. import _interface
from .._errors import QubeMissing, SomeUnread, StoreError, VmconfigError, names
from .._files import locked
from .._interface import Row, Selection
from .._plan import Change, Snapshot
from .._text import show
from .base import Outcome, Replan, Store, Update, Watch
from .conversing import ConnectionWatch
from .qubesdbdaemon import Daemon, Reading, path_of
from .qubesdbwire import ERROR, LONGEST_PATH, LONGEST_VALUE, UNWATCH, WATCH, Job, Reply, Request, together

SELF = "self"
_SOCKET = re.compile(r"qubesdb\.([A-Za-z][A-Za-z0-9_.-]*)\.sock")
_SHOWN_SETTINGS = 20


class QubesDb(Store):
    """Live keys in QubesDB. A qube is a name, or ``self``."""

    kind = "qubesdb"
    protects = True

    def __init__(self, url: str, timeout: float, folder: str) -> None:
        super().__init__(url, timeout)
        self.folder = folder
        self._daemons: Dict[str, Daemon] = {}

    # what a key and value may be, and what becomes of it

    def limit(self, key: str, value: Optional[bytes]) -> str:
        if len(key) + 1 > LONGEST_PATH:
            return "QubesDB takes keys of %d characters at the most, this one has %d" % (LONGEST_PATH - 1, len(key))
        if value and len(value) > LONGEST_VALUE:
            return "QubesDB holds %d bytes at the most in a key, the value has %d" % (LONGEST_VALUE, len(value))
        return ""

    def lasts(self, row: Optional[Row]) -> str:
        return row.lasts if row else _interface.UNTIL_RESTART

    def advice(self, keys: Sequence[str]) -> str:
        if not keys:
            return ""
        settings = ["%s %s (%s)" % (_interface.setting(key).kind, _interface.setting_name(key), key) for key in keys if _interface.setting_name(key)]
        shown = ", ".join(settings[:_SHOWN_SETTINGS]) + (" and %d more" % (len(settings) - _SHOWN_SETTINGS) if settings[_SHOWN_SETTINGS:] else "")
        return "What is written into QubesDB lasts until qubesd writes the key again, at the latest when the qube restarts; %s" % (
            "what lasts is the setting: " + shown if settings else "there is no setting behind these keys")

    # which qubes there are

    def qubes(self) -> List[str]:
        try:
            found = sorted(match.group(1) for match in map(_SOCKET.fullmatch, os.listdir(self.folder)) if match)
        except OSError as error:
            raise StoreError("%s: the folder %s cannot be listed: %s" % (self.url, show(self.folder), error.strerror)) from None
        # qubesdb.work.ro.sock is the read-only twin of work's and qubesdb.ro.sock that of the own one, not those of qubes called so.
        twins = {qube + ".ro" for qube in found} | ({"ro"} if self._has_own() else set())
        return [qube for qube in found if qube not in twins]

    def _has_own(self) -> bool:
        return os.path.lexists(self._socket(SELF, True))

    def scope(self) -> List[str]:
        return self.qubes() or [SELF]

    def missing(self, qubes: List[str]) -> List[str]:
        known = frozenset(self.qubes())
        return [qube for qube in qubes if not (self._has_own() if qube == SELF else qube in known)]

    def _socket(self, qube: str, writing: bool) -> str:
        """The path of a qube's socket; for reading that of its read-only twin, which there is from 4.3.3 on."""
        name = os.path.join(self.folder, "qubesdb" if qube == SELF else "qubesdb." + qube)
        twin = name + ".ro.sock"
        return twin if not writing and os.path.exists(twin) else name + ".sock"

    def _absent(self, qube: str) -> QubeMissing:
        return QubeMissing("qube %s is not in %s: there is no socket %s; in it are %s. QubesDB has running qubes alone" % (
            show(qube), self.url, show(self._socket(qube, True)), names(self.qubes())))

    def _need(self, qubes: List[str]) -> None:
        for qube in self.missing(qubes):
            raise self._absent(qube)
        sockets: Dict[str, str] = {}
        for qube in qubes:
            other = sockets.setdefault(os.path.realpath(self._socket(qube, True)), qube)
            if other != qube:
                raise StoreError("%s: the qubes %s and %s are the same one; name it once" % (self.url, show(other), show(qube)))

    # reading and writing

    def read(self, wanted: Mapping[str, Selection], access: bool = False) -> Dict[str, Snapshot]:
        self._need(list(wanted))
        readings = {selection: Reading(selection) for selection in set(wanted.values())}
        found, failed = self._together({qube: self._daemon(qube).read(readings[selection]) for qube, selection in wanted.items()})
        if failed:
            raise SomeUnread(found, failed)
        return found

    def update(self, qube: str, selection: Selection, replan: Replan, access: bool = False) -> List[Change]:
        outcome = self.update_all({qube: Update(selection, replan, access)})
        for error in outcome.failed.values():
            raise error
        return outcome.done[qube]

    def update_all(self, updates: Mapping[str, Update]) -> Outcome:
        if not updates:
            return Outcome({}, {})
        # Ended since it was read: that is no other's failure.
        gone: Dict[str, VmconfigError] = {qube: self._absent(qube) for qube in self.missing(list(updates))}
        with ExitStack() as turn:
            try:
                turn.enter_context(locked(self.folder, self.timeout))
            except OSError as error:
                raise StoreError("%s: the folder %s cannot be locked: %s" % (self.url, show(self.folder), error.strerror)) from None
            done, failed = self._together({
                qube: self._daemon(qube).update(Reading(update.selection), update.replan) for qube, update in updates.items() if qube not in gone})
        return Outcome(done, {**gone, **failed})

    def _daemon(self, qube: str) -> Daemon:
        if qube not in self._daemons:
            name = "%s: the QubesDB of qube %s" % (self.url, show(qube))
            self._daemons[qube] = Daemon(name, lambda writing: self._socket(qube, writing), self.timeout)
        return self._daemons[qube]

    # watching

    def watch(self, qube: str, key: str) -> Watch:
        self._need([qube])
        return _QubesWatch(self._daemon(qube), key)

    @staticmethod
    def _together(jobs: Mapping[str, Job]) -> Tuple[Dict[str, Any], Dict[str, VmconfigError]]:
        """What the jobs return and how they failed, in their order. An error that is none of ours is raised."""
        results, errors = together(jobs)
        for error in errors.values():
            if not isinstance(error, VmconfigError):
                raise error
        return {qube: results[qube] for qube in jobs if qube in results}, {qube: errors[qube] for qube in jobs if qube in errors}

    def close(self) -> None:
        for daemon in self._daemons.values():
            daemon.close()


class _QubesWatch(ConnectionWatch):
    """On the connection that the qube's keys are read on."""

    def __init__(self, daemon: Daemon, key: str) -> None:
        self._daemon = daemon
        self._path = path_of(key)
        super().__init__(daemon.timeout)

    def _begin(self) -> int:
        if self._ask(WATCH) is ERROR:
            raise self._daemon.error("it refuses a watch on %s" % show(self._path))
        return self._current()

    def _ask(self, kind: int) -> Reply:
        results, errors = together({"watch": self._daemon.ask(Request(kind, self._path))})
        for error in errors.values():
            raise error
        return results["watch"]

    def _current(self) -> int:
        return self._daemon.conversation().opened

    def _event(self, seconds: float) -> bool:
        return self._daemon.conversation().wait_for_event(seconds)

    def end(self) -> None:
        # An event on its way would meet a closed connection, so this comes first.
        self._ask(UNWATCH)
