# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""Reading a file that somebody else may have made, and taking turns."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from contextlib import ExitStack, contextmanager
from typing import Iterator

from ._errors import StoreError


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


@contextmanager
def locked(name: str, folder: str, timeout: float) -> Iterator[None]:
    """Holds the lock of a folder, so that who else asks for it waits. ``StoreError``, about ``name``, where it cannot be had.

    It ends with the process, however that ends.
    """
    with ExitStack() as held:
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            held.callback(os.close, descriptor)
            _lock(descriptor, time.monotonic() + timeout, timeout)
        except OSError as error:
            raise StoreError("%s cannot be locked: %s" % (name, error.strerror)) from None
        yield


def _lock(descriptor: int, end: float, timeout: float) -> None:
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
        if time.monotonic() >= end:
            raise OSError(errno.EAGAIN, "another process has had the lock for %g seconds (store_timeout); run again when that has ended" % timeout)
        time.sleep(0.02)
