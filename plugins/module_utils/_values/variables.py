# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""What the variables of a role are.

A play gives them as YAML, as text of a command line or an inventory, or as JSON; each means the same in every spelling, for a
play and for a start. Null means: from the keys.
"""

from __future__ import annotations

import json
import re
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Tuple

from .._text import show

_TRUE = frozenset(["1", "on", "t", "true", "y", "yes"])
_FALSE = frozenset(["0", "f", "false", "n", "no", "off"])
# The longest number that is taken is one of 64 bits.
_NUMBER = re.compile("[+-]?[0-9]{1,18}")
_LARGEST = 2**63


class Unfit(Exception):
    """A value is not of its type."""

    def __init__(self, value: Any, expected: str, where: str = "") -> None:
        super().__init__(expected)
        self._value, self._expected, self._where = value, expected, where

    def within(self, where: str) -> Unfit:
        """The same of a value that is in another one."""
        return Unfit(self._value, self._expected, where)

    def sentence(self, variable: str) -> str:
        """What to tell the user."""
        return "%s%s is %s; expected %s" % (variable, self._where and ": " + self._where, shown(self._value), self._expected)


class Kind(NamedTuple):
    """A type: as an argument spec names it, and how a value becomes one of it."""

    type: str
    convert: Callable[[Any], Any]
    elements: str = ""


class Variable(NamedTuple):
    """One variable of a role: the names and globs of the keys that it is made of where it is not given, and the key whose form it must have."""

    kind: Kind
    keys: Tuple[str, ...] = ()
    form: str = ""


def shown(value: Any) -> str:
    """A value for a message."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return show(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Unfit(value, "text: YAML takes what is written for something else, so put it in quotes")
    try:
        value.encode("utf-8")
    except UnicodeError:
        raise Unfit(value, "text that can be written as UTF-8") from None
    return str(value)


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else str(int(value)) if isinstance(value, (int, float)) and value in (0, 1) else ""
    if word not in _TRUE and word not in _FALSE:
        raise Unfit(value, "true or false")
    return word in _TRUE


def _number(value: Any) -> int:
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= _LARGEST:
        raise Unfit(value, "a whole number")
    return value


def _number_or_none(value: Any) -> Any:
    return "" if value == "" else _number(value)


def _document(text: str, value: Any, expected: str) -> Any:
    """What a text is as JSON, which is how a command line gives lists and dictionaries."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Unfit(value, expected + "; what begins with %s has to be JSON" % text[0]) from None


def _list(value: Any, expected: str) -> List[Any]:
    found = value
    if isinstance(value, str):
        text = value.strip()
        found = _document(text, value, expected) if text.startswith("[") else [part.strip() for part in text.split(",") if part.strip()]
    if not isinstance(found, (list, tuple)):
        raise Unfit(value, expected)
    return list(found)


def _texts(value: Any) -> List[str]:
    found = []
    for number, each in enumerate(_list(value, "a list, or text with commas between its parts"), 1):
        try:
            found.append(_text(each))
        except Unfit as error:
            raise error.within("entry %d" % number) from None
        if not each.strip():
            raise Unfit(each, "text that is not empty", "entry %d" % number)
    return found


def _units(value: Any) -> Dict[str, List[str]]:
    expected = "a dictionary of names, each with a list of units"
    found = _document(value.strip(), value, expected) if isinstance(value, str) and value.strip().startswith("{") else value
    if not isinstance(found, Mapping):
        raise Unfit(value, expected)
    units = {}
    for name, each in found.items():
        try:
            units[_text(name)] = _texts(each)
        except Unfit as error:
            raise error.within("the units of %s" % shown(name)) from None
    return units


def _states(value: Any) -> Dict[str, bool]:
    expected = "a dictionary of names, each with true or false"
    found = value
    if isinstance(value, str):
        text = value.strip()
        pairs = [part.partition("=") for part in re.split(r"[,\s]+", text) if part]
        if not text.startswith("{") and not all(equals for dummy, equals, dummy in pairs):
            raise Unfit(value, expected)
        found = _document(text, value, expected) if text.startswith("{") else {name: state for name, dummy, state in pairs}
    if not isinstance(found, Mapping):
        raise Unfit(value, expected)
    states = {}
    for name, state in found.items():
        try:
            states[_text(name)] = _flag(state)
        except Unfit as error:
            raise error.within("the name" if not isinstance(name, str) else "the state of %s" % show(name)) from None
    return states


def _monitors(value: Any) -> Any:
    expected = "a list of monitors, or a line such as 1920x1080+0+0"
    if isinstance(value, str) and not value.strip().startswith("["):
        return value.strip()
    found = _list(value, expected)
    return [dict(each) if isinstance(each, Mapping) else each for each in found]


_ENTRY = ("name", "dest", "template", "owner", "group", "mode", "absent")
_REQUIRED = ("name", "dest")


def _entries(value: Any) -> List[Dict[str, str]]:
    expected = "a list of dictionaries with %s and perhaps %s" % (", ".join(_REQUIRED), ", ".join(_ENTRY[2:]))
    found = []
    for number, entry in enumerate(_list(value, expected), 1):
        if not isinstance(entry, Mapping) or not set(_REQUIRED) <= set(entry) <= set(_ENTRY):
            raise Unfit(entry, expected, "entry %d" % number)
        try:
            # Who owns a file may be a number.
            found.append({name: str(_number(each)) if name in ("owner", "group") and isinstance(each, int) else _text(each)
                          for name, each in entry.items() if each is not None or name in _REQUIRED})
        except Unfit as error:
            raise error.within("entry %d" % number) from None
    return found


TEXT = Kind("str", _text)
FLAG = Kind("bool", _flag)
NUMBER = Kind("int", _number)
NUMBER_OR_NONE = Kind("raw", _number_or_none)
TEXTS = Kind("list", _texts, "str")
STATES = Kind("dict", _states)
UNITS = Kind("dict", _units)
MONITORS = Kind("raw", _monitors)
ENTRIES = Kind("list", _entries, "dict")


def converted(role: str, variables: Mapping[str, Variable], given: Mapping[str, Any]) -> Tuple[Dict[str, Any], List[str]]:
    """What a play gave, each of its type and without what is null; and a sentence for each that cannot be."""
    found, refused = {}, []
    for name, value in given.items():
        if name not in variables:
            refused.append("the role has no variable %s; its variables are %s" % (
                show("%s_%s" % (role, name)), ", ".join("%s_%s" % (role, each) for each in sorted(variables))))
        elif value is not None:
            try:
                found[name] = variables[name].kind.convert(value)
            except Unfit as error:
                refused.append(error.sentence("%s_%s" % (role, name)))
    return found, refused
