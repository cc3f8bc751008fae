# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""A folder that is the root of its own: no link in it leads out of it, and nothing is opened before it is known what it is."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import Iterator, List, NamedTuple, Tuple

from ._errors import Refused, VmconfigError
from ._text import show

MOST = 1 << 20
"""The most bytes that a file may have which is read; what the roles read has a few hundred lines."""
_MOST_LINKS = 40
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "link"}


class Unplaced(VmconfigError):
    """A file could not be read, or not be put where it belongs; it is as it was."""


class Entry(NamedTuple):
    """Where a path ends: a name, which need not be there, in an open folder. ``links`` is how many links there were on the way."""

    folder: int
    name: str
    links: int


class Tree:
    """A root. What is asked for are paths from it, with or without a slash in front. A link to an absolute path means one of this root."""

    def __init__(self, root: str) -> None:
        self.root = root

    def kind(self, path: str) -> str:
        """``file``, ``dir``, ``link`` or ``other``; empty where there is nothing. The links on the way are followed, the last is not."""
        try:
            with self.at(path) as entry:
                mode = os.stat(entry.name, dir_fd=entry.folder, follow_symlinks=False).st_mode
                return _KINDS.get(stat.S_IFMT(mode), "other")
        except OSError:
            return ""

    def exists(self, path: str) -> bool:
        """Whether there is anything of that name."""
        return bool(self.kind(path))

    def read(self, path: str, public: bool = True) -> str:
        """The text of a regular file; empty where there is none. What a link leads to has to be ``public``, for who reads it writes it elsewhere."""
        try:
            with self.at(path, last=True) as entry:
                content, status = contents(entry)
                if public and entry.links and not status.st_mode & stat.S_IROTH:
                    raise OSError(0, "a symbolic link leads to a file that not everybody may read")
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise self._unread(path, error) from None
        return content.decode("utf-8", "surrogateescape")

    def read_utf8(self, path: str) -> str:
        """The same, to be written again in part; ``Refused`` where it is not UTF-8, which a module cannot hand to the controller."""
        text = self.read(path)
        try:
            text.encode("utf-8")
        except UnicodeError:
            raise Refused("%s is not UTF-8, so its other lines cannot be kept" % path) from None
        return text

    def remove(self, path: str) -> None:
        """Takes a folder away with all that is in it; no link in it is followed. ``OSError`` where that cannot be."""
        with self.at(path, write=True) as entry:
            for dummy, folders, names, folder in os.fwalk(entry.name, topdown=False, onerror=_raised, dir_fd=entry.folder):
                for name in names:
                    os.unlink(name, dir_fd=folder)
                for name in folders:
                    _remove_folder(name, folder)
            os.rmdir(entry.name, dir_fd=entry.folder)

    def listed(self, path: str) -> List[str]:
        """The paths of what is in a folder; none where it is none."""
        try:
            with self.at(path.rstrip("/") + "/.") as entry:
                return ["%s/%s" % (path.rstrip("/"), name) for name in sorted(os.listdir(entry.folder))]
        except OSError:
            return []

    def below(self, path: str) -> List[str]:
        """The paths of what is in a folder and its folders, less these."""
        found = []
        try:
            with self.at(path, last=True) as entry:
                if not stat.S_ISDIR(os.stat(entry.name, dir_fd=entry.folder, follow_symlinks=False).st_mode):
                    return []
                for folder, dummy, names, dummy in os.fwalk(entry.name, onerror=_raised, dir_fd=entry.folder):
                    inside = folder[len(entry.name):].lstrip("/")
                    found += [os.path.join(path, inside, name) for name in sorted(names)]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise self._unread(path, error) from None
        return found

    def _unread(self, path: str, error: OSError) -> Unplaced:
        return Unplaced("%s cannot be read: %s" % (show(os.path.join(self.root, path.lstrip("/"))), error.strerror))

    @contextlib.contextmanager
    def at(self, path: str, last: bool = False, write: bool = False, make: bool = False) -> Iterator[Entry]:
        """Where the path ends; ``OSError`` where there is no way. ``last`` also follows a link of the last name.

        Who is going to ``write`` gets there by no link that somebody else may have put there. ``make`` makes the folders that are missing.
        """
        _refuse_what_is_no_path(self.root + path)
        if make:
            with _passable():
                os.makedirs(self.root, 0o755, exist_ok=True)
        walk = _Walk(os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), path, write, make)
        try:
            yield walk.to_the_end(last)
        finally:
            walk.close()


