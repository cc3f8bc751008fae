# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""QubesDB (Qubes R3 and later) as a store: in dom0 a daemon for each running qube, inside a qube its own.

The daemons have no transactions. What was written before a failure is undone, as far as it still holds what was written;
the folder of the sockets is locked meanwhile, so two of our own runs take turns. Qubes are served side by side: one whose
daemon hangs delays and fails no other.
"""

from __future__ import annotations

import os
import re
import time
from typing import Dict, List, Optional, Sequence

from .. import _interface
from .._errors import QubeMissing, StoreError, names
from .._files import Lock, locked
from .._interface import Row
from .._plan import Change
from .._selection import Selection
from .._text import show
from .base import SELF, Replan, Update, Watch
from .conversing import ConnectionWatch
from .qubesdbdaemon import Daemon, path_of, reading_of
from .qubesdbwire import ERROR, LONGEST_PATH, LONGEST_VALUE, UNWATCH, WATCH, Job, Reply, Request, Running, alone
from .sidebyside import SideBySide
from .work import Work

_SOCKET = re.compile(r"qubesdb\.([A-Za-z][A-Za-z0-9_.-]*)\.sock")
_SHOWN_SETTINGS = 20
_REMOVING = 0.01


class QubesDb(SideBySide):
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
        # Nor is one called self, whose name means the own one.
        twins = {qube + ".ro" for qube in found} | ({"ro"} if self._has_own() else set()) | {SELF}
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

    def _absent(self, qubes: List[str]) -> Dict[str, QubeMissing]:
        missing = dict.fromkeys(self.missing(qubes))
        there = names(self.qubes()) if missing else ""
        sockets: Dict[str, str] = {}
        for qube in [qube for qube in qubes if qube not in missing]:
            other = sockets.setdefault(os.path.realpath(self._socket(qube, True)), qube)
            if other != qube:
                raise StoreError("%s: the qubes %s and %s are the same one; name it once" % (self.url, show(other), show(qube)))
        return {qube: self._missing(qube, there) for qube in missing}

    def _missing(self, qube: str, there: str) -> QubeMissing:
        return QubeMissing("qube %s is not in %s: there is no socket %s; in it are %s. QubesDB has running qubes alone" % (
            show(qube), self.url, show(self._socket(qube, True)), there))

    def _see_that_it_runs(self, qube: str) -> None:
        """``QubeMissing`` where its daemon has ended since it was looked for: that is no other's failure."""
        socket = self._socket(qube, True)
        if os.path.lexists(socket):
            # A daemon that ends closes its socket first, and removes it then.
            time.sleep(_REMOVING)
        if not os.path.lexists(socket):
            raise self._missing(qube, names(self.qubes()))

    # reading and writing

    def update(self, qube: str, selection: Selection, replan: Replan, access: bool = False) -> List[Change]:
        self._need([qube])
        with locked(self._lock()):
            return alone(self._updating(qube, Update(selection, replan, access)))

    def _work(self) -> Work:
        return Running()

    def _reading(self, qube: str, selection: Selection) -> Job:
        try:
            return (yield from self._daemon(qube).read(reading_of(selection)))
        except StoreError:
            self._see_that_it_runs(qube)
            raise

    def _updating(self, qube: str, update: Update) -> Job:
        if not os.path.lexists(self._socket(qube, True)):
            self._see_that_it_runs(qube)
        return (yield from self._daemon(qube).update(reading_of(update.selection), update.replan))

    def _lock(self) -> Lock:
        return Lock("%s: the folder %s" % (self.url, show(self.folder)), self.folder, self.timeout)

    def _daemon(self, qube: str) -> Daemon:
        if qube not in self._daemons:
            name = "%s: the QubesDB of qube %s" % (self.url, show(qube))
            self._daemons[qube] = Daemon(name, lambda writing: self._socket(qube, writing), self.timeout)
        return self._daemons[qube]

    # watching

    def watch(self, qube: str, key: str) -> Watch:
        self._need([qube])
        return _QubesWatch(self._daemon(qube), key)

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
        return alone(self._daemon.ask(Request(kind, self._path)))

    def _current(self) -> int:
        return self._daemon.conversation().opened

    def _event(self, seconds: float) -> bool:
        return self._daemon.conversation().wait_for_event(seconds)

    def end(self) -> None:
        # An event on its way would meet a closed connection, so this comes first.
        self._ask(UNWATCH)
