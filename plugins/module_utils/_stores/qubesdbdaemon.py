# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""What is done at one qube's QubesDB daemon: its keys read, and changed without transactions."""

from __future__ import annotations

import functools
import re
from typing import Callable, Dict, Generator, Iterable, List, NamedTuple, Optional, Sequence

from .. import _interface
from .._errors import Refused, StoreError, Unfinished, names
from .._plan import Change, Snapshot, ordered
from .._selection import Selection
from .._text import show
from . import qubesdbwire
from .base import Replan
from .conversing import Down, Failure, TimedOut, Unusable
from .qubesdbwire import ERROR, LONGEST_PATH, MULTIREAD, READ, RM, TOO_LARGE, WRITE, Conversation, Job, Reply, Request

_PATH = re.compile(rb"/(?!-)[A-Za-z0-9_./:@-]*")
_MOST_REQUESTS = 8
"""Requests for one selection at the most; where it would be more, one for the whole database costs less."""


class Reading:
    """How to read what is selected: the requests, and what their replies say."""

    def __init__(self, selection: Selection) -> None:
        self.requests = _requests(selection)
        self._matches = selection.matcher()

    def snapshot(self, replies: Sequence[Reply]) -> Snapshot:
        """The keys in the replies. ``Unusable`` where the daemon refuses what it has to answer, or it is too much."""
        values: Dict[str, bytes] = {}
        for request, reply in zip(self.requests, replies):
            if reply is ERROR:
                raise Unusable("it refuses to tell %s" % show(request.path or b"/"))
            if reply is TOO_LARGE:
                raise Unusable("its keys are more than %d bytes, which is more than is read" % qubesdbwire.LARGEST_REPLY)
            if isinstance(reply, dict):
                for path, value in reply.items():
                    key = path[1:].decode("ascii", "replace")
                    # A name that no key can have is that of a key that is not there.
                    if self._matches(key) and _PATH.fullmatch(path):
                        values[key] = value
            elif not isinstance(reply, Failure):
                values[request.path[1:].decode("ascii")] = reply
        return Snapshot(values)


def path_of(key: str) -> bytes:
    """The path as a request carries it."""
    return b"/" + key.encode("ascii")


def _requests(selection: Selection) -> List[Request]:
    prefixes = ["/" + prefix for prefix in selection.prefixes()]
    exact = ["/" + key for key in selection.exact if not ("/" + key).startswith(tuple(prefixes))]
    paths = [(MULTIREAD, prefix) for prefix in prefixes] + [(READ, path) for path in exact]
    if "/" in prefixes or len(paths) > _MOST_REQUESTS:
        return [Request(MULTIREAD, b"")]
    requests = [Request(kind, path.encode("utf-8")) for kind, path in paths]
    return [request for request in requests if len(request.path) <= LONGEST_PATH and _PATH.fullmatch(request.path)]


@functools.lru_cache(maxsize=64)
def reading_of(selection: Selection) -> Reading:
    """The one of a selection, which many qubes share."""
    return Reading(selection)


class _Progress:
    """What an update has written: surely, with what was there at first; and perhaps, where no reply came."""

    def __init__(self) -> None:
        self.done: Dict[str, Change] = {}
        self.perhaps: List[Change] = []

    def note(self, batch: Sequence[Change], replies: Sequence[Reply], sent: int) -> None:
        """Takes in the replies to a batch; of what was sent some may lack theirs."""
        self._add([change for change, reply in zip(batch, replies) if reply is not ERROR])
        self.perhaps = list(batch[len(replies):sent])

    def look(self, found: Snapshot) -> None:
        """Takes in what is there after a connection was lost: the daemon may be another one, without what was written."""
        self.done = {key: change for key, change in self.done.items() if found.values.get(key) == change.after}
        self._add([change for change in self.perhaps if found.values.get(change.key) == change.after])
        self.perhaps = []

    def _add(self, changes: Iterable[Change]) -> None:
        for change in changes:
            first = self.done.get(change.key, change)
            self.done[change.key] = change._replace(before=first.before)


class _Undone(NamedTuple):
    """What is left after changes were taken back: those that stand, those of which it is not known, and why."""

    standing: Sequence[Change]
    unknown: Sequence[Change]
    why: str


