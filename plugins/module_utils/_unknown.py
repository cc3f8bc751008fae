# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""What to say of a name that the interface does not have: which one was meant. The table is given, so nothing of it is here."""

from __future__ import annotations

import difflib
import re
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Sequence, Tuple

from ._errors import Refused
from ._settings import ALWAYS, Computed, Removal
from ._text import show

_LONGEST = 128
"""Characters of a name that others are compared with; longer ones are none that somebody mistyped."""


class Unknown(Refused):
    """A name that is not in the table. What was meant takes a while to find, so it is looked for when it is told."""

    def __init__(self, key: str, rows: Sequence[Any], parts: Mapping[str, Any]) -> None:
        super().__init__(key)
        self._told = (key, rows, parts)

    def __str__(self) -> str:
        return message(*self._told)


def message(key: str, rows: Sequence[Any], parts: Mapping[str, Any]) -> str:
    """What is wrong with the name, and what was meant."""
    if len(key) > _LONGEST:
        return "%s is not in the interface; set unknown: allow if it is meant" % show(key)
    near = suggest(key, rows, parts)
    misfit = _misfit(key, rows, parts)
    if misfit:
        return misfit
    if not near and _is_property(key, rows):
        return "%s is a property of the qube and no key; set it with qvm-prefs" % show(key)
    return "%s is not in the interface; %sset unknown: allow if it is meant" % (
        show(key), "did you mean %s? Otherwise " % " or ".join(near) if near else "")


def suggest(key: str, rows: Sequence[Any], parts: Mapping[str, Any]) -> List[str]:
    """The known names nearest to one that is not known, best first, three at the most."""
    if len(key) > _LONGEST:
        return []
    aliases = {alias: row.name for row in rows for alias in row.aliases}
    directories = sorted({_directory(row.name, parts) for row in rows if _is_family(row.name, parts)})
    candidates = [row.name for row in rows if not _is_family(row.name, parts)] + list(aliases)
    last = key.partition("/")[2]
    candidates += [directory + last for directory in directories if last]
    meant = [*_behind(key, rows), *_separated(key, directories)]
    meant += difflib.get_close_matches(key, candidates, n=4, cutoff=0.75)
    known = [aliases.get(name, name) for name in meant]
    return [name for name in dict.fromkeys(known) if name != key and _is_known(name.partition(":")[0] if " " in name else name, rows, parts)][:3]


def _behind(key: str, rows: Iterable[Any]) -> Iterator[str]:
    """The keys behind which a setting of this name is: ``service.cups`` is what ``qubes-service/cups`` is set by."""
    for row in rows:
        for name in (row.setting.name, *row.setting.also) if row.setting.kind else ():
            above, slash, _capitals = row.name.rpartition("/")
            if name == key:
                yield row.name + (": null" if isinstance(row.setting, Removal) else "")
            elif name.endswith("NAME") and key.startswith(name[:-4]):
                yield above + slash + key[len(name) - 4:]


def _separated(key: str, directories: Iterable[str]) -> Iterator[str]:
    """``qubes-service.cups`` with its slash."""
    for directory in directories:
        match = re.fullmatch(re.escape(directory[:-1]) + "[.:_-](.+)", key)
        if match:
            yield directory + match.group(1)


def _is_property(key: str, rows: Iterable[Any]) -> bool:
    return any(isinstance(row.setting, Computed) and row.setting.given == key != ALWAYS for row in rows)


def _misfit(key: str, rows: Sequence[Any], parts: Mapping[str, Any]) -> str:
    """What is wrong with a name in a directory of the table; the empty text for any other."""
    furthest, there = _furthest(key, rows, parts)
    words = key.split("/")
    if not there:
        return ""
    choices = _choices(there, parts)
    if furthest == len(words):
        return "%s is not a key but a directory of keys; expected %s below it" % (show(key), choices)
    above = "/".join(words[:furthest]) + "/"
    capitals = [name for name in there if name in parts]
    if capitals:
        return "%s is not a name that %s%s can have; expected %s" % (show(key[len(above):]), above, capitals[0], choices)
    return "%s is not in the interface; expected %s below %s. Set unknown: allow if it is meant" % (show(key), choices, above)


def _choices(there: Iterable[str], parts: Mapping[str, Any]) -> str:
    """What may stand at a place, without the words that its capitals stand for too."""
    capitals = [name for name in there if name in parts]
    words = [name for name in there if name not in parts and not any(_fits(capital, name, parts) for capital in capitals)]
    named = [("one of " if len(words) > 1 else "") + ", ".join(words)] if words else []
    return " or ".join(named + [parts[name].expected for name in capitals])


def _furthest(key: str, rows: Sequence[Any], parts: Mapping[str, Any]) -> Tuple[int, List[str]]:
    """How many words of the name fit the rows of its directory that fit best, and what these have as the next."""
    furthest = 0
    there: Dict[str, None] = {}
    for row in rows:
        names = row.name.split("/")
        words = key.split("/", len(names) - 1)
        fits = next((place for place, (name, word) in enumerate(zip(names, words)) if not _fits(name, word, parts)), len(words))
        if fits > furthest:
            furthest, there = fits, {}
        if 0 < fits == furthest and fits < len(names):
            there[names[fits]] = None
    return furthest, list(there)


def _fits(name: str, word: str, parts: Mapping[str, Any]) -> bool:
    return re.fullmatch(parts[name].pattern, word) is not None if name in parts else name == word


def _is_known(key: str, rows: Iterable[Any], parts: Mapping[str, Any]) -> bool:
    for row in rows:
        names, words = row.name.split("/"), key.split("/")
        if len(names) == len(words) and all(_fits(name, word, parts) for name, word in zip(names, words)):
            return True
    return False


def _is_family(name: str, parts: Mapping[str, Any]) -> bool:
    return not parts.keys().isdisjoint(name.split("/"))


def _directory(name: str, parts: Mapping[str, Any]) -> str:
    words = name.split("/")
    return "/".join(words[:next(place for place, word in enumerate(words) if word in parts)]) + "/"
