# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Exceptions by the names that qubesd gives them; as in the real package, one class is the base of all."""

from __future__ import annotations


class QubesException(Exception):
    """Whatever qubesd says no with."""


def named(name: str) -> type:
    """The class of this name."""
    return type(name, (QubesException,), {})
