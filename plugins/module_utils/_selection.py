# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""Which keys are asked for, by names and globs. No I/O, nothing of Ansible, nothing of a store."""

from __future__ import annotations

import itertools
import re
from functools import lru_cache
from typing import Callable, Iterable, Iterator, List, NamedTuple, Tuple

from ._errors import Refused
from ._interface import DIRECTORIES, NAMES, SECRETS, normal
from ._text import show

_LONGEST = 2048
"""Characters of a glob at the most: no store has a longer name."""


class Selection(NamedTuple):
    """Which keys to read of a qube: exact names, and globs in which ``*`` also matches a slash."""

    exact: Tuple[str, ...] = ()
    globs: Tuple[str, ...] = ()

    def matches(self, key: str) -> bool:
        """Whether the key was asked for."""
        return key in self.exact or _compiled(self.globs).match(key) is not None

    def matcher(self) -> Callable[[str], bool]:
        """The same as a function, for many keys."""
        exact = frozenset(self.exact)
        globs = _compiled(self.globs)
        return lambda key: key in exact or globs.match(key) is not None

    def prefixes(self) -> List[str]:
        """What keys that the globs select begin with, none of them the beginning of another."""
        found: List[str] = []
        for literal in sorted({_literal(glob) for glob in self.globs}):
            if not found or not literal.startswith(found[-1]):
                found.append(literal)
        return found

    def may_hold(self, path: str) -> bool:
        """Whether a key asked for may stand in the directory ``path`` (with its slash; the empty text is the top)."""
        return any(_overlap(_literal(glob), path) for glob in self.globs)


def _literal(glob: str) -> str:
    return re.split(r"[*?\[]", glob, maxsplit=1)[0]


def _overlap(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


@lru_cache(maxsize=64)
def _compiled(globs: Tuple[str, ...]) -> re.Pattern:
    """A pattern that matches a whole key where one of the globs does."""
    number = itertools.count().__next__
    return re.compile("(?s:%s)\\Z" % "|".join(["".join(_translated(glob, number)) for glob in globs]) if globs else "(?!)")


def _translated(glob: str, number: Callable[[], int]) -> Iterator[str]:
    """The glob as a regular expression that never tries a star a second time: ``*a*a*a`` could take for ever otherwise."""
    first, *others = ["".join(map(_one, re.findall(_ONE, part))) for part in re.findall(_PART, glob)]
    yield first
    for place, part in enumerate(others, 1):
        if place == len(others):
            yield ".*" + part
        elif part:
            yield "(?=(?P<g{0}>.*?{1}))(?P=g{0})".format(number(), part)


_SET = r"\[!?\]?[^\]]*\]"
_ONE = r"%s|." % _SET
# What stands between the stars; a star in a set is none.
_PART = r"(?:^|\*)((?:%s|[^*])*)" % _SET


def _one(token: str) -> str:
    """The pattern of one character."""
    if token == "?":
        return "."
    if token in ("[", "]", "!"):
        raise Refused("%s is in no key's name, and here it is in no set such as [ab]" % token)
    if len(token) == 1:
        return re.escape(token)
    negated = token[1] == "!"
    return "[%s%s]" % ("^" if negated else "", "".join(map(re.escape, _characters(token[2 if negated else 1:-1]))))


def _characters(members: str) -> List[str]:
    found: List[str] = []
    for first, last, single in re.findall(r"(.)-(.)|(.)", members):
        if first > last:
            raise Refused("the range %s-%s in a glob is empty" % (first, last))
        found += [single] if single else map(chr, range(ord(first), ord(last) + 1))
    return found


def _glob(name: str) -> str:
    """The glob without its leading slash; ``Refused`` where it can match no key."""
    glob = name[1:] if name.startswith("/") else name
    if len(glob) > _LONGEST or not re.fullmatch(r"[]A-Za-z0-9_.:@/*?[!-]+", glob):
        raise Refused("%s is no glob that a key's name can match; expected letters, digits and _ . : @ - / with * ? and [...], at most %d of them" % (
            show(name), _LONGEST))
    try:
        _compiled((glob,))
    except Refused as error:
        raise Refused("%s: %s" % (show(name), error)) from None
    return glob


def select(names: Iterable[object]) -> Selection:
    """A selection from names and globs as a user gives them; ``Refused`` for what cannot name a key."""
    exact, globs = [], []
    for name in names:
        if isinstance(name, str) and re.search(r"[*?\[]", name):
            globs.append(_glob(name))
        else:
            exact.append(normal(name))
    return Selection(tuple(dict.fromkeys(exact)), tuple(dict.fromkeys(globs)))


DOCUMENTED = Selection(tuple(name for name in NAMES if name not in SECRETS), tuple(sorted(directory + "*" for directory in DIRECTORIES)))
"""Every key of the table that may be shown."""
