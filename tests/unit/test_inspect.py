# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What keys_info makes of what a qube holds."""

from __future__ import annotations

import base64

import pytest
from ansible_collections.qubes.vmconfig.plugins.module_utils import _interface
from ansible_collections.qubes.vmconfig.plugins.module_utils._inspect import plain, report
from ansible_collections.qubes.vmconfig.plugins.module_utils._selection import select
from ansible_collections.qubes.vmconfig.plugins.module_utils._plan import Snapshot
from unitdata import HOSTILE, load

KEYS = load("keys.yml")
CASES = load("inspect.yml")
EVERYTHING = select(["*"])
GARBAGE = [
    b"", b"\xff\xfe", b"\0", b"x" * 4000, b"{{ lookup('pipe', 'id') }}", b"../../etc/passwd", b"-1", b"9" * 5000,
    "".join(HOSTILE.values()).encode("utf-8", "surrogateescape"),
]


def reported(values, denied=(), raw=False):
    exact = {key: value if isinstance(value, bytes) else value.encode("utf-8") for key, value in values.items()}
    return report(Snapshot(exact, frozenset(denied)), EVERYTHING, raw)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_config(case):
    result = reported(case["values"], case.get("denied", ()))
    assert result["config"] == case["config"]
    assert sorted(result["invalid"]) == sorted(case.get("invalid", []))
    assert result["denied"] == sorted(case.get("denied", []))
    assert "raw" not in result


def test_every_key_has_its_place_in_one_tree():
    result = reported(KEYS)
    assert result["invalid"] == {}
    for key in KEYS:
        assert leaf(result["config"], key) is not None


def leaf(config, key):
    """What stands where a key's row says."""
    found = _interface.known(key)
    parts = iter(found.parts)
    for level in found.row.place.split("."):
        config = config[next(parts) if level == "*" else level]
    return config


@pytest.fixture(name="good", scope="module")
def report_of_good_values():
    return reported(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_garbage_in_one_key_raises_nothing_and_harms_no_other(good, key):
    for garbage in GARBAGE:
        found = reported({**KEYS, key: garbage})
        assert set(found["invalid"]) <= {key}
        for wrong in found["invalid"].values():
            assert wrong["value"].isprintable()
            assert len(wrong["value"]) < 3200
            assert wrong["reason"].startswith("expected ")
        # Everything that does not come from this key is as it was.
        for other in set(KEYS) - {key}:
            if not isinstance(leaf(good["config"], other), dict):
                assert leaf(found["config"], other) == leaf(good["config"], other)


@pytest.mark.parametrize("key", [key for key in KEYS if not _interface.free(key)])
def test_garbage_in_a_typed_key_is_invalid(key):
    for garbage in [b"\xff\xfe", b"\0", b"{{ lookup('pipe', 'id') }}", b"../../etc/passwd", "".join(HOSTILE.values()).encode("utf-8", "surrogateescape")]:
        assert key in reported({key: garbage})["invalid"]


def test_raw_is_every_key_exactly():
    values = {"vm-config/x": b"\x1b[2J\n", "vm-config/y": b"\xff", "not-in-the-table": b"{{ 1 }}", "qubes-ip": b"nonsense"}
    raw = reported(values, raw=True)["raw"]
    assert raw == {"vm-config/x": "\x1b[2J\n", "vm-config/y": {"base64": "/w=="}, "not-in-the-table": "{{ 1 }}", "qubes-ip": "nonsense"}


@pytest.mark.parametrize("data", GARBAGE, ids=lambda data: repr(data[:12]))
def test_plain_loses_nothing(data):
    found = plain(data)
    assert (base64.b64decode(found["base64"]) if isinstance(found, dict) else found.encode("utf-8")) == data
