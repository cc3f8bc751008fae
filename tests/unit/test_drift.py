# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is set against what is seen: drift.yml."""

from __future__ import annotations

import pytest
from ansible_collections.qubes.vmconfig.plugins.module_utils._drift import drift
from unitdata import load


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in load("drift.yml")])
def test_drift(case):
    settings = {"raw": case["set"], "denied": case.get("denied", []), **{name: case[name] for name in ("untold", "defaults") if name in case}}
    found = {entry["key"]: entry for entry in drift(settings, {"raw": case["seen"], "denied": []})}
    assert {key: [entry["seen"], entry["should"]] for key, entry in found.items()} == {key: told[:2] for key, told in case["told"].items()}
    for key, (_shown, _should, why) in case["told"].items():
        assert why in found[key]["reason"]
