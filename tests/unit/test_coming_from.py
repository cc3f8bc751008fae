# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page for those who come from Qubes' own tools sets what the command beside it sets."""

from __future__ import annotations

import pathlib
import re
import shlex

import pytest
import yaml
from ansible_collections.qubes.vmconfig.plugins.module_utils import _interface

PAGE = pathlib.Path(__file__).resolve().parent.parent.parent / "docs" / "coming-from.md"
ROW = re.compile(r"^\| `(?P<command>qvm-(?:service|features|prefs) [^`]+)` \| `(?P<declared>[a-z-]+(?:/\w+)?: [^`]+)` \|$")
ROWS = [found.groups() for found in map(ROW.match, PAGE.read_text().splitlines()) if found]
OFF = {"--unset", "--default"}


def test_there_are_rows():
    assert len(ROWS) >= 12


@pytest.mark.parametrize("command, declared", ROWS)
def test_the_key_has_the_setting_of_the_command(command, declared):
    program, *words = shlex.split(command)
    gone = bool(OFF & set(words))
    name, *values = [word for word in words if word not in OFF and word != "work"]
    if program == "qvm-service":
        name, values = "service." + name, [{"on": "1", "off": ""}[value] for value in values]
    (key, value), = yaml.safe_load(declared).items()
    kind = "property" if program == "qvm-prefs" else "feature"
    setting = _interface.setting(key)
    assert (setting.kind, _interface.setting_name(key)) == (kind, name)
    if name == "anon-timezone":
        # Its presence removes the key.
        assert value is None
        return
    assert (value is None) == gone
    if not gone:
        assert setting.text(_interface.known(key).row.encode(value)) == values[0]
