# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Test data: what a reader can add to without code."""

from __future__ import annotations

import os

import yaml

# Characters that a terminal acts on or that end a line, one of each sort. No form but free text lets one through.
HOSTILE = {
    "NUL": "\0",
    "bell": "\a",
    "ESC": "\x1b",
    "DEL": "\x7f",
    "file separator": "\x1c",
    "C1 next line": "\x85",
    "C1 CSI": "\x9b",
    "zero width": "\u200b",
    "bidi override": "\u202e",
    "bidi isolate": "\u2067",
    "line separator": "\u2028",
    "paragraph separator": "\u2029",
    "byte order mark": "\ufeff",
    "surrogate": "\udc9b",
    "private": "\ue000",
    "tag": "\U000e0041",
}


def load(name):
    """The data of one of the YAML files beside this one."""
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), name), encoding="utf-8") as stream:
        return yaml.safe_load(stream)