class Daemon:
    """The daemon of one qube. Its methods are jobs for ``Running``, one at a time.

    ``socket`` gives the path for reading or, when it is called with true, for writing; there is one connection at a time.
    """

    def __init__(self, name: str, socket: Callable[[bool], str], timeout: float) -> None:
        self.name = name
        self.timeout = timeout
        self._socket = socket
        self._conversation: Optional[Conversation] = None

    def error(self, why: object) -> StoreError:
        """An error that names the daemon, and says what to do."""
        return StoreError("%s: %s%s" % (self.name, why, "" if isinstance(why, Unusable) else "; see that its qubesdb-daemon runs"))

    def conversation(self, writing: bool = False) -> Conversation:
        """The one connection: for reading to a socket that cannot write, where there is one."""
        path = self._socket(writing)
        if self._conversation is None or self._conversation.path != path:
            self.close()
            self._conversation = Conversation(path, self.timeout)
        return self._conversation

    def read(self, reading: Reading) -> Job:
        """Reads; once more where the daemon went away meanwhile, for it may have been restarted."""
        try:
            return reading.snapshot((yield self.conversation(), reading.requests))
        except (TimedOut, Unusable) as error:
            raise self.error(error) from None
        except Down:
            pass
        try:
            return reading.snapshot((yield self.conversation(), reading.requests))
        except Down as error:
            raise self.error(error) from None

    def update(self, reading: Reading, replan: Replan) -> Job:
        """Reads, asks what to change and does that; from the start again where the daemon went away meanwhile."""
        progress = _Progress()
        try:
            return (yield from self._attempt(reading, replan, progress))
        except (TimedOut, Unusable) as error:
            raise self._unfinished(error, progress) from None
        except Down:
            pass
        try:
            return (yield from self._attempt(reading, replan, progress))
        except Down as error:
            raise self._unfinished(error, progress) from None
        except Refused as error:
            if not progress.done:
                raise
            done = list(progress.done.values())
            raise Unfinished("%s. The connection was lost before that; %s" % (error, _stands(done)), done) from None

    def _attempt(self, reading: Reading, replan: Replan, progress: _Progress) -> Job:
        conversation = self.conversation(writing=True)
        found = reading.snapshot((yield conversation, reading.requests))
        progress.look(found)
        for batch in _batches(replan(found)):
            try:
                replies = yield conversation, [_request(change) for change in batch]
            except Down as error:
                progress.note(batch, error.replies, error.sent)
                raise
            progress.note(batch, replies, len(batch))
            refused = [change.key for change, reply in zip(batch, replies) if reply is ERROR]
            if refused:
                raise self._refused(refused, (yield from self._undo(conversation, list(progress.done.values()))))
        return ordered(progress.done.values())

    def _undo(self, conversation: Conversation, done: Sequence[Change]) -> Generator:
        """Takes back what was written, the last first, where it still is as we wrote it."""
        ours: List[Change] = []
        why = ""
        try:
            held = yield conversation, [Request(READ, path_of(change.key)) for change in reversed(done)]
            ours = [change for change, value in zip(reversed(done), held) if (None if isinstance(value, Failure) else value) == change.after]
            # What puts others into force is written again when those are as they were.
            ours.sort(key=lambda change: _commits(change.key))
            replies: Sequence[Reply] = (yield conversation, [_request(change._replace(after=change.before)) for change in ours])
            sent = len(ours)
        except Down as error:
            if not ours:
                return _Undone(done, [], str(error))
            replies, sent, why = error.replies, error.sent, str(error)
        standing = [change for change, reply in zip(ours, replies) if reply is ERROR] + ours[sent:]
        return _Undone(standing, ours[len(replies):sent], why)

    def _refused(self, keys: Sequence[str], undone: _Undone) -> StoreError:
        message = "%s: it refuses %s" % (self.name, names(keys))
        if not undone.standing and not undone.unknown:
            return StoreError("%s; none of the qube's keys was changed" % message)
        told = [_stands(undone.standing)] if undone.standing else []
        told += ["perhaps undone: %s" % names(change.key for change in undone.unknown)] if undone.unknown else []
        why = " (%s)" % undone.why if undone.why else ""
        return Unfinished("%s, and not all could be undone%s; %s" % (message, why, "; ".join(told)), [*undone.standing, *undone.unknown])

    def _unfinished(self, error: Down, progress: _Progress) -> StoreError:
        left = [_stands(progress.done.values())] if progress.done else []
        left += ["perhaps written too: %s" % names(change.key for change in progress.perhaps)] if progress.perhaps else []
        if not left:
            return self.error("%s; none of the qube's keys was changed" % error)
        return Unfinished("%s; %s" % (self.error(error), "; ".join(left)), list(progress.done.values()))

    def ask(self, request: Request) -> Job:
        """Asks one thing, and returns the reply."""
        try:
            return (yield self.conversation(), [request])[0]
        except Down as error:
            raise self.error(error) from None

    def close(self) -> None:
        """Hangs up. It opens again when it is used again."""
        if self._conversation is not None:
            self._conversation.close()
        self._conversation = None


def _stands(changes: Iterable[Change]) -> str:
    return "these changes stand: %s" % names(change.key for change in changes)


def _request(change: Change) -> Request:
    if change.after is None:
        return Request(RM, path_of(change.key))
    return Request(WRITE, path_of(change.key), change.after)


def _batches(changes: Sequence[Change]) -> List[List[Change]]:
    """What may be under way at the same time; a key that puts others into force comes when those are there."""
    above = {change.key[:place] for change in changes for place in range(len(change.key)) if change.key[place] == "/"}
    first: List[Change] = []
    last: List[Change] = []
    for change in changes:
        (last if change.key in above or _commits(change.key) else first).append(change)
    return [batch for batch in (first, *([change] for change in last)) if batch]


def _commits(key: str) -> bool:
    found = _interface.find(key)
    return found is not None and found.row.commits != ""
