# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""Values as a terminal may show them.

A value read from a qube may hold anything: escape sequences, text that runs backwards, three kilobytes of noise. What is
meant for eyes (diffs, messages, errors) passes through here.
"""

from __future__ import annotations

import base64
import hashlib
import unicodedata
from typing import Dict, Union

SHOWN = 256
"""The longest value shown, in characters; more is cut and marked with its size and a digest, so two cut values still differ."""

_SHOWN_BITS = 256

_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
# Control, format (bidi among them), surrogate, private, unassigned, line and paragraph separators.
_UNSAFE = frozenset(["Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"])


def _escape_character(character: str) -> str:
    if character in _SHORT:
        return _SHORT[character]
    if character.isascii():
        return character if character.isprintable() else "\\x%02x" % ord(character)
    if unicodedata.category(character) not in _UNSAFE:
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8, as "surrogateescape" keeps it
        return "\\x%02x" % (code - 0xDC00)
    return "\\u%04x" % code if code <= 0xFFFF else "\\U%08x" % code


class _Escapes(Dict[int, str]):
    """What stands for a character, by its number; worked out once for those that were met first."""

    def __missing__(self, code: int) -> str:
        shown = _escape_character(chr(code))
        if len(self) < _REMEMBERED:
            self[code] = shown
        return shown


_REMEMBERED = 4096
_ONE_LINE = _Escapes()
_LINES = _Escapes({ord("\n"): "\n", ord("\t"): "\t"})


def escape(text: str) -> str:
    """The text on one line, with nothing in it that a terminal would act on. What is escaped already stays as it is."""
    return text if text.isprintable() else text.translate(_ONE_LINE)


def escape_lines(text: str) -> str:
    """The same, but with the text's own lines and tabs."""
    return text if text.isprintable() else text.translate(_LINES)


def _quote(text: str) -> str:
    return "'%s'" % escape(text.replace("\\", "\\\\").replace("'", "\\'"))


def show(value: object) -> str:
    """Any value, quoted, escaped and cut, for a message or a diff. Bytes that are not UTF-8 appear as ``\\xHH``."""
    if isinstance(value, bytes):
        text = value.decode("utf-8", "surrogateescape")
    elif isinstance(value, str):
        text = str(value)
    elif isinstance(value, int) and value.bit_length() > _SHOWN_BITS:
        # Newer Pythons refuse to write it in decimal digits, older ones take long to.
        return "a number of %d bits" % value.bit_length()
    elif value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    else:
        # Not what is in it: a few lines of YAML can make that larger than any memory.
        return "a mapping" if isinstance(value, dict) else "a list" if isinstance(value, (list, tuple)) else "a value of the type %s" % cut(
            escape(type(value).__name__))
    if len(text) <= SHOWN:
        return _quote(text)
    data = value if isinstance(value, bytes) else text.encode("utf-8", "backslashreplace")
    return "%s... (%d bytes, sha256 %s)" % (_quote(text[:SHOWN]), len(data), hashlib.sha256(data).hexdigest()[:12])


def cut(text: str) -> str:
    """The text's first characters, and a mark where there were more."""
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."


def plain(value: bytes) -> Union[str, Dict[str, str]]:
    """A value's exact text, or ``{base64: ...}`` where it is not UTF-8."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode("ascii")}
