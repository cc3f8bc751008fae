# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""One qube of a task: it is made ready, called, and what came of each call is told apart."""

from __future__ import annotations

import time
from typing import Any, Dict, List, NamedTuple, Optional

from .. import _child
from .._child import Ended
from .._text import cut, escape
from .clients import NOT_RUN, Client
from .qubes import HALTED, RUNNING, Qubes, Unknown
from .records import Records
from .shown import text_of

TIMED_OUT, NOT_RUNNING, UNKNOWN = "timed_out", "not_running", "unknown"

ANSWER = 4096
"""Bytes of an answer that is read by us, at the most."""


class Failed(Exception):
    """A call, or what comes before it, failed at this qube; ``fields`` are for the result."""

    def __init__(self, kind: str, text: str, **fields: Any) -> None:
        super().__init__(text)
        self.kind = kind
        self.fields = fields


class Options(NamedTuple):
    """What holds for all qubes of a task."""

    client: Client
    user: Optional[str]
    autostart: bool
    timeout: float
    output: bool
    output_limit: int
    check_mode: bool
    force: bool
    records: Optional[Records]


class Qube:
    """One qube, for the time that the task gives it."""

    def __init__(self, name: str, options: Options) -> None:
        self.name = name
        self.options = options
        self.called: List[str] = []
        self.started = False
        self.warnings: List[str] = []
        self._end = time.monotonic() + options.timeout

    @property
    def check_mode(self) -> bool:
        return self.options.check_mode

    @property
    def was_called(self) -> bool:
        return bool(self.called) and not self.check_mode

    def make_ready(self) -> None:
        """Sees to it that a call starts nothing that it should not, and starts what it should."""
        client, autostart = self.options.client, self.options.autostart
        if autostart and client.starts_qubes:
            return
        try:
            state = self._qubes().state(self.name)
        except Unknown as error:
            if not client.starts_qubes:
                return
            raise Failed(UNKNOWN, "it was not called, for it cannot be told whether it runs, and a call may start it: %s. "
                                  "With autostart: true it is called all the same" % error) from None
        if state == RUNNING:
            return
        if not autostart or state != HALTED:
            raise Failed(NOT_RUNNING, "it is %s, and was not called" % state + ("" if autostart else "; autostart: true would start it"), state=state)
        if not self.check_mode:
            try:
                self._qubes().start(self.name, self._left())
            except Unknown as error:
                raise Failed(NOT_RUN, str(error)) from None
        self.started = True

    def run_of(self) -> Optional[str]:
        """What tells this run of the qube from its others, where somebody does."""
        return self._qubes().run_of(self.name)

    def ask(self, service: str) -> bytes:
        """What a service that changes nothing answers; also in check mode."""
        return self._run(service, b"", ANSWER).output.data

    def call(self, service: str, payload: bytes) -> Dict[str, Any]:
        """Calls a service, except in check mode. Returns what of it is for the result."""
        self.called.append(escape(cut(service)))
        if self.check_mode:
            return {}
        # Without output nothing of it is kept: a qube wrote it.
        return self._fields(self._run(service, payload, self.options.output_limit if self.options.output else 0))

    def _run(self, service: str, payload: bytes, most: int) -> Ended:
        client = self.options.client
        command = client.command(self.name, service, self.options.user, self.options.autostart)
        try:
            ended = _child.run(command, payload, self._left(), most)
        except _child.NotRun as error:
            raise Failed(NOT_RUN, escape(str(error))) from None
        except _child.TimedOut:
            raise Failed(TIMED_OUT, "service %s: no end within %g seconds (timeout), so %s was ended with its children; in the qube it may go on" % (
                escape(cut(service)), self.options.timeout, client.name)) from None
        if ended.status:
            kind, text = client.meaning(ended.status)
            fields = self._fields(ended)
            told = cut(fields.get("stderr", "").strip())
            said = "; it said: " + escape(told) if told else ""
            raise Failed(kind, "service %s: %s%s" % (escape(cut(service)), text, said), **fields)
        return ended

    def _fields(self, ended: Ended) -> Dict[str, Any]:
        fields: Dict[str, Any] = {"rc": ended.status}
        if self.options.output:
            limit = self.options.output_limit
            fields.update(stdout=text_of(ended.output, limit), stdout_bytes=ended.output.size,
                          stderr=text_of(ended.told, limit), stderr_bytes=ended.told.size)
        return fields

    def _left(self) -> float:
        return max(0.0, self._end - time.monotonic())

    def _qubes(self) -> Qubes:
        return Qubes(self._left())
