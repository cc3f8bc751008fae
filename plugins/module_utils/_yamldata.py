# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The data in a YAML document, made from the parser's events.

PyYAML's own constructors would let a few lines grow without end: a merge key copies what it merges, a chain of aliases is
multiplied when it is written out, and a number may be of any length. Here all of that is counted, whichever of PyYAML's
parsers reads the text.
"""

from __future__ import annotations

import math
from typing import Any, Callable, Dict, List, NamedTuple, NoReturn, Optional

from ._text import show

Decrypt = Callable[[str], str]

_TAG = "tag:yaml.org,2002:"
_TEXTS = frozenset([_TAG + "str", _TAG + "value", _TAG + "merge", "!unsafe"])
_NUMBERS = {_TAG + "int": "construct_yaml_int", _TAG + "float": "construct_yaml_float"}


class Limits(NamedTuple):
    """What a document may have: ``room`` is its characters and ``each`` for every value, aliases and merges written out."""

    room: int
    each: int
    depth: int
    number: int


class Unfit(Exception):
    """What is wrong with the document, and where; the text quotes no value, for it may be a secret."""


class _Value(NamedTuple):
    """A value, the room and the depth that it takes, and the text that it has as a name, None for what is none."""

    data: Any
    room: int
    depth: int = 0
    name: Optional[str] = None
    merges: bool = False


class _Open:
    """A mapping or a list that has not ended."""

    def __init__(self, event: Any, data: Any) -> None:
        self.event = event
        self.data = data
        self.key: Optional[str] = None
        self.merged: Optional[List[Dict[str, Any]]] = None
        self.merging = False
        self.room = 0
        self.depth = 0


def read(yaml: Any, text: str, limits: Limits, decrypt: Optional[Decrypt]) -> Any:
    """The data of a text that holds one document or none; ``Unfit`` says what is wrong, and PyYAML's own errors are let through."""
    reader = _Reader(yaml, limits, decrypt)
    # libyaml is ten times as fast, and not everywhere.
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        reader.take(event)
    return reader.data


def place(mark: Any) -> str:
    """Where it is, for a message."""
    return "line %d, column %d" % (mark.line + 1, mark.column + 1)


