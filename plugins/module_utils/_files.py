# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""Reading a file that somebody else may have made."""

from __future__ import annotations

import os
import stat


def read_file(path: str, most: int) -> bytes:
    """The bytes of a regular file; ``OSError`` for one that is not, or that has more than ``most`` bytes.

    Never waits, as opening a FIFO would.
    """
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK | os.O_CLOEXEC)) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "it is not a regular file")
        if status.st_size > most:
            raise OSError(0, "it has %d bytes, and %d are the most" % (status.st_size, most))
        return file.read(most)
