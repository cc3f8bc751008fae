# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The errors that a user is meant to read.

Every message is complete (which qube, key and value, what was expected, what to do) and already escaped, so a plugin
hands it on as it is.
"""

from __future__ import annotations

from typing import Iterable

from ._text import show


class VmconfigError(Exception):
    """Anything that ends a task with one clear message."""


class Refused(VmconfigError):
    """The input is wrong; nothing was written."""


class StoreError(VmconfigError):
    """A store is not there, does not answer, or refused a request."""


class QubeMissing(VmconfigError):
    """A store does not have a qube of this name."""


def names(qubes: Iterable[str]) -> str:
    """Some names for a message: the first fifty, and how many more there are."""
    quoted = [show(qube) for qube in qubes]
    more = " and %d more" % (len(quoted) - 50) if len(quoted) > 50 else ""
    return ", ".join(quoted[:50]) + more or "none"