class _Reader:
    def __init__(self, yaml: Any, limits: Limits, decrypt: Optional[Decrypt]) -> None:
        self.data: Any = None
        self._yaml = yaml
        self._limits = limits
        self._decrypt = decrypt
        self._resolve = yaml.resolver.Resolver().resolve
        self._constructor = yaml.constructor.SafeConstructor()
        self._anchors: Dict[str, _Value] = {}
        self._open: List[_Open] = []
        self._room = 0
        self._documents = 0
        self._kinds = {
            yaml.ScalarEvent: self._scalar,
            yaml.AliasEvent: self._alias,
            yaml.MappingStartEvent: self._begin,
            yaml.SequenceStartEvent: self._begin,
            yaml.MappingEndEvent: self._end,
            yaml.SequenceEndEvent: self._end,
            yaml.DocumentStartEvent: self._document,
        }

    def take(self, event: Any) -> None:
        kind = self._kinds.get(type(event))
        if kind:
            kind(event)

    def _refuse(self, event: Any, why: str) -> NoReturn:
        raise Unfit("%s: %s" % (place(event.start_mark), why))

    def _document(self, event: Any) -> None:
        self._documents += 1
        if self._documents > 1:
            self._refuse(event, "a second document begins; expected one")

    # values

    def _scalar(self, event: Any) -> None:
        text, tag = event.value, event.tag
        # All keys are names: a qube may be called 7, or no.
        name = text if tag in (None, "!", _TAG + "str", "!unsafe") else None
        if name is not None and self._is_naming():
            self._spend(event, self._limits.each + len(text))
            self._add(event, event.anchor, _Value(text, self._limits.each + len(text), 0, name, text == "<<" and not event.style and not tag))
            return
        if not event.style and (tag == "!" or tag is None and not event.implicit[0]):
            # The parsers differ in what it makes of nothing.
            self._refuse(event, "a tag that is not taken; expected a name after !")
        if event.style and tag in (None, "!"):
            tag = _TAG + "str"
        elif tag is None:
            tag = self._resolve(self._yaml.ScalarNode, text, event.implicit)
        data = text if tag in _TEXTS else self._typed(event, tag)
        room = self._limits.each + (len(data) if isinstance(data, str) else len(text))
        self._spend(event, room)
        self._add(event, event.anchor, _Value(data, room, 0, name))

    def _is_naming(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1].data, dict) and self._open[-1].key is None and not self._open[-1].merging

    def _typed(self, event: Any, tag: str) -> Any:
        text = event.value
        if tag == _TAG + "null":
            return None
        if tag == _TAG + "bool":
            return self._constructed(event, "construct_yaml_bool")
        if tag in _NUMBERS:
            if len(text) > self._limits.number:
                self._refuse(event, "a number of %d characters, and %d are the most; put it in quotes if it is text" % (len(text), self._limits.number))
            number = self._constructed(event, _NUMBERS[tag])
            if not math.isfinite(number):
                self._refuse(event, "a number that is not finite; put it in quotes if it is text")
            return number
        if tag == _TAG + "timestamp":
            self._refuse(event, "YAML reads this as a date; put it in quotes")
        if tag == "!vault":
            return self._decrypted(event)
        self._refuse(event, "a tag that is not taken; expected !unsafe, !vault or none, and bytes as {base64: ...}")

    def _constructed(self, event: Any, how: str) -> Any:
        node = self._yaml.ScalarNode(event.tag, event.value, event.start_mark, event.end_mark)
        try:
            return getattr(self._constructor, how)(node)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            self._refuse(event, "the value does not fit its tag")

    def _decrypted(self, event: Any) -> str:
        if self._decrypt is None:
            self._refuse(event, "a value is encrypted with vault, which only the controller can read; use src without remote_src")
        text = self._decrypt(event.value)
        if not is_unicode(text):
            self._refuse(event, "what vault decrypts to is not UTF-8; encrypt it as base64, and give {base64: ...}")
        return text

    def _alias(self, event: Any) -> None:
        value = self._anchors.get(event.anchor)
        if value is None:
            self._refuse(event, "an alias of nothing that ends before it")
        self._spend(event, value.room)
        self._add(event, None, value)

    def _spend(self, event: Any, room: int) -> None:
        self._room += room
        if self._room > self._limits.room:
            self._refuse(event, "it becomes too large here, with its aliases and merges written out; %d characters are the most, "
                                "of which each value takes %d and its own" % (self._limits.room, self._limits.each))

    # what they are in

    def _begin(self, event: Any) -> None:
        is_mapping = isinstance(event, self._yaml.MappingStartEvent)
        if event.tag not in (None, "!", _TAG + ("map" if is_mapping else "seq")):
            self._refuse(event, "a tag that is not taken; expected none on a mapping or list")
        self._nest(event, 1)
        opened = _Open(event, {} if is_mapping else [])
        opened.room = self._limits.each
        self._spend(event, opened.room)
        self._open.append(opened)

    def _nest(self, event: Any, depth: int) -> None:
        if len(self._open) + depth > self._limits.depth:
            self._refuse(event, "nested deeper than %d levels" % self._limits.depth)

    def _end(self, event: Any) -> None:
        ended = self._open.pop()
        data = ended.data
        if ended.merged is not None:
            data = {}
            # The first of them wins, and what the mapping itself has before all.
            for other in reversed(ended.merged):
                data.update(other)
            data.update(ended.data)
        self._add(ended.event, ended.event.anchor, _Value(data, ended.room, ended.depth + 1))

    def _add(self, event: Any, anchor: Optional[str], value: _Value) -> None:
        if anchor is not None:
            self._anchors[anchor] = value
        if not self._open:
            self.data = value.data
            return
        self._nest(event, value.depth)
        into = self._open[-1]
        into.room += value.room
        into.depth = max(into.depth, value.depth)
        if isinstance(into.data, list):
            into.data.append(value.data)
        elif into.merging:
            into.merging = False
            into.merged = self._mappings(event, value.data)
        elif into.key is None:
            self._name(event, into, value)
        else:
            into.data[into.key] = value.data
            into.key = None

    def _name(self, event: Any, into: _Open, value: _Value) -> None:
        if value.name is None:
            self._refuse(event, "a name that is no text")
        if value.merges:
            if into.merged is not None:
                self._refuse(event, "<< is given twice; merge several as <<: [*one, *other]")
            into.merging = True
            return
        if value.name in into.data:
            self._refuse(event, "%s is given twice" % show(value.name))
        into.key = value.name

    def _mappings(self, event: Any, data: Any) -> List[Dict[str, Any]]:
        found = data if isinstance(data, list) else [data]
        if not all(isinstance(each, dict) for each in found):
            self._refuse(event, "<< merges a mapping, or a list of them")
        return found


def is_unicode(text: str) -> bool:
    """Whether the text has no half of a surrogate pair, which UTF-8 has no bytes for."""
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
