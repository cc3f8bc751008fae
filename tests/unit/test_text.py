# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a terminal may be shown."""

from __future__ import annotations

import re
import unicodedata

import pytest
from ansible_collections.qubes.vmconfig.plugins.module_utils._text import SHOWN, cut, escape, show
from unitdata import HOSTILE

ASCII = re.compile("[ -~]*")


# All but the rarely used planes, and a sample of those.
CODES = [*range(0x20000), *range(0x20000, 0xe0000, 97), *range(0xe0000, 0xe1000), *range(0xe1000, 0x110000, 97), 0x10ffff]


@pytest.fixture(name="escapes", scope="module")
def every_character_escaped():
    """What each character becomes."""
    return {code: escape(chr(code)) for code in CODES}


def harmless(text):
    """Nothing but characters that have a shape and go from left to right of their own."""
    return bool(ASCII.fullmatch(text)) or all(
        ASCII.fullmatch(character) or unicodedata.category(character)[0] in "LMNPS" or unicodedata.category(character) == "Zs" for character in text)


@pytest.mark.parametrize("text, escaped", [
    ("", ""),
    ("Europe/Warsaw", "Europe/Warsaw"),
    ("two\nlines\r\tx", "two\\nlines\\r\\tx"),
    ("a\\b'c\"", "a\\b'c\""),
    ("\x1b[2J\x07\x00\x7f", "\\x1b[2J\\x07\\x00\\x7f"),
    ("\x85\x9b31m", "\\u0085\\u009b31m"),
    ("\u202e\u2066\u200f\ufeff", "\\u202e\\u2066\\u200f\\ufeff"),
    ("\u2028\u2029", "\\u2028\\u2029"),
    ("\U000e0041", "\\U000e0041"),
    ("ÅΩ漢😀é", "ÅΩ漢😀é"),
])
def test_escaped(text, escaped):
    assert escape(text) == escaped


def test_no_character_at_all_is_let_through_that_is_not_harmless(escapes):
    assert [code for code, escaped in escapes.items() if not harmless(escaped)] == []


def test_no_two_characters_look_the_same(escapes):
    assert len(set(escapes.values())) == len(escapes)


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("length", [1, SHOWN, SHOWN + 1, 5000])
def test_whatever_is_shown_is_one_harmless_line(hostile, length):
    values = [hostile * length, [hostile] * length, {hostile: hostile * length}, (hostile * length).encode("utf-8", "surrogateescape")]
    for value in values:
        assert harmless(show(value))
        assert len(show(value)) < 12 * SHOWN


@pytest.mark.parametrize("length", [1, SHOWN + 1])
def test_half_of_a_surrogate_pair_is_shown(length):
    # JSON can hold one: {"work": {"vm-config/x": "\ud800"}}.
    assert "\\ud800" in show("\ud800" * length)


@pytest.mark.parametrize("value, shown", [
    (b"\xff\xfe", "'\\xff\\xfe'"),
    (b"UTC", "'UTC'"),
    ("UTC", "'UTC'"),
    (b"\xc3\xa9", "'é'"),
    ("", "''"),
    (None, "None"),
    (True, "True"),
    (750, "750"),
    ("a\\b'c", "'a\\\\b\\'c'"),
    (["a\x1b"], "a list"),
    ({"a": "\x1b"}, "a mapping"),
])
def test_shown(value, shown):
    assert show(value) == shown


def test_what_is_cut_says_how_long_it_was_and_which():
    shown = show("x" * SHOWN + "end")
    assert "(%d bytes, sha256 " % (SHOWN + 3) in shown
    assert "end" not in shown
    assert shown != show("x" * SHOWN + "End")
    assert show("x" * SHOWN) == "'%s'" % ("x" * SHOWN)


def test_bytes_and_text_of_the_same_value_look_the_same():
    text = "é" * 300
    assert show(text) == show(text.encode("utf-8"))


def test_cut():
    assert cut("x" * SHOWN) == "x" * SHOWN
    assert cut("x" * (SHOWN + 1)) == "x" * SHOWN + "..."
