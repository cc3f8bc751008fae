# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keyboard, as far as no program of the machine is asked; and how long any keymap takes."""

from __future__ import annotations

import time
import tracemalloc

import pytest
from ansible_collections.qubes.vmconfig.plugins.module_utils._forms import Malformed
from ansible_collections.qubes.vmconfig.plugins.module_utils._keyboardforms import Keyboard, Keymap
from ansible_collections.qubes.vmconfig.plugins.module_utils._xkb import latin
from ansible_collections.qubes.vmconfig.plugins.module_utils._xkb.apart import take_apart
from hypothesis import example, given, settings
from hypothesis import strategies as st

NOWHERE = "/nonexistent"


@pytest.mark.parametrize("layout, variant, has", [
    ("us", "", True), ("ru", "", False), ("ru,us", "", True), ("us,ru", ",phonetic", True), ("ru,bg", "phonetic", False), ("rs", "latin", True),
    ("rs", "", False), ("rs,ru", ",", False), ("rs,ru", "latin,", True), ("us", "rus", False), ("us,de", "rus,ru", False), ("us,de", "rus", True),
    ("de", "neo", True), ("il", "", False), ("gr", "polytonic", False), ("in", "eng", True), ("in", "", False), ("jp", "", True), ("jp", "kana", False),
    ("kr", "", True), ("kr", "kr104", True), ("cn", "", True), ("cn", "tib", False), ("somewhere", "", True),
])
def test_which_layouts_are_listed_as_latin(layout, variant, has):
    assert latin.listed(layout, variant) is has


@pytest.mark.parametrize("layout, variant, layouts, variants", [
    ("ru", "", "ru,us", ""), ("ru", "phonetic", "ru,us", "phonetic,"), ("ru,bg", "", "ru,bg,us", ""), ("ru,bg", "phonetic", "ru,bg,us", "phonetic,,"),
    ("ru,bg", ",phonetic", "ru,bg,us", ",phonetic,"), ("ru,bg,ua", ",,", "ru,bg,ua,us", ""),
])
def test_a_latin_layout_is_the_last_and_has_no_variant(layout, variant, layouts, variants):
    assert latin.beside(layout, variant) == {"layout": layouts, "variant": variants}


def test_four_layouts_are_left_as_they_are():
    assert latin.beside("ru,bg,ua,by", "") == {}


def keymap(symbols, begin=""):
    return 'xkb_keymap {\n\txkb_types { include "complete" };\n\txkb_symbols %s{ include "%s"\t};\n};' % (begin, symbols)


@pytest.mark.parametrize("symbols, names", [
    ("pc+us+inet(evdev)", ("us", "", "")),
    ("pc+fr(oss)+inet(evdev)", ("fr", "oss", "")),
    ("pc+us+se(dvorak):2+group(alt_shift_toggle)+inet(evdev)", ("us,se", ",dvorak", "grp:alt_shift_toggle")),
    ("pc+pl+us:2+compose(caps)+level3(ralt_switch)", ("pl,us", "", "compose:caps,lv3:ralt_switch")),
    ("pc+us+inet(evdev)+epo(qwerty)", ("us", "", "esperanto:qwerty")),
    ("pc+epo(legacy)+inet(evdev)", ("epo", "legacy", "")),
    ("pc+kr(kr104)+inet(evdev)+kr(ralt_hangul)", ("kr", "kr104", "korean:ralt_hangul")),
    ("pc+us+ru:2+inet(evdev)+group(alt_shift_toggle)+ctrl(nocaps)", ("us,ru", "", "grp:alt_shift_toggle,ctrl:nocaps")),
    ("pc+us:1+ru:2+inet(evdev)+capslock(escape)+terminate(ctrl_alt_bksp)", ("us,ru", "", "caps:escape,terminate:ctrl_alt_bksp")),
    ("macintosh_vndr/apple(alukbd)+us+inet(evdev)", ("us", "", "")),
    ("pc(pc105)", ("", "", "")), ("pc+inet(evdev)", ("", "", "")), ("+", ("", "", "")),
    # XKB has four groups.
    ("pc+us+de:2+fr:3+ru:4+gr:1+inet(evdev)", ("us,de,fr,ru", "", "")),
])
def test_a_keymap_is_taken_apart_without_rules(symbols, names):
    assert tuple(take_apart(keymap(symbols), "pc105", NOWHERE).values()) == names
    assert tuple(take_apart(keymap(symbols, '"a name" '), "pc105", NOWHERE).values()) == names


