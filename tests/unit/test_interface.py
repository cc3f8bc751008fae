# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of keys."""

from __future__ import annotations

import re

import pytest
from ansible_collections.qubes.vmconfig.plugins.module_utils import _interface, _selection
from ansible_collections.qubes.vmconfig.plugins.module_utils._errors import Refused
from ansible_collections.qubes.vmconfig.plugins.module_utils._forms import Malformed
from unitdata import HOSTILE, load

KEYS = load("keys.yml")
CASES = load("interface.yml")
TYPED = [key for key in KEYS if not _interface.free(key)]


# -- every key has its row, and every row a key --


@pytest.mark.parametrize("key", KEYS)
def test_every_key_of_the_interface_is_known(key):
    found = _interface.known(key)
    assert found == _interface.find(key)
    # The capitals of the row's name, replaced by what stood for them, give the key again.
    parts = iter(found.parts)
    assert "/".join(next(parts) if word in _interface.PARTS else word for word in found.row.name.split("/")) == key


def test_every_row_is_a_key_of_the_interface():
    assert {row.name for row in _interface.ROWS} == {_interface.known(key).row.name for key in KEYS}


def test_no_row_is_there_twice():
    names = [name for row in _interface.ROWS for name in (row.name, *row.aliases)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("key", KEYS)
def test_its_value_is_decoded_and_stored_again_as_it_was(key):
    text = KEYS[key]
    row = _interface.known(key).row
    row.decode(text.encode("utf-8"))
    assert row.encode(text) == text.encode("utf-8")


@pytest.mark.parametrize("key", KEYS)
def test_empty_is_taken_exactly_where_the_row_says_so(key):
    row = _interface.known(key).row
    if row.empty:
        assert row.encode("") == b""
        assert row.decode(b"") == ""
    else:
        with pytest.raises(Malformed, match="null removes"):
            row.encode("")


@pytest.mark.parametrize("key", TYPED)
def test_no_typed_key_lets_a_hostile_character_through(key):
    text = KEYS[key]
    row = _interface.known(key).row
    for name, hostile in HOSTILE.items():
        for place in range(len(text) + 1):
            with pytest.raises(Malformed):
                row.decode((text[:place] + hostile + text[place:]).encode("utf-8", "surrogateescape"))
                pytest.fail("%s at %d" % (name, place))


# -- names --


@pytest.mark.parametrize("name, key", CASES["same"].items())
def test_a_name_may_be_written_in_other_ways(name, key):
    assert _interface.normal(name) == key


@pytest.mark.parametrize("name", CASES["no_names"], ids=repr)
def test_what_cannot_be_a_name_is_refused(name):
    with pytest.raises(Refused):
        _interface.normal(name)


@pytest.mark.parametrize("name", CASES["known"])
def test_names_up_to_their_limit(name):
    assert _interface.known(name)


@pytest.mark.parametrize("name, expected", CASES["not_known"].items())
def test_names_beyond_their_limit_say_what_was_expected(name, expected):
    assert _interface.find(name) is None
    with pytest.raises(Refused, match=re.escape(expected)):
        _interface.known(name)


@pytest.mark.parametrize("name, suggested", CASES["suggestions"].items())
def test_the_nearest_name_is_suggested(name, suggested):
    assert _interface.suggest(name)[:1] == [suggested]
    with pytest.raises(Refused, match="did you mean %s" % suggested):
        _interface.known(name)


@pytest.mark.parametrize("name", CASES["nothing_near"])
def test_nothing_is_suggested_where_nothing_is_near(name):
    assert _interface.suggest(name) == []
    with pytest.raises(Refused, match="not in the interface; set unknown: allow"):
        _interface.known(name)


@pytest.mark.parametrize("key", [key for key in KEYS if "/" not in key and len(key) > 8])
def test_a_letter_too_few_finds_the_key(key):
    assert key in _interface.suggest(key[:-1]) or _interface.find(key[:-1])


# -- the tree that a key's value is put into --


def levels():
    return sorted({level for row in _interface.ROWS for level in row.place.split(".")} - {"*"})


@pytest.mark.parametrize("level", levels() + CASES["results"])
def test_nothing_that_we_name_is_a_method_of_a_dict(level):
    # {{ result.keys }} in Jinja would be the method.
    assert not hasattr({}, level)


def test_no_two_rows_have_one_place():
    places = [row.place for row in _interface.ROWS]
    assert len(places) == len(set(places))


def test_a_place_has_a_star_for_each_of_the_capitals():
    for row in _interface.ROWS:
        assert row.place.split(".").count("*") == len([word for word in row.name.split("/") if word in _interface.PARTS]), row.name


# -- directories and selections --


def test_directories():
    assert _interface.DIRECTORIES == set(CASES["directories"])


@pytest.mark.parametrize("name, directory", CASES["as_directory"].items())
def test_a_directory_is_given_with_or_without_its_slash(name, directory):
    assert _interface.directory(name) == directory


@pytest.mark.parametrize("name", CASES["no_directories"], ids=repr)
def test_what_cannot_be_a_directory_is_refused(name):
    with pytest.raises(Refused):
        _interface.directory(name)


@pytest.mark.parametrize("case", CASES["selections"], ids=lambda case: " ".join(case["names"]))
def test_what_a_selection_matches(case):
    selection = _selection.select(case["names"])
    for key in case["matches"]:
        assert selection.matches(key), key
        # A store that descends must come to it.
        for depth in range(1, key.count("/") + 1):
            assert key in selection.exact or selection.may_hold("/".join(key.split("/")[:depth]) + "/")
    for key in case["not"]:
        assert not selection.matches(key), key


def test_what_cannot_be_selected_is_refused():
    with pytest.raises(Refused):
        _selection.select(["qubes-timezone", ""])


@pytest.mark.parametrize("key", KEYS)
def test_the_documented_selection_is_every_key_but_the_secrets(key):
    assert _selection.DOCUMENTED.matches(key) == (key not in _interface.SECRETS)


def test_the_secrets():
    assert _interface.SECRETS == {"qubes-random-seed"}


# -- who owns a key, and how long a write lasts --


def test_the_columns_say_only_what_they_may():
    for row in _interface.ROWS:
        assert row.owner in ("dom0", "vm"), row.name
        assert row.lasts in ("until_restart", "until_netvm_change"), row.name
        assert row.effective in ("now", "restart"), row.name
        assert re.fullmatch("R[1-4](\\.[0-9])?", row.since), row.name
        assert row.meaning and row.present, row.name


@pytest.mark.parametrize("key", CASES["protected"])
def test_protected_keys(key):
    assert _interface.known(key).row.protected


@pytest.mark.parametrize("key", CASES["not_protected"])
def test_keys_that_anybody_may_set(key):
    assert not _interface.known(key).row.protected
