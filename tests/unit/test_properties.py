# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What holds for every value, name and document, tried with thousands that nobody would think of."""

from __future__ import annotations

import datetime
import ipaddress
import os
import re
import tempfile

import pytest
import yaml
from ansible_collections.qubes.vmconfig.plugins.module_utils import _forms, _interface, _keyboardforms, _selection
from ansible_collections.qubes.vmconfig.plugins.module_utils._declaration import declared_qubes, from_bytes, refuse_secrets, refuse_unsendable
from ansible_collections.qubes.vmconfig.plugins.module_utils._document import parse, write_json, write_yaml
from ansible_collections.qubes.vmconfig.plugins.module_utils._errors import VmconfigError
from ansible_collections.qubes.vmconfig.plugins.module_utils._inspect import asked, report, selected
from ansible_collections.qubes.vmconfig.plugins.module_utils._plan import Snapshot, Wanted, declare, diff, encode, plan
from ansible_collections.qubes.vmconfig.plugins.module_utils._settings import Unsettable
from ansible_collections.qubes.vmconfig.plugins.module_utils._text import escape, show
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir
from unitdata import HOSTILE, load

# It keeps tables of its own, which are not to be in the collection.
HOME = tempfile.TemporaryDirectory()
set_hypothesis_home_dir(HOME.name)

KEYS = load("keys.yml")
LONGEST_MESSAGE = 100_000
"""Characters: twenty problems, each with a name and a value of 256 that are all escaped."""

TIMES = int(os.environ.get("VMCONFIG_FUZZ", "1"))
"""How many times as many examples as usual, for who looks for more."""


def examples(count):
    """The same ones on every machine, and nothing left behind: the collection may be installed where nobody may write."""
    return settings(max_examples=count * TIMES, derandomize=True, deadline=None, database=None,
                    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large])


def said(work, *arguments):
    """What the work raises, which is nothing but the errors that a user reads; None where it is done."""
    try:
        work(*arguments)
    except VmconfigError as error:
        message = str(error)
        assert message
        assert message == escape(message)
        assert len(message) <= LONGEST_MESSAGE
        return message
    return None


# -- what there is to try --

HOSTILE_TEXT = st.lists(st.one_of(st.text(max_size=8), st.sampled_from([*HOSTILE.values(), "{{ 7 * 7 }}", "%s", "\\", "'", '"', "/", "..", "*", "-", "0x1"])),
                        max_size=5).map("".join)
TEXTS = st.one_of(HOSTILE_TEXT, st.text(alphabet=st.characters(), max_size=300), st.sampled_from([*KEYS.values(), "x" * 5000, "9" * 5000, "0x" + "f" * 5000]))
NUMBERS = st.one_of(st.integers(), st.sampled_from([2 ** 63, 2 ** 64 - 1, -1, 0]), st.floats(),
                    # Not as themselves: nobody can print them.
                    st.sampled_from([1, -1]).map(lambda sign: sign * 10 ** 5000))
STRANGE = st.sampled_from([datetime.date(2026, 1, 1), datetime.datetime(2026, 1, 1), {1, 2}, frozenset(), (), b"\xff", b"", 1j, object(), Ellipsis, type])
NAMED = st.one_of(st.sampled_from(["base64", "layout", "variant", "options"]), HOSTILE_TEXT, st.integers(), st.none(), st.booleans())
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS, STRANGE, st.binary(max_size=20))
VALUES = st.recursive(SCALARS, lambda inner: st.one_of(
    st.lists(inner, max_size=3),
    st.dictionaries(NAMED, inner, max_size=3),
), max_leaves=6)
WORDS = st.sampled_from(sorted({word for key in KEYS for word in key.split("/")} | {"", "-", ".", "..", "*", "[a", "[!a]", "[z-a]", "?", "x" * 300}))
MISTYPED = st.tuples(st.sampled_from(sorted(KEYS)), st.integers(0, 40), HOSTILE_TEXT).map(
    lambda parts: parts[0][:parts[1]] + parts[2] + parts[0][parts[1]:])
