# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""Jobs that run side by side, one of a qube at a time."""

from __future__ import annotations

from typing import Any, List, NamedTuple, Optional


class Ended(NamedTuple):
    """A job that has ended: with what it returned, or with an error."""

    qube: str
    result: Any
    error: Optional[Exception] = None


class Work:
    """As a context it has all jobs ended when it ends, and where that is by an exception begins none that waits."""

    def begin(self, qube: str, job: Any) -> None:
        """Begins a job."""
        raise NotImplementedError

    def wait(self, seconds: float) -> List[Ended]:
        """Jobs that have ended, as soon as there is one; none when the seconds are over."""
        raise NotImplementedError

    def __enter__(self) -> Work:
        return self

    def __exit__(self, *error: object) -> None:
        raise NotImplementedError