@pytest.mark.parametrize("text", [
    "xkb_keymap { };", 'xkb_keymap { xkb_symbols { key <AE01> { [ 1 ] }; include "pc+us" }; };', 'xkb_keymap { xkb_types { include "pc+us" }; };',
    'xkb_keymap { // xkb_symbols { include "pc+us" };\n };', 'xkb_keymap { xkb_symbols { name="xkb_symbols { include " } };',
])
def test_a_keymap_that_names_no_layout_has_none(text):
    assert set(take_apart(text, "pc105", NOWHERE).values()) == {""}


# -- any text at all --


PIECES = ["xkb_keymap", "xkb_symbols", "include", "augment", '"', "{", "}", ";", "//", "#", "\n", " ", "\\x0a", "\\n",
          "<", ">", "pc+us", "../x", "(", ")", ":2", "+", "|",
          "%S", "a/b", "[", "]", "=", "key <AE01>", "\0", "\u202e"]
HOSTILE = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=400).map("".join),
    st.tuples(st.sampled_from(PIECES), st.integers(1, 3000), st.sampled_from(PIECES)).map(lambda each: "xkb_keymap {" + (each[0] * each[1])[:3000] + each[2]),
    st.tuples(st.sampled_from(PIECES), st.sampled_from(PIECES), st.integers(1, 1500)).map(
        lambda each: 'xkb_keymap {xkb_symbols{include "' + ((each[0] + each[1]) * each[2])[:3000] + '"};};'),
    st.text(max_size=3000).map(lambda text: "xkb_keymap {" + text + "};"),
)


def read(text):
    try:
        decoded = Keymap().decode(text)
    except Malformed:
        return
    # What is taken can be taken apart, and what comes of it is a keyboard.
    names = take_apart(decoded, "pc105", NOWHERE)
    if names["layout"]:
        Keyboard().decode("+".join(names.values()))


@settings(max_examples=1000, deadline=1000)
@example("xkb_keymap {" + "{" * 3000)
@example("xkb_keymap {" + "xkb_symbols " * 250)
@example('xkb_keymap {xkb_symbols{include "' + "a+" * 1500 + '%"};};')
@example('xkb_keymap {xkb_symbols{include "' + "a/" * 1500 + '"};};')
@given(HOSTILE)
def test_no_text_is_more_than_a_keymap_or_refused(text):
    read(text)


@settings(max_examples=1000, deadline=1000)
@given(st.one_of(st.text(max_size=300), st.text(alphabet="us+,:()-.", max_size=300), st.text(alphabet="a,", min_size=200, max_size=3000)))
def test_no_text_is_more_than_a_keyboard_or_refused(text):
    try:
        Keyboard().decode(text)
    except Malformed as error:
        assert str(error).isprintable()


@pytest.mark.parametrize("text", [
    "xkb_keymap {" + "{}" * 5000000, "xkb_keymap {" + "xkb_symbols {" * 38000, 'xkb_keymap {xkb_symbols{include "' + "us+" * 160000 + 'us"};};',
    'xkb_keymap {xkb_symbols{include "pc' + "+us(x):2" * 60000 + '"};};', "xkb_keymap {" + '"" ' * 160000 + "};", "\\x0a" * 120000,
], ids=lambda text: text[:24])
def test_the_longest_keymap_takes_less_than_a_second_and_100_megabytes(text):
    begin = time.process_time()
    read(text)
    assert time.process_time() - begin < 1
    tracemalloc.start()
    try:
        read(text)
        assert tracemalloc.get_traced_memory()[1] < 100000000
    finally:
        tracemalloc.stop()
