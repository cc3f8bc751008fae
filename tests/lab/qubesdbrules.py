# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Misbehaviour on demand: what a daemon, or whoever has taken its place, does with some requests instead of answering them.

Each action is a function of the client and its request; what follows the request is the action's arguments.
"""

from __future__ import annotations

import fnmatch
import inspect
import struct
from typing import Any, Mapping, Optional

from qubesdbclient import Client
from qubesdbprotocol import ERROR, ERROR_NOENT, HEADER, KINDS, LIST, PATH_MAX, R_LIST, R_MULTIREAD, R_WATCH, Request, kind_name, text

ENDLESS_COUNT, ENDLESS_PAUSE, ENDLESS_AHEAD = 50, 0.01, 64 * 1024  # messages, seconds, bytes
PATH_FIELD, LENGTH_FIELD = struct.Struct("=64s"), struct.Struct("=I")
PATH_AT, LENGTH_AT = 1, 68


class Rule:
    """Takes the requests that match, after the first `skip` of them, `times` times (None: for ever). `path` may be a glob."""

    def __init__(self, action: str, kind: Optional[str], path: Optional[str], skip: int, times: Optional[int], arguments: Mapping[str, Any]) -> None:
        if action not in ACTIONS:
            raise ValueError("no action %r; there are %s" % (action, ", ".join(ACTIONS)))
        if kind is not None and kind not in KINDS:
            raise ValueError("no kind %r" % kind)
        self._act = ACTIONS[action]
        inspect.signature(self._act).bind(None, None, **arguments)  # a TypeError for arguments it does not have
        self._arguments = arguments
        self._kind = kind
        self._path = path
        self._skip = skip
        self._times = times

    def takes(self, request: Request) -> bool:
        """Counts a request that matches, so it is to be asked once for each."""
        if self._kind not in (None, kind_name(request.kind)) or not (self._path is None or fnmatch.fnmatchcase(text(request.path), self._path)):
            return False
        if self._skip:
            self._skip -= 1
            return False
        if self._times is None:
            return True
        self._times -= 1
        return self._times >= 0

    def apply(self, client: Client, request: Request) -> None:
        """The first of the client's pending requests is this one, and is taken off unless it is only late."""
        if self._act is not lag:
            client.take()
        self._act(client, request, **self._arguments)


def stall(client: Client, request: Request, applied: bool = False) -> None:
    """This connection hears nothing more."""
    client.mute()
    if applied:
        client.answer(request)


def lag(client: Client, _request: Request, seconds: float) -> None:
    """Carried out and answered after a while; other connections do not wait."""
    client.hold()
    client.after(seconds, client.release)


def close(client: Client, request: Request, applied: bool = False) -> None:
    client.hang_up()
    if applied:
        client.answer(request)


def cut(client: Client, request: Request, size: int) -> None:
    """The reply's first bytes, and then the end."""
    outcome = client.daemon.outcome(client, request)
    client.respond(outcome._replace(reply=outcome.reply[:size], closes=True))


def half(client: Client, request: Request, size: int) -> None:
    """The reply's first bytes, and then nothing more."""
    outcome = client.daemon.outcome(client, request)
    client.send(outcome.reply[:size])
    client.mute()
    client.respond(outcome)


def error(client: Client, request: Request) -> None:
    client.send(client.message(ERROR, request.path))


def noent(client: Client, request: Request) -> None:
    client.send(client.message(ERROR_NOENT, request.path))


def event(client: Client, request: Request, event_path: str) -> None:
    """An event before the reply, asked for or not."""
    client.send(client.message(R_WATCH, event_path.encode()), reply=False)
    client.answer(request)


def noise(client: Client, _request: Request, data: bytes) -> None:
    """Any bytes instead of the reply."""
    client.spoil()
    client.send(data)


def retype(client: Client, request: Request, reply_kind: str) -> None:
    """Another type in the reply: its name, or a number. Where a reply has several messages, this and the next two change the first."""
    number = KINDS.index(reply_kind) if reply_kind in KINDS else int(reply_kind)
    _respond_changed(client, request, 0, bytes([number]))


def repath(client: Client, request: Request, reply_path: str) -> None:
    _respond_changed(client, request, PATH_AT, PATH_FIELD.pack(reply_path.encode()))


def length(client: Client, request: Request, reply_length: int) -> None:
    """Another length in the reply's header; what follows it stays."""
    _respond_changed(client, request, LENGTH_AT, LENGTH_FIELD.pack(reply_length))


def endless(client: Client, request: Request) -> None:
    """A list of keys without an end, up to 5,000 a second, as fast as they are read."""
    client.spoil()
    client.hold()
    kind = R_LIST if request.kind == LIST else R_MULTIREAD
    prefix = request.path or b"/"
    number = 0

    def more() -> None:
        nonlocal number
        if client.closed:
            return
        if len(client.owed) < ENDLESS_AHEAD:
            for number in range(number + 1, number + 1 + ENDLESS_COUNT):
                client.send(client.message(kind, (prefix + b"%d" % number)[:PATH_MAX], b"" if kind == R_LIST else b"x"))
            client.flush()
        client.after(ENDLESS_PAUSE, more)

    more()


def drip(client: Client, request: Request, seconds: float) -> None:
    """The messages of the reply one after the other, each after a pause."""
    outcome = client.daemon.outcome(client, request)
    client.hold()
    rest = outcome.reply

    def more() -> None:
        nonlocal rest
        size = HEADER.size + LENGTH_FIELD.unpack_from(rest, LENGTH_AT)[0]
        now, rest = rest[:size], rest[size:]
        if rest:
            client.send(now)
            client.flush()
            client.after(seconds, more)
        else:
            client.held = False
            client.respond(outcome._replace(reply=now))
            client.go_on()

    client.after(seconds, more)


def die(client: Client, request: Request, applied: bool = False) -> None:
    """Killed before the answer."""
    _last_words(client, request, applied)
    client.daemon.kill()


def restart(client: Client, request: Request, applied: bool = False, keys: Optional[Mapping[str, bytes]] = None) -> None:
    """Killed before the answer, and there again at once, with `keys` alone."""
    _last_words(client, request, applied)
    client.daemon.restart(keys or {})


def _last_words(client: Client, request: Request, applied: bool) -> None:
    client.mute()
    if applied:
        client.answer(request)
    client.flush()  # the replies to what came before it


def _respond_changed(client: Client, request: Request, offset: int, field: bytes) -> None:
    client.spoil()
    outcome = client.daemon.outcome(client, request)
    reply = outcome.reply
    client.respond(outcome._replace(reply=reply[:offset] + field + reply[offset + len(field):] if len(reply) >= HEADER.size else reply))


ACTIONS = {
    function.__name__: function
    for function in (stall, lag, close, cut, half, error, noent, event, noise, retype, repath, length, endless, drip, die, restart)
}
