# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The errors that a user is meant to read.

Every message is complete (which qube, key and value, what was expected, what to do) and already escaped, so a plugin
hands it on as it is.
"""

from __future__ import annotations

from typing import Any, Dict, Iterable, Mapping, Sequence

from ._text import show


class VmconfigError(Exception):
    """Anything that ends a task with one clear message."""


class Refused(VmconfigError):
    """The input is wrong; nothing was written."""


class StoreError(VmconfigError):
    """A store is not there, does not answer, or refused a request."""


class QubeMissing(VmconfigError):
    """A store does not have a qube of this name."""


class QubeMoved(StoreError):
    """A qube went away, or restarted, while something was done with it; that is no other's failure."""


class SomeUnread(StoreError):
    """Some qubes could not be read. ``found`` is what the others hold, ``failed`` the reasons by qube."""

    def __init__(self, found: Mapping[str, Any], failed: Mapping[str, Exception]) -> None:
        super().__init__(several(failed.values()))
        self.found = found
        self.failed = failed


class Unfinished(StoreError):
    """A qube got some of its changes, and they could not be undone; ``changes`` are those that stand."""

    def __init__(self, message: str, changes: Sequence[Any]) -> None:
        super().__init__(message)
        self.changes = changes


class Stopped(VmconfigError):
    """A task failed at some qubes, and not at others; ``result`` is what it returns all the same."""

    def __init__(self, message: str, result: Dict[str, Any]) -> None:
        super().__init__(message)
        self.result = result


def names(qubes: Iterable[str]) -> str:
    """Some names, of qubes or keys, for a message: the first fifty, and how many more there are."""
    quoted = [show(qube) for qube in qubes]
    more = " and %d more" % (len(quoted) - 50) if len(quoted) > 50 else ""
    return ", ".join(quoted[:50]) + more or "none"


def several(errors: Iterable[Exception]) -> str:
    """The messages of some errors as one: each once, the first ten, and how many more there are."""
    messages = list(dict.fromkeys(map(str, errors)))
    return "; ".join(messages[:10] + (["and %d more such errors" % (len(messages) - 10)] if len(messages) > 10 else []))