NAMES = st.one_of(st.sampled_from(sorted(KEYS)), st.lists(WORDS, max_size=4).map("/".join), HOSTILE_TEXT, SCALARS, MISTYPED)
QUBES = st.one_of(st.sampled_from(["work", "sys-net", "self", "*", "", " ", "1", "01", "../x", "a/b", "x" * 300]), st.integers(), SCALARS)


def hashable(value):
    return not isinstance(value, (set, list, dict))


def of_form(form):
    """Values that the form takes, as keys_info would give them."""
    kinds = {
        _forms.Switch: st.booleans,
        _forms.Number: lambda: st.integers(0, form.most),
        _forms.Choice: lambda: st.sampled_from(form.words),
        _forms.Text: lambda: st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
        _forms.Address: lambda: st.ip_addresses(v=form.version).map(str),
        _forms.Netmask: lambda: st.integers(0, 32).map(lambda bits: str(ipaddress.ip_network((0, bits)).netmask)),
        _forms.Addresses: lambda: st.lists(st.ip_addresses(v=form.address.version).map(str), min_size=1, max_size=9),
        _keyboardforms.Keyboard: keyboards,
        _keyboardforms.Keymap: keymaps,
        _forms.Pattern: lambda: st.from_regex(r"\A(?:%s)\Z" % form.pattern, alphabet=st.characters(max_codepoint=126)),
    }
    return kinds[type(form)]()


@st.composite
def keyboards(draw):
    name = st.from_regex(r"\A[a-z][a-z0-9_-]{0,5}\Z")
    layouts = draw(st.lists(name, min_size=1, max_size=4))
    variants = draw(st.lists(st.one_of(st.just(""), name), max_size=len(layouts)))
    options = draw(st.lists(st.from_regex(r"\A[a-z]{1,5}:[a-z_]{1,9}\Z"), max_size=4))
    return {"layout": ",".join(layouts), "variant": ",".join(variants), "options": ",".join(options)}


@st.composite
def keymaps(draw):
    space = st.sampled_from([" ", "\n", "\t", "\n\t", " // said aside\n", " # said aside\n"])
    word = st.one_of(st.from_regex(r"\A[a-z_]{1,9}\Z"), st.sampled_from(['include "pc+us+inet(evdev)"', "key <AE01>", "[ a, b ]", "=", ";", '"text"', "{ }"]))
    words = draw(st.lists(st.tuples(word, space), max_size=9))
    return "xkb_keymap%s{ %s};%s" % (draw(space), "".join([part + gap for part, gap in words]), draw(st.sampled_from(["", "\n"])))


# -- every row --

ROWS = {_interface.known(key).row.name: key for key in KEYS}


@pytest.mark.parametrize("name", [row.name for row in _interface.ROWS])
def test_what_a_row_stores_is_read_as_it_was(name):
    row = _interface.known(ROWS[name]).row

    @examples(25)
    @given(of_form(row.form))
    def check(value):
        if value == "" and not row.empty:
            with pytest.raises(_forms.Malformed):
                row.encode(value)
            with pytest.raises(_forms.Malformed):
                row.decode(b"")
            return
        stored = row.encode(value)
        assert row.decode(stored) == value
        # What is stored is a value that a playbook can give, and means the same.
        assert row.encode(stored.decode("utf-8")) == stored

    check()


