# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""Puts files below a root, each as a whole or not at all, and leaves alone those that are somebody else's."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import re
import stat
from typing import Any, Callable, FrozenSet, Iterable, List, NamedTuple, Optional, Sequence, Tuple

from ._text import show
from ._tree import MOST, Entry, Tree, Unplaced, contents
from ._filespec import File

__all__ = ["Change", "Place", "Rules", "Settled", "State", "Unplaced", "settle"]

OWN = "qubes-vmconfig"
PROTECTED = ("etc/qubes/protected-files.d", "rw/config/protected-files.d")
_LEFT_BEHIND = re.compile(r".*(~|\.rpmsave|\.rpmnew|\.rpmold)")


class State(NamedTuple):
    """What there is of a name: its ``kind``, as of ``Tree``, and what belongs to that. An owner or group of -1 is not decided."""

    kind: str = ""
    content: bytes = b""
    target: str = ""
    mode: int = 0
    owner: int = -1
    group: int = -1
    # How many bytes it has, where they are too many to be read.
    too_many: int = 0


class Change(NamedTuple):
    """A file that was, or would be, made what it should be."""

    dest: str
    before: State
    after: State


class Settled(NamedTuple):
    """What became of some files: which changed, which of the agent's differ and were left to it, and which are protected."""

    changes: List[Change]
    left: List[Change]
    protected: List[str]


class Rules(NamedTuple):
    """Whose files are not ours: the names that are ``protected``, and where the stock ``agent`` is, what it writes.

    To ``take_over`` that too, the agent is told first, by a file below ``folder``.
    """

    protected: FrozenSet[str] = frozenset()
    take_over: bool = False
    agent: bool = False
    folder: str = "etc/qubes"


class Place(Tree):
    """A root that files are put into."""

    def __enter__(self) -> Place:
        if not os.path.isdir(self.root):
            raise Unplaced("%s: there is no such directory" % show(self.root))
        return self

    def __exit__(self, *_reason: object) -> None:
        pass

    def protected(self) -> FrozenSet[str]:
        """The names that the machine's owner protects; what we protect from the agent is not among them."""
        return frozenset([line for folder in PROTECTED for path in self.below(folder)
                          if os.path.basename(path) != OWN and not _LEFT_BEHIND.fullmatch(path) for line in self._named(path)])

    def state(self, path: str) -> State:
        """What there is at a path; of kind ``other`` what cannot be read."""
        try:
            with self.at(path) as entry:
                return _state(entry)
        except (FileNotFoundError, NotADirectoryError):
            return State()
        except OSError:
            return State("other")

    def own(self) -> FrozenSet[str]:
        """The names that we protect from the agent."""
        return frozenset([line for folder in PROTECTED for line in self._named("%s/%s" % (folder, OWN))])

    def _named(self, path: str) -> List[str]:
        return [line for line in self.read(path, public=False).split("\n") if line.startswith("/")]

    def hand(self, names: Iterable[str], back: Iterable[str], folder: str, check: bool = False) -> List[Change]:
        """Tells the agent which files are not its own, and which are so again."""
        changes = []
        for each in dict.fromkeys([folder.strip("/") + "/protected-files.d", *PROTECTED]):
            path = "%s/%s" % (each, OWN)
            lines = self.read(path, public=False).splitlines()
            wanted = [line for line in lines if line not in set(back)]
            if each.startswith(folder.strip("/") + "/"):
                wanted += [name for name in dict.fromkeys(names) if name not in wanted]
            if wanted != lines:
                changes.append(self.put(File("/" + path, "".join([line + "\n" for line in wanted]), absent=not wanted), check))
        return [change for change in changes if change]

    def put(self, file: File, check: bool = False) -> Optional[Change]:
        """Makes the file what it should be. What is so already is not touched; ``check`` touches nothing."""
        names = file.dest.strip("/").split("/")
        try:
            if any(name in ("", ".", "..") for name in names):
                raise OSError(0, "its path is not one")
            return self._put(file, check)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise Unplaced("%s could not be written, and is as it was: %s" % (show(file.dest), reason)) from None

    def _put(self, file: File, check: bool) -> Optional[Change]:
        try:
            with self.at(file.dest, write=True) as entry:
                before = _state(entry)
        except FileNotFoundError:
            before = State()
        after = _wanted(file, before)
        if before == after:
            return None
        if file.tree and before.kind == "dir":
            if not check:
                self.remove(file.dest)
            return Change(file.dest, before, after)
        if before.kind in ("dir", "other"):
            raise OSError(0, "it is %s" % ("a directory" if before.kind == "dir" else "neither a regular file nor a symbolic link"))
        if not check:
            # Of a file that is to go the folder is there.
            with self.at(file.dest, write=True, make=True) as entry:
                _become(entry, after)
        return Change(file.dest, before, after)


