# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""Programs that see and set what runs. Where one is not there, that is known, and no error."""

from __future__ import annotations

import shutil
from typing import List, NamedTuple, Optional

from .. import _child
from .._errors import VmconfigError
from .._text import show

MOST = 16 << 20
"""Bytes of output, of which a large routing table has some."""


class Ran(NamedTuple):
    """How a program ended, and what it wrote."""

    status: int
    output: str
    told: str


def run(name: str, arguments: List[str], payload: str = "") -> Optional[Ran]:
    """Runs it to its end; None where it is not there. ``VmconfigError`` where it takes too long or writes too much."""
    program = shutil.which(name)
    if not program:
        return None
    try:
        ended = _child.run([program, *arguments], payload.encode("utf-8"), most=MOST)
    except _child.NotRun:
        return None
    except _child.TimedOut:
        raise VmconfigError("%s had not ended after %d seconds, and was ended" % (name, _child.TIMEOUT)) from None
    if ended.output.cut:
        raise VmconfigError("%s writes more than %d bytes" % (name, MOST))
    return Ran(ended.status, bytes(ended.output.data).decode("utf-8", "replace"), bytes(ended.told.data).decode("utf-8", "replace"))


def refused(name: str, ran: Ran) -> VmconfigError:
    """What a program has against what it was given."""
    told = " ".join(ran.told.split())
    return VmconfigError("%s says: %s" % (name, show(told)) if told else "%s ended with status %d" % (name, ran.status))