@examples(600)
@given(st.sampled_from(sorted(KEYS)), st.one_of(st.binary(max_size=60), TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass"))))
def test_no_bytes_are_decoded_to_anything_but_a_value_or_an_error(key, untrusted_value):
    if said(_interface.decode, key, untrusted_value) is None:
        assert _interface.decode(key, untrusted_value) is not None


@examples(600)
@given(st.sampled_from(sorted(KEYS)), VALUES)
def test_no_value_is_encoded_to_anything_but_bytes_or_an_error(key, value):
    if said(encode, key, value, "reject") is None:
        data = encode(key, value, "reject")
        assert data is None or b"\0" not in data
        if data is not None and not _interface.free(key):
            _interface.known(key).row.decode(data)


@examples(300)
@given(st.sampled_from(sorted(KEYS)), st.one_of(TEXTS, st.none()), st.one_of(TEXTS, st.none()))
def test_no_setting_takes_or_gives_anything_but_text(key, value, text):
    setting = _interface.setting(key)
    try:
        held = setting.text(None if value is None else value.encode("utf-8", "surrogatepass"))
        assert held is None or isinstance(held, str)
    except Unsettable as error:
        assert str(error) == escape(str(error))
    if setting.kind and text is not None and not re.search("[\ud800-\udfff]", text):
        assert isinstance(setting.value(text), bytes)


# -- names --


@examples(600)
@given(NAMES)
def test_no_name_is_anything_but_a_key_or_an_error(name):
    for work in (_interface.normal, _interface.known, _interface.directory, lambda one: _selection.select([one]), lambda one: selected([one])):
        said(work, name)
    if said(_interface.normal, name) is None:
        key = _interface.normal(name)
        assert _interface.normal(key) == key
        assert key not in _interface.suggest(key) or _interface.find(key)
        assert (_interface.find(key) is None) == (said(_interface.known, key) is not None)
        # Every name that is suggested is one.
        for near in _interface.suggest(key):
            assert _interface.find(near.partition(": ")[0])


@examples(300)
@given(st.lists(NAMES, max_size=4), st.sampled_from(sorted(KEYS)))
def test_a_selection_reaches_no_further_than_it_says(names, key):
    if said(_selection.select, names) is not None:
        return
    selection = _selection.select(names)
    assert selection.matches(key) == selection.matcher()(key)
    if selection.matches(key):
        assert key in selection.exact or key.startswith(tuple(selection.prefixes()))


@examples(300)
@given(QUBES)
def test_no_name_of_a_qube_is_anything_but_one_qube_or_an_error(qube):
    for work in (lambda one: declared_qubes({"qube": one, "keys": {}}), lambda one: asked([one])):
        said(work, qube)
    if hashable(qube):
        said(declare, {qube: {}}, (), "inherit", "reject", lambda key, value: "")
        if said(declared_qubes, {"qubes": {qube: {}}}) is None:
            name = next(iter(declare({qube: {}}, (), "inherit", "reject", lambda key, value: "")))
            assert name.strip() == name != "" and name != "*"


# -- declarations and plans --


@examples(500)
@given(st.dictionaries(QUBES.filter(hashable), st.one_of(VALUES, st.dictionaries(NAMES.filter(hashable), VALUES, max_size=4)), max_size=3),
       st.lists(NAMES, max_size=2), st.sampled_from(["reject", "allow"]))
def test_no_declaration_is_anything_but_bytes_or_one_error(qubes, purge, unknown):
    said(refuse_secrets, qubes)
    said(refuse_unsendable, qubes)
    if said(declare, qubes, purge, "inherit", unknown, lambda key, value: "") is None:
        for wanted in declare(qubes, purge, "inherit", unknown, lambda key, value: "").values():
            assert all(value is None or isinstance(value, bytes) for value in wanted.keys.values())


STORED = st.one_of(st.binary(max_size=12), st.sampled_from([text.encode() for text in KEYS.values()]))
FOUND = st.dictionaries(st.sampled_from(sorted(KEYS)), STORED, max_size=8)


@examples(400)
@given(FOUND, FOUND, st.lists(st.sampled_from(sorted(_interface.DIRECTORIES)), max_size=2))
def test_what_a_plan_changes_is_all_that_differs(goal, found, purge):
    wanted = Wanted(dict(goal), tuple(purge))
    changes = plan("work", wanted, Snapshot(found))
    after = dict(found)
    for change in changes:
        assert after.get(change.key) == change.before
        after[change.key] = change.after
    after = {key: value for key, value in after.items() if value is not None}
    assert {**after, **goal} == after
    assert [key for key in after if key.startswith(tuple(purge)) and key not in goal] == []
    assert not [change for change in plan("work", wanted, Snapshot(after)) if change.before != change.after]
    entry = diff("work", "file", changes)
    assert all(line == escape(line) for text in entry.values() for line in text.split("\n"))


@examples(300)
@given(FOUND, st.booleans())
def test_whatever_a_qube_holds_is_reported(found, raw):
    told = report(Snapshot(found), _selection.DOCUMENTED, raw)
    assert all(escape(each["value"]) == each["value"] and escape(each["reason"]) == each["reason"] for each in told["invalid"].values())
    # In no place is what another key has put there.
    for key in found:
        assert (key in told["invalid"]) == (said(_interface.decode, key, found[key]) is not None)


@examples(500)
@given(VALUES)
def test_whatever_is_shown_is_harmless_and_short(value):
    shown = show(value)
    assert shown == escape(shown)
    assert len(shown) < 3000


# -- documents --

UNICODE = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)
PIECES = ["work", ": ", ":", "- ", "\n", "\n  ", "\n    ", "{", "}", "[", "]", ", ", "&a ", "&b ", "*a", "*b", "<<: ", "<<", "'", '"', "|\n", ">-\n", "? ", "#",
          "!unsafe ", "!vault ", "!!int ", "!!float ", "!!binary ", "!!timestamp ", "!!set ", "!!str ", "!!merge ", "!!null ", "!!bool ",
          "!x", "!", "%YAML 1.1\n", "---\n", "...\n",
          "~", "null", "yes", "no", "12:30", "1:59:59.5", "0x1f", "0b1", "0o7", "017", "1e3", "1.0e+400", ".inf", "-.inf", ".nan", "NaN", "Infinity",
          "-Infinity", "2026-01-01", "2026-13-45", "2001-12-14t21:59:43.10-05:00", "=", "\t", " ", "\\", "\\ud800", "\\u0000", "\\x1b", "true", "1",
          "-1", "1.5", "@", "`", "qubes-ip", "vm-config/x",
          "base64", "é", "\x85", "\u2028", "\ufeff", "\U0001f600", "9" * 70, "x" * 70]
DOCUMENTS = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=14).map("".join),
    st.lists(st.one_of(st.sampled_from(PIECES), HOSTILE_TEXT), max_size=8).map("".join),
    st.tuples(st.sampled_from(["work: {", "{work: ", "a: &a {x: y}\nwork: ", '{"work": ', "- "]), st.lists(st.sampled_from(PIECES), max_size=8).map("".join),
              st.sampled_from(["", "}", "]", '"', "'", "\n"])).map("".join),
)


