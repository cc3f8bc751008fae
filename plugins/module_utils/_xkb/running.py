# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""Running a program of the keyboard: for a limited time, with limited memory, and never with a large file."""

from __future__ import annotations

import shutil
import sys
from typing import List, NamedTuple, Optional

from .. import _child

TIMEOUT = 10.0
"""Seconds. The slowest keymap takes a tenth of one."""

MOST = 4000000
"""Bytes of output; four layouts, all spelled out, are a twentieth of it."""

# Limits hold for what is started by who set them, so this becomes the program.
_LIMITED = """\
import os, resource, sys
for limit, most in ((resource.RLIMIT_CPU, 5), (resource.RLIMIT_AS, 512 << 20), (resource.RLIMIT_FSIZE, 1 << 20), (resource.RLIMIT_CORE, 0)):
    resource.setrlimit(limit, (most, most))
os.chdir("/")
os.execv(sys.argv[1], sys.argv[1:])
"""


class Ran(NamedTuple):
    """How a program ended, what it wrote, and what it said on one line."""

    status: int
    output: str = ""
    told: str = ""

    def complaint(self, name: str) -> str:
        """What it has against what it was given."""
        return "%s says: %s" % (name, self.told) if self.told else "%s ended with status %d" % (name, self.status)


def run(name: str, arguments: List[str], payload: str) -> Optional[Ran]:
    """Runs it; None where it is not there."""
    program = shutil.which(name)
    if not program:
        return None
    try:
        ended = _child.run([sys.executable, "-I", "-S", "-c", _LIMITED, program, *arguments], payload.encode("utf-8"), TIMEOUT, MOST)
    except _child.NotRun:
        return None
    except _child.TimedOut:
        return Ran(1, told="it had not ended after %d seconds" % TIMEOUT)
    output, told = [bytes(each.data).decode("utf-8", "replace") for each in (ended.output, ended.told)]
    return Ran(1, told="it writes too much") if ended.output.cut else Ran(ended.status, output, " ".join(told.split()))
