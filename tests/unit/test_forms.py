# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The forms of values: forms.yml, and what holds for all of them."""

from __future__ import annotations

import pytest
from ansible_collections.qubes.vmconfig.plugins.module_utils import _forms, _interface, _keyboardforms
from ansible_collections.qubes.vmconfig.plugins.module_utils._forms import Malformed
from unitdata import load

CASES = load("forms.yml")


def flat(kind):
    """One parameter set a case of this kind."""
    return [pytest.param(key, case, id="%s: %r" % (key, case)) for key, cases in CASES.items() for case in cases[kind]]


def row(key):
    return _interface.known(key).row


@pytest.mark.parametrize("key, text", flat("decode"))
def test_decodes(key, text):
    expected = CASES[key]["decode"][text]
    found = row(key).decode(text.encode("utf-8"))
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize("key, text", flat("not_decoded"))
def test_refuses_text_of_a_store(key, text):
    with pytest.raises(Malformed):
        row(key).decode(text.encode("utf-8"))


@pytest.mark.parametrize("key, pair", flat("encode"))
def test_encodes(key, pair):
    value, text = pair
    assert row(key).encode(value) == text.encode("utf-8")


@pytest.mark.parametrize("key, pair", flat("encode"))
def test_what_is_encoded_decodes(key, pair):
    value, text = pair
    row(key).decode(row(key).encode(value))


@pytest.mark.parametrize("key, value", flat("not_encoded"))
def test_refuses_values_of_a_playbook(key, value):
    with pytest.raises(Malformed) as caught:
        row(key).encode(value)
    # A message is made of this: it says what was expected, on one line.
    assert row(key).expected(caught.value).startswith("expected ")
    assert "\n" not in row(key).expected(caught.value)


def test_every_form_has_cases():
    forms = {form for module in (_forms, _keyboardforms) for form in vars(module).values() if isinstance(form, type) and issubclass(form, _forms.Form)}
    assert forms - {type(row(key).form) for key in CASES} == {_forms.Form}


def test_every_typed_key_has_the_form_of_one_with_cases():
    tested = {(type(row(key).form), row(key).form.expected) for key in CASES}
    untested = {each.name: each.form.expected for each in _interface.ROWS if (type(each.form), each.form.expected) not in tested}
    # Words out of a list, and names that a pattern describes whole, are tested by test_interface.py alone.
    assert {type(row.form) for row in _interface.ROWS if row.name in untested} <= {_forms.Choice, _forms.Pattern, _forms.Number, _forms.Addresses}


@pytest.mark.parametrize("key", [key for key in CASES if row(key).form is not _interface.TEXT])
@pytest.mark.parametrize("data", [b"\xff", b"1\xff", b"\xed\xb2\x9b", b"\xc0\xaf"], ids=repr)
def test_bytes_that_are_not_utf8_have_no_form(key, data):
    with pytest.raises(Malformed):
        row(key).decode(data)


@pytest.mark.parametrize("text, advice", [
    ("us,bg(phonetic)++grp:shifts_toggle", "a variant is in the second field, at the place of its layout: write us,bg+,phonetic+grp:shifts_toggle"),
    ("bg(phonetic)", "write bg+phonetic+"),
    ("us,bg(phonetic),de(neo)", "write us,bg,de+,phonetic,neo+"),
    ("us(intl)++compose:caps,", "write us+intl+compose:caps"),
    ("ru(phonetic),us", "write ru,us+phonetic,+"),
    ("us,de,fr,ru,gr", "it has 5 layouts, and four are the most"),
    ("us,de,fr,ru,gr,il++", "it has 6 layouts, and four are the most"),
    ("us+grp:alt_shift_toggle", "options are in the third field: write us++grp:alt_shift_toggle"),
    ("us,ru+grp:alt_shift_toggle,compose:caps", "write us,ru++grp:alt_shift_toggle,compose:caps"),
    ("us+++", "it has three fields"),
    ("us+oss,dvorak", "there are more variants than layouts"),
    ("us" * 200, "it has more than 256 characters"),
    # Nothing that could be anything is repeated.
    ("us(\x1b[2J)", "grp:alt_shift_toggle"), ("us(a)+b+c d", "grp:alt_shift_toggle"),
])
def test_a_keyboard_is_refused_with_what_to_write(text, advice):
    with pytest.raises(Malformed) as caught:
        row("keyboard-layout").decode(text.encode("utf-8"))
    message = row("keyboard-layout").expected(caught.value)
    assert message.endswith(advice) or advice + ", " in message or advice + " " in message, message
    if "write " in message:
        row("keyboard-layout").decode(message.rpartition("write ")[2].encode("utf-8"))