def read_both_ways(text, decrypt=None):
    """What both of PyYAML's parsers make of the text: the data, or None and the message."""
    found = []
    for parser in ("CSafeLoader", None):
        with pytest.MonkeyPatch.context() as patch:
            if parser is None:
                patch.delattr(yaml, "CSafeLoader")
            message = said(parse, text, "src", decrypt)
            found.append((None if message else parse(text, "src", decrypt), message))
    return found


@examples(1200)
@given(DOCUMENTS)
def test_no_document_is_anything_but_data_or_an_error(text):
    (data, message), (other, its_message) = read_both_ways(text, lambda cipher: cipher)
    # They differ in what they take; never in what that means.
    if not message and not its_message:
        assert data == other
    if isinstance(data, dict):
        said(declare, data, (), "inherit", "allow", lambda key, value: "")


@examples(300)
@given(st.one_of(st.binary(max_size=60), st.tuples(DOCUMENTS, st.sampled_from(["utf-8", "utf-16", "utf-32-be"])).map(
    lambda written: written[0].encode(written[1], "surrogatepass"))))
def test_no_bytes_of_a_file_are_anything_but_a_declaration_or_an_error(data):
    if said(from_bytes, data, "qubes.yml") is None:
        assert isinstance(from_bytes(data, "qubes.yml"), dict)


@examples(300)
@given(st.dictionaries(UNICODE, st.dictionaries(UNICODE, UNICODE, max_size=3), max_size=3))
def test_what_is_written_is_read_as_it_was(data):
    for write in (write_json, write_yaml):
        for found, message in read_both_ways(write(data)):
            assert message is None
            assert found == data
