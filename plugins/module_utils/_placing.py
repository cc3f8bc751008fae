# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""Puts files below a root, each as a whole or not at all, and never through a symbolic link."""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import re
import stat
from typing import Any, Callable, FrozenSet, Iterator, List, Tuple

from ._errors import VmconfigError
from ._formats import File
from ._text import show

OWN = "qubes-vmconfig"
PROTECTED = ("etc/qubes/protected-files.d", "rw/config/protected-files.d")
_LEFT_BEHIND = re.compile(r".*(~|\.rpmsave|\.rpmnew|\.rpmold)")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST = 1 << 20


class Unplaced(VmconfigError):
    """A file could not be put where it belongs; it is as it was."""


class Place:
    """A root. What is asked for are paths from it, with or without a slash in front."""

    def __init__(self, root: str) -> None:
        self._root_path = root
        self._root = -1

    def __enter__(self) -> Place:
        try:
            self._root = os.open(self._root_path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise Unplaced("%s: %s" % (self._root_path, error.strerror)) from error
        return self

    def __exit__(self, *_reason: object) -> None:
        os.close(self._root)

    def exists(self, path: str) -> bool:
        """Whether there is anything of that name."""
        return os.path.lexists(os.path.join(self._root_path, path.lstrip("/")))

    def protected(self) -> FrozenSet[str]:
        """The names that the machine's owner protects; what we protect from the agent is not among them."""
        found: List[str] = []
        for folder in PROTECTED:
            for path, _folders, names in os.walk(os.path.join(self._root_path, folder)):
                for name in names:
                    if name != OWN and not _LEFT_BEHIND.fullmatch(name):
                        found += _lines(os.path.join(path, name))
        return frozenset(found)

    def protect(self, name: str, folder: str) -> None:
        """Tells the agent that this file is not its own."""
        own = "%s/protected-files.d/%s" % (folder, OWN)
        lines = _lines(os.path.join(self._root_path, own))
        if name not in lines:
            self.put(File("/" + own, "".join([line + "\n" for line in [*lines, name]])))

    def put(self, file: File) -> None:
        """Makes the file what it should be. What is so already is not touched."""
        path = file.dest.strip("/").split("/")
        try:
            with self._folder(path[:-1], not file.absent) as folder:
                if folder >= 0:
                    _Entry(folder, path[-1]).become(file, self.read)
        except (OSError, LookupError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise Unplaced("%s could not be written, and is as it was: %s" % (show(file.dest), reason)) from None

    def read(self, path: str) -> str:
        """The text of a file; empty where there is none."""
        try:
            with open(os.path.join(self._root_path, path.lstrip("/")), encoding="utf-8", errors="surrogateescape") as stream:
                return stream.read(_MOST)
        except OSError:
            return ""

    @contextlib.contextmanager
    def _folder(self, names: List[str], make: bool) -> Iterator[int]:
        """The folder, made where it is missing; -1 where it is missing and not to be made."""
        with contextlib.ExitStack() as stack:
            current = self._root
            for name in names:
                if name in ("", ".", ".."):
                    raise OSError(0, "its path is not one")
                try:
                    current = os.open(name, _FOLDER, dir_fd=current)
                except FileNotFoundError:
                    if not make:
                        current = -1
                        break
                    os.mkdir(name, 0o755, dir_fd=current)
                    current = os.open(name, _FOLDER, dir_fd=current)
                except OSError as error:
                    if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                        raise
                    raise OSError(0, "%s in its path is no directory, or a symbolic link" % show(name)) from None
                stack.callback(os.close, current)
            yield current


def _lines(path: str) -> List[str]:
    """The lines that name a file. Only a regular file is read, or a link to one, so nothing waits."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return []
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            return [line for line in stream.read(_MOST).split("\n") if line.startswith("/")]
    except OSError:
        return []


class _Entry:
    """A name in an open folder."""

    def __init__(self, folder: int, name: str) -> None:
        self._folder, self._name = folder, name

    def become(self, file: File, read: Callable[[str], str]) -> None:
        """Makes it that file."""
        if file.absent:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._name, dir_fd=self._folder)
        elif file.link is not None:
            self._link(file.link)
        else:
            text = file.text if file.text is not None else file.made(read) if file.made else ""
            self._file(text.encode("utf-8", "surrogateescape"), file)

    def _link(self, target: str) -> None:
        with contextlib.suppress(OSError):
            if os.readlink(self._name, dir_fd=self._folder) == target:
                return
        self._replace(lambda temporary: os.symlink(target, temporary, dir_fd=self._folder))

    def _file(self, content: bytes, file: File) -> None:
        found, status = self._found()
        owner, group = _number(file.owner, lambda name: pwd.getpwnam(name).pw_uid), _number(file.group, lambda name: grp.getgrnam(name).gr_gid)
        mode = int(file.mode, 8)
        if status is not None:
            # Who owned it goes on owning it.
            owner = status.st_uid if owner < 0 else owner
            group = status.st_gid if group < 0 else group
            if found == content and stat.S_IMODE(status.st_mode) == mode and (owner, group) == (status.st_uid, status.st_gid):
                return

        def write(temporary: str) -> None:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=self._folder)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fchown(descriptor, owner, group)
                os.fchmod(descriptor, mode)
                os.fsync(descriptor)

        self._replace(write)

    def _found(self) -> Tuple[bytes, Any]:
        """What a regular file of this name holds, and its status; None where there is none."""
        try:
            descriptor = os.open(self._name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._folder)
        except OSError:
            return b"", None
        with os.fdopen(descriptor, "rb") as stream:
            status = os.fstat(descriptor)
            return (stream.read(_MOST + 1), status) if stat.S_ISREG(status.st_mode) else (b"", None)

    def _replace(self, make: Callable[[str], None]) -> None:
        temporary = ".%s.%s" % (self._name[:200], OWN)
        with contextlib.suppress(FileNotFoundError):
            # One that was interrupted left it behind.
            os.unlink(temporary, dir_fd=self._folder)
        try:
            make(temporary)
            os.replace(temporary, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=self._folder)
            raise


def _number(name: str, look_up: Callable[[str], int]) -> int:
    """The number of a user or group; -1, which changes nothing, without a name."""
    return -1 if not name else int(name) if name.isdigit() else look_up(name)
