# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""What conversations with daemons have in common: how they end, and watches."""

from __future__ import annotations

import itertools
import time
from typing import Any, Sequence

from .._errors import StoreError
from .base import Watch

_RETRY = 0.05
_numbers = itertools.count(1)


def number_of_connection() -> int:
    """A number that no other connection of this process has."""
    return next(_numbers)


class Down(Exception):
    """The conversation has ended: the text is why. A request on its way may or may not have been carried out.

    ``replies`` are those that came before, to the first of the ``sent`` requests.
    """

    replies: Sequence[Any] = ()
    sent = 0


class TimedOut(Down):
    """It was silent for too long. What was asked may still be carried out, so it is not asked again."""


class Unusable(Down):
    """It answered, but not with what was asked for. Asking again would bring the same."""


class Failure(str):
    """The daemon's word for why it refused a request."""


class ConnectionWatch(Watch):
    """A watch that lives as long as a connection. Where that was lost a new one begins, and the key may have changed."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._connection = self._begin()

    def _begin(self) -> int:
        """Sets the watch; the number of the connection that it is on. ``StoreError`` where it cannot be had."""
        raise NotImplementedError

    def _current(self) -> int:
        """The number of the connection that there is now."""
        raise NotImplementedError

    def _event(self, seconds: float) -> bool:
        """Whether the watch fired within so many seconds. ``Down`` when the connection ended."""
        raise NotImplementedError

    def wait(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        if self._current() == self._connection:
            try:
                return self._event(seconds)
            except Down:
                pass
        self._begin_again(min(end, time.monotonic() + self._timeout))
        return True

    def _begin_again(self, end: float) -> None:
        """Tries for a while: a daemon that was restarted takes a moment to listen."""
        while True:
            try:
                self._connection = self._begin()
                return
            except StoreError:
                if time.monotonic() >= end:
                    raise
            time.sleep(_RETRY)
