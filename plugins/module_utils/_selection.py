# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""Which keys are asked for, by names and globs. No I/O, nothing of Ansible, nothing of a store."""

from __future__ import annotations

import fnmatch
import re
from typing import Callable, Iterable, List, NamedTuple, Tuple

from ._interface import DIRECTORIES, NAMES, SECRETS, normal


class Selection(NamedTuple):
    """Which keys to read of a qube: exact names, and globs in which ``*`` also matches a slash."""

    exact: Tuple[str, ...] = ()
    globs: Tuple[str, ...] = ()

    def matches(self, key: str) -> bool:
        """Whether the key was asked for."""
        return key in self.exact or any(fnmatch.fnmatchcase(key, glob) for glob in self.globs)

    def matcher(self) -> Callable[[str], bool]:
        """The same as a function, for many keys."""
        exact = frozenset(self.exact)
        globs = re.compile("|".join(map(fnmatch.translate, self.globs)) or "(?!)")
        return lambda key: key in exact or globs.match(key) is not None

    def prefixes(self) -> List[str]:
        """What keys that the globs select begin with, none of them the beginning of another."""
        literals = sorted({_literal(glob) for glob in self.globs})
        return [literal for place, literal in enumerate(literals) if not literal.startswith(tuple(literals[:place]))]

    def may_hold(self, path: str) -> bool:
        """Whether a key asked for may stand in the directory ``path`` (with its slash; the empty text is the top)."""
        return any(_overlap(_literal(glob), path) for glob in self.globs)


def _literal(glob: str) -> str:
    return re.split(r"[*?\[]", glob, maxsplit=1)[0]


def _overlap(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


def select(names: Iterable[object]) -> Selection:
    """A selection from names and globs as a user gives them; ``Refused`` for what cannot name a key."""
    exact, globs = [], []
    for name in names:
        if isinstance(name, str) and re.search(r"[*?\[]", name):
            globs.append(name[1:] if name.startswith("/") else name)
        else:
            exact.append(normal(name))
    return Selection(tuple(dict.fromkeys(exact)), tuple(dict.fromkeys(globs)))


DOCUMENTED = Selection(tuple(name for name in NAMES if name not in SECRETS), tuple(sorted(directory + "*" for directory in DIRECTORIES)))
"""Every key of the table that may be shown."""
