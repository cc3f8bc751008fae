# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of the keys is what the table makes of it."""

from __future__ import annotations

import pathlib
import runpy

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def test_the_page_is_made_from_the_table():
    page = runpy.run_path(str(ROOT / "docs" / "keys_page.py"))["page"]
    written = (ROOT / "docs" / "keys.md").read_text()
    assert written == "".join(page()), "run: python docs/keys_page.py > docs/keys.md"
