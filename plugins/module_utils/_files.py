# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""Reading a file that somebody else may have made, replacing one as a whole, and taking turns."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import tempfile
import time
from contextlib import contextmanager
from typing import Iterator, Tuple

from ._errors import StoreError

LOOK_AGAIN = 0.02
"""Seconds between looks at a lock that somebody else has."""


def read_file(path: str, most: int) -> bytes:
    """The bytes of a regular file; ``OSError`` for one that is not, or that has more than ``most`` bytes.

    Never waits, as opening a FIFO would.
    """
    try:
        return _read_file(path, most)
    except ValueError:
        raise OSError(errno.EINVAL, "it is no path: it has a NUL, or is not Unicode") from None


def _read_file(path: str, most: int) -> bytes:
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK | os.O_CLOEXEC)) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "it is not a regular file")
        if status.st_size > most:
            raise OSError(0, "it has %d bytes, and %d are the most" % (status.st_size, most))
        return file.read(most)


_UNFINISHED = ".vmconfig-"


def replace_file(path: str, data: bytes) -> None:
    """Replaces a file as a whole, with its mode and owner, or makes one for this user alone.

    What processes that were killed left unfinished in its folder is removed.
    """
    folder = os.path.dirname(path)
    _remove_abandoned(folder)
    descriptor, unfinished = _begun(folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if os.path.exists(path):
                _make_alike(descriptor, os.stat(path))
            os.fsync(descriptor)
            os.replace(unfinished, path)
    except BaseException:
        os.unlink(unfinished)
        raise


def _begun(folder: str) -> Tuple[int, str]:
    """A new file, locked: by that others see that it is not abandoned."""
    while True:
        descriptor, path = tempfile.mkstemp(prefix=_UNFINISHED, dir=folder)
        # Another process may have looked before it was locked, and removed it.
        if _is_ours(descriptor) and os.fstat(descriptor).st_nlink:
            return descriptor, path
        os.close(descriptor)


def _make_alike(descriptor: int, status: os.stat_result) -> None:
    os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
    if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
        os.fchown(descriptor, status.st_uid, status.st_gid)


def _remove_abandoned(folder: str) -> None:
    for name in os.listdir(folder):
        if not re.fullmatch(re.escape(_UNFINISHED) + "[a-z0-9_]{8}", name):
            continue
        path = os.path.join(folder, name)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            if stat.S_ISREG(os.fstat(descriptor).st_mode) and _is_ours(descriptor):
                os.unlink(path)
        except OSError:
            pass
        finally:
            os.close(descriptor)


def _is_ours(descriptor: int) -> bool:
    """Whether nobody else had the file locked; now we have."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        return False


class Lock:
    """The lock of a folder: who has it holds up all others that ask for it. It ends with the process, however that ends.

    ``StoreError``, about ``name``, where it cannot be had.
    """

    def __init__(self, name: str, folder: str, timeout: float) -> None:
        self._name = name
        self._folder = folder
        self.timeout = timeout
        self._descriptor = -1

    def take(self) -> bool:
        """Whether it can be had now; then it is."""
        try:
            if self._descriptor < 0:
                self._descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES) and self._descriptor >= 0:
                return False
            raise self._error(error.strerror) from None

    def late(self) -> StoreError:
        """The error of who has waited for it long enough."""
        return self._error("another process has had the lock for %g seconds (store_timeout); run again when that has ended" % self.timeout)

    def _error(self, why: str) -> StoreError:
        return StoreError("%s cannot be locked: %s" % (self._name, why))

    def release(self) -> None:
        """Lets others have it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1


@contextmanager
def locked(lock: Lock) -> Iterator[None]:
    """Waits for a lock, and holds it."""
    end = time.monotonic() + lock.timeout
    try:
        while not lock.take():
            if time.monotonic() >= end:
                raise lock.late()
            time.sleep(LOOK_AGAIN)
        yield
    finally:
        lock.release()
