# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What lasts behind a key, and how it is written there: settings.yml."""

from __future__ import annotations

import pytest
from ansible_collections.qubes.vmconfig.plugins.module_utils import _interface
from ansible_collections.qubes.vmconfig.plugins.module_utils._settings import Computed, Unsettable
from unitdata import load

CASES = load("settings.yml")


def each(group):
    return [pytest.param(key, *case, id="%s %r" % (key, case[0])) for key, cases in CASES[group].items() for case in cases]


@pytest.mark.parametrize("key, value, text, again", each("same"))
def test_what_is_set_is_read_again(key, value, text, again):
    setting = _interface.setting(key)
    assert setting.text(value.encode()) == text
    assert setting.value(text) == again.encode()
    # What is read is the one form of all that mean the same.
    assert setting.value(setting.text(again.encode())) == again.encode()


@pytest.mark.parametrize("key, text, value", each("read"))
def test_what_others_set(key, text, value):
    assert _interface.setting(key).value(text) == value.encode()


@pytest.mark.parametrize("key, value, why", each("not_set"))
def test_what_cannot_be_set(key, value, why):
    with pytest.raises(Unsettable, match=why):
        _interface.setting(key).text(value.encode())


@pytest.mark.parametrize("row", _interface.ROWS, ids=lambda row: row.name)
def test_every_row_has_a_setting_or_says_what_computes_it(row):
    assert isinstance(row.setting, Computed) == (not row.setting.kind)
    if row.setting.kind:
        assert row.setting.text(None) is None
        assert row.setting.value(None) is None
    else:
        with pytest.raises(Unsettable, match="no setting"):
            row.setting.text(None)