class _Walk:
    """On the way along a path, with all folders from the root to here open, so that ``..`` leads back and never out."""

    def __init__(self, root: int, path: str, write: bool, make: bool) -> None:
        self._open = [root]
        self._left = path.strip("/").split("/")[::-1]
        self._write = write
        self._make = make
        self._links = 0
        # As long as more names than this are left, they are those of a link.
        self._own = len(self._left)

    def close(self) -> None:
        while self._open:
            os.close(self._open.pop())

    def to_the_end(self, last: bool) -> Entry:
        while self._left:
            name = self._left.pop()
            if name == "..":
                if len(self._open) > 1:
                    os.close(self._open.pop())
            elif name not in ("", "."):
                is_last = not self._left
                target = None if is_last and not last else self._target(name)
                if target is not None:
                    self._follow(name, target)
                elif is_last:
                    return Entry(self._open[-1], name, self._links)
                else:
                    self._enter(name)
        return Entry(self._open[-1], ".", self._links)

    def _target(self, name: str):
        """What a link leads to; None where it is none."""
        try:
            return os.readlink(name, dir_fd=self._open[-1])
        except OSError:
            return None

    def _follow(self, name: str, target: str) -> None:
        self._links += 1
        if self._links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if self._write and not _is_ours(os.fstat(self._open[-1])):
            raise OSError(0, "%s in its path is a symbolic link, which somebody else may have put there" % show(name))
        if target.startswith("/"):
            while len(self._open) > 1:
                os.close(self._open.pop())
        self._own = min(self._own, len(self._left))
        self._left += target.split("/")[::-1]

    def _enter(self, name: str) -> None:
        try:
            folder = os.open(name, _FOLDER, dir_fd=self._open[-1])
        except FileNotFoundError:
            if self._write and self._links and len(self._left) >= self._own:
                raise OSError(0, "a symbolic link in its path leads to %s, which is not there" % show(name)) from None
            if not self._make:
                raise
            with _passable():
                os.mkdir(name, 0o755, dir_fd=self._open[-1])
            folder = os.open(name, _FOLDER, dir_fd=self._open[-1])
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            raise NotADirectoryError(errno.ENOTDIR, "%s in its path is no directory" % show(name)) from None
        self._open.append(folder)


def contents(entry: Entry) -> Tuple[bytes, os.stat_result]:
    """What a regular file holds, and its status. ``OSError`` for any other, without that it is opened, and for one that is too large."""
    _fit(os.stat(entry.name, dir_fd=entry.folder, follow_symlinks=False))
    # It may have become another since.
    descriptor = os.open(entry.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=entry.folder)
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        _fit(status)
        return stream.read(MOST), status


def _remove_folder(name: str, folder: int) -> None:
    if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        os.unlink(name, dir_fd=folder)
    else:
        os.rmdir(name, dir_fd=folder)


def _refuse_what_is_no_path(path: str) -> None:
    """``OSError``, where Python has errors of other kinds."""
    try:
        named = b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        named = False
    if not named:
        raise OSError(errno.EINVAL, "it is no path: it has a NUL, or is not Unicode")


def _fit(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(0, "it is no regular file")
    if status.st_size > MOST:
        raise OSError(0, "it has %d bytes, and %d are the most" % (status.st_size, MOST))


@contextlib.contextmanager
def _passable() -> Iterator[None]:
    """Folders that are made are for everybody to enter, as their files may be, whatever the umask of who runs this."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)


def _is_ours(folder: os.stat_result) -> bool:
    """Whether root alone, or who runs this, may put something into the folder."""
    return folder.st_uid in (0, os.geteuid()) and not folder.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _raised(error: OSError) -> None:
    raise error
