# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""Declarations, snapshots and file stores as JSON or YAML text.

All three are mappings of qubes to keys to values. Parsed strictly: a key given twice is an error, no tag makes an object,
and what ``!unsafe`` marks is plain text.
"""

from __future__ import annotations

import json
import math
import re
from functools import lru_cache
from json.encoder import encode_basestring_ascii as _text_of_json
from typing import Any, Dict, List, NoReturn, Optional, Sequence, Tuple

from . import _yamldata
from ._errors import Refused
from ._text import escape, show

LARGEST = 8 * 1024 * 1024
"""Bytes in a document at the most: a thousand qubes with a hundred keys each."""

LIMITS = _yamldata.Limits(room=LARGEST, each=25, depth=32, number=64)
"""What is counted so that no document takes a hundred megabytes, and no short one a second. Declarations have four levels."""


_TOO_MUCH = "%%s holds too much: %d characters are the most, of which each value takes %d and its own" % (LIMITS.room, LIMITS.each)


def text_of(data: bytes, source: str) -> str:
    """A document's text; ``Refused`` where its bytes are not UTF-8."""
    if b"\0" in data[:4] or data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Refused("%s is not UTF-8 but, as it seems, UTF-16 or bytes of another kind; save it as UTF-8" % source)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused("%s is not UTF-8: line %d" % (source, data.count(b"\n", 0, error.start) + 1)) from None


def parse(text: str, source: str, decrypt: Optional[_yamldata.Decrypt] = None) -> Any:
    """The data in a text that is JSON or YAML; ``Refused`` names the source and what is wrong with it.

    ``decrypt`` turns the text behind a ``!vault`` tag into plain text; without it such a tag is an error.
    """
    text = text[1:] if text.startswith("\ufeff") else text
    if len(text) > LARGEST:
        raise Refused("%s has %d characters, and %d are the most" % (source, len(text), LARGEST))
    if not _yamldata.is_unicode(text):
        raise Refused("%s is not Unicode: it has half of a surrogate pair" % source)
    if text.lstrip()[:1] not in ("{", "[", '"'):
        # A name in YAML may begin as a number of JSON does, or be Infinity.
        return _parse_yaml(text, source, decrypt, "it begins with no bracket")
    try:
        return _parse_json(text, source)
    except (ValueError, RecursionError) as error:
        return _parse_yaml(text, source, decrypt, str(error))


def _parse_json(text: str, source: str) -> Any:
    def refuse(written: str, why: str) -> NoReturn:
        # It may stand in a text too; then it is not told which line this is.
        line = "line %d: " % (text.count("\n", 0, text.find(written)) + 1) if text.count(written) == 1 else ""
        raise Refused("%s: %s%s" % (source, line, why))

    def sized(written: str) -> str:
        # Older Pythons take a time for it that grows with the square of its length.
        if len(written) > LIMITS.number:
            refuse(written, "a number of %d characters, and %d are the most; put it in quotes if it is text" % (len(written), LIMITS.number))
        return written

    def broken(written: str) -> float:
        number = float(sized(written))
        if not math.isfinite(number):
            refuse(written, "a number that is not finite; put it in quotes if it is text")
        return number

    if _room_of_json(text) > LIMITS.room:
        raise Refused(_TOO_MUCH % source)
    data = json.loads(text, object_pairs_hook=lambda pairs: _unique(pairs, source), parse_int=lambda written: int(sized(written)), parse_float=broken,
                      parse_constant=broken)
    _refuse_deep(data, source)
    # So begins the escape of a half.
    if re.search(r"\\u[dD]", text):
        _refuse_halves(data, source)
    return data


def _room_of_json(text: str) -> int:
    # Before it is parsed, so what only looks like a value in a text counts too. Bytes are taken out at once, which counts all three in one pass.
    data = text.encode("utf-8")
    return len(text) + LIMITS.each * (len(data) - len(data.translate(None, b"{[,")))


def _unique(pairs: List[Tuple[str, Any]], source: str) -> Dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = set()
        for name, _value in pairs:
            if name in names:
                raise Refused("%s: %s is given twice" % (source, show(name)))
            names.add(name)
    return found


def _refuse_deep(data: Any, source: str) -> None:
    level = _containers([data])
    for _depth in range(LIMITS.depth):
        level = [each for within in level for each in _containers(within)]
    if any(level):
        raise Refused("%s is nested deeper than %d levels" % (source, LIMITS.depth))