def settle(place: Place, files: Sequence[File], rules: Rules, check: bool = False) -> Settled:
    """Makes files what they should be, as far as the rules of the place let us. Whatever can be found out before the first is written, is."""
    protected, take_over, agent, folder = rules
    free = [file for file in files if not protected.intersection([file.dest, *_protecting(file)])]
    of_agent = [file for file in free if file.agent and agent]
    left = [] if take_over else of_agent
    ours = [file for file in free if file not in left]
    told = list(dict.fromkeys([_protecting(file)[0] for file in of_agent]))
    names, back = ([], told) if left else (told, [])

    def put_all(check: bool) -> List[Change]:
        found = place.hand(names, back, folder, check) if told else []
        return found + [change for change in [place.put(file, check) for file in ours] if change]

    differing = [change for change in [place.put(file, True) for file in left] if change]
    changes = put_all(True)
    if changes and not check:
        put_all(False)
    return Settled(changes, differing, [file.dest for file in files if file not in free])


def _protecting(file: File) -> Tuple[str, ...]:
    """The names that protect the file, that by which the agent knows it first."""
    names = file.protected_by or file.dest
    return (names,) if isinstance(names, str) else tuple(names)


# -- one file --


def _state(entry: Entry) -> State:
    """What is there of a name; what is neither a regular file nor a link is not opened."""
    try:
        status = os.stat(entry.name, dir_fd=entry.folder, follow_symlinks=False)
    except FileNotFoundError:
        return State()
    if stat.S_ISLNK(status.st_mode):
        return State("link", target=os.readlink(entry.name, dir_fd=entry.folder))
    if not stat.S_ISREG(status.st_mode):
        return State("dir" if stat.S_ISDIR(status.st_mode) else "other")
    known = State("file", b"", "", stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_size if status.st_size > MOST else 0)
    return known if known.too_many else known._replace(content=contents(entry)[0])


def _wanted(file: File, before: State) -> State:
    if file.absent:
        return State()
    if file.link is not None:
        if not file.link or "\0" in file.link:
            raise OSError(0, "it would be a symbolic link to %s; expected where it leads" % show(file.link))
        return State("link", target=file.link)
    # Who owned it goes on owning it.
    return State("file", file.content, "", int(file.mode, 8),
                 _number("user", file.owner, lambda name: pwd.getpwnam(name).pw_uid, before.owner),
                 _number("group", file.group, lambda name: grp.getgrnam(name).gr_gid, before.group))


def _number(what: str, name: str, look_up: Callable[[str], int], otherwise: int) -> int:
    """The number of a user or group."""
    if not name:
        return otherwise
    if re.fullmatch("[0-9]+", name):
        # To the kernel the largest of all means that nothing is to change.
        if len(name) > 10 or int(name) >= 2**32 - 1:
            raise OSError(0, "%s is the number of no %s" % (show(name), what))
        return int(name)
    try:
        return look_up(name)
    except (LookupError, ValueError):
        raise OSError(0, "there is no %s %s here" % (what, show(name))) from None


def _become(entry: Entry, wanted: State) -> None:
    if not wanted.kind:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(entry.name, dir_fd=entry.folder)
    elif wanted.kind == "link":
        _replace(entry, lambda temporary: os.symlink(wanted.target, temporary, dir_fd=entry.folder))
    else:
        _replace(entry, lambda temporary: _write(entry, temporary, wanted))


def _write(entry: Entry, temporary: str, wanted: State) -> None:
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=entry.folder)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(wanted.content)
        stream.flush()
        os.fchown(descriptor, wanted.owner, wanted.group)
        os.fchmod(descriptor, wanted.mode)
        with contextlib.suppress(OSError):
            os.setxattr(descriptor, "security.selinux", _label(entry))
        os.fsync(descriptor)


def _label(entry: Entry) -> bytes:
    """What SELinux calls the file that is there; ``OSError`` where it calls it nothing."""
    path: Any = "/proc/self/fd/%d/%s" % (entry.folder, entry.name)
    return os.getxattr(path, "security.selinux", follow_symlinks=False)


def _replace(entry: Entry, make: Callable[[str], None]) -> None:
    temporary = ".%s.%s" % (entry.name[:200], OWN)
    with contextlib.suppress(FileNotFoundError):
        # One that was interrupted left it behind.
        os.unlink(temporary, dir_fd=entry.folder)
    try:
        make(temporary)
        os.replace(temporary, entry.name, src_dir_fd=entry.folder, dst_dir_fd=entry.folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=entry.folder)
        raise
