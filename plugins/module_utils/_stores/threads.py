# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""Jobs in threads. A module of its own, for the stores that have none need not wait for what it imports."""

from __future__ import annotations

import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, Callable, Dict, List

from .work import Ended, Work


class Threads(Work):
    """Jobs are functions, each in a thread; ``most`` at the same time. ``stop`` ends what they wait for."""

    def __init__(self, most: int, stop: Callable[[], None]) -> None:
        self._pool = ThreadPoolExecutor(most)
        self._stop = stop
        self._running: Dict[Future, str] = {}

    def begin(self, qube: str, job: Callable[[], Any]) -> None:
        self._running[self._pool.submit(job)] = qube

    def wait(self, seconds: float) -> List[Ended]:
        if not self._running:
            time.sleep(seconds)
        done = wait(self._running, seconds, FIRST_COMPLETED).done
        return [self._ended(self._running.pop(future), future) for future in done]

    @staticmethod
    def _ended(qube: str, future: Future) -> Ended:
        try:
            return Ended(qube, future.result())
        except Exception as error:  # pylint: disable=broad-except
            # For the caller to judge, when the others have ended too.
            return Ended(qube, None, error)

    def __exit__(self, *error: object) -> None:
        # Where no job is under way there is nothing to stop, and this process goes on.
        if self._running:
            for future in self._running:
                future.cancel()
            self._stop()
        self._pool.shutdown()