def _containers(data: Any) -> Sequence[Any]:
    """The mappings and lists in one. Nearly always there are none among many texts, which is told without a look at each."""
    values = data.values() if isinstance(data, dict) else data
    return () if {dict, list}.isdisjoint(map(type, values)) else [each for each in values if isinstance(each, (dict, list))]


def _refuse_halves(data: Any, source: str) -> None:
    level = [data]
    while level:
        if not all(_yamldata.is_unicode(each) for each in level if isinstance(each, str)):
            raise Refused("%s: a text in it is not Unicode: it has half of a surrogate pair" % source)
        level = [each for within in level for each in _within(within)]


def _within(data: Any) -> List[Any]:
    if isinstance(data, dict):
        return [*data, *data.values()]
    return data if isinstance(data, list) else []


def _parse_yaml(text: str, source: str, decrypt: Optional[_yamldata.Decrypt], not_json: str) -> Any:
    yaml = _yaml("%s is not JSON (%s)" % (source, escape(not_json)))
    if "\ufeff" in text:
        # One of PyYAML's parsers leaves it out, and the other does not.
        raise Refused("%s is neither JSON nor YAML: it holds U+FEFF, which YAML has only as an escape in double quotes" % source)
    try:
        return _yamldata.read(yaml, text, LIMITS, decrypt)
    except _yamldata.Unfit as error:
        raise Refused("%s: %s" % (source, error)) from None
    except yaml.reader.ReaderError as error:
        raise Refused("%s is neither JSON nor YAML: it holds %s, which YAML has only as an escape in double quotes" % (
            source, "U+%04X" % error.character if isinstance(error.character, int) else "a character")) from None
    except (yaml.YAMLError, AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        # Not the parser's own words: they quote the line, in which a secret may stand.
        mark = getattr(error, "problem_mark", None)
        raise Refused("%s is neither JSON nor YAML: %s" % (source, _yamldata.place(mark) if mark else "its parser gives up")) from None


def _yaml(why: str):
    """PyYAML, imported where it is needed: it would be a fourth of what a task takes to start."""
    try:
        import yaml
    except ImportError:
        raise Refused("%s, and Python has no PyYAML here to read or write YAML; install python3-yaml" % why) from None
    return yaml


def write_json(data: Dict[str, Dict[str, Any]]) -> str:
    """The text of a JSON document; ``Refused`` where it would be more than is read again."""
    qubes = ["\n  %s: %s" % (_text_of_json(qube), _keys_of_json(keys)) for qube, keys in sorted(data.items())]
    text = "{%s\n}\n" % ",".join(qubes)
    _refuse_large(_room_of_json(text))
    return text


def _keys_of_json(keys: Dict[str, Any]) -> str:
    """Keys a line each. With ``indent`` Python's json leaves its encoder in C, and takes many times as long."""
    names = tuple(keys)
    try:
        return _lines_of_json(names) % tuple(map(_text_of_json, map(keys.__getitem__, sorted(names))))
    except TypeError:
        # Some are bytes, which are a mapping here.
        return _lines_of_json(names) % tuple([json.dumps(keys[name]) for name in sorted(names)])


@lru_cache(maxsize=64)
def _lines_of_json(names: Tuple[str, ...]) -> str:
    """What stands around the values. Many qubes have the same keys."""
    lines = ["    %s: %%s" % _text_of_json(name).replace("%", "%%") for name in sorted(names)]
    return "{\n%s\n  }" % ",\n".join(lines) if lines else "{}"


def write_yaml(data: Dict[str, Dict[str, Any]]) -> str:
    """The text of a YAML document, in which what Jinja would act on is tagged ``!unsafe``; ``Refused`` as for JSON."""
    yaml = _yaml("the file is YAML")
    _refuse_large(_room(data))

    class Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):
        """With the tag."""

        def ignore_aliases(self, data):
            return True

    def text(dumper, value):
        tag = "!unsafe" if "{{" in value or "{%" in value or "{#" in value else "tag:yaml.org,2002:str"
        return dumper.represent_scalar(tag, value, style='"' if tag == "!unsafe" or not value.isprintable() else None)

    Dumper.add_representer(str, text)
    written = yaml.dump(data, Dumper=Dumper, default_flow_style=False, allow_unicode=True, width=10**6)
    _refuse_large(len(written))
    return written


def _room(data: Any) -> int:
    room = 0
    level = [data]
    while level:
        room += sum([LIMITS.each + (len(each) if isinstance(each, str) else 0) for each in level])
        level = [each for within in level for each in _within(within)]
    return room


def _refuse_large(room: int) -> None:
    if room > LIMITS.room:
        raise Refused(_TOO_MUCH % "what would be written" + "; it stands as it was")
