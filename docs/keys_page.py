# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes docs/keys.md from the interface table, to standard output. Wants PYTHONPATH to hold the collection."""

from __future__ import annotations

from typing import Iterator

from ansible_collections.qubes.vmconfig.plugins.module_utils import _interface
from ansible_collections.qubes.vmconfig.plugins.module_utils._interface import PARTS, ROWS, Row

HEAD = """# The keys

Made from the table in `plugins/module_utils/_interface.py` by `docs/keys_page.py`; change it there.

A key is written without the leading slash, which is accepted. *config* is where `keys_info` puts the typed value. *Setting*
is what lasts behind the key on Qubes R4. *Lasts* is how long a write into QubesDB does. *Effective* is when the qube takes
notice of a change. A secret is never shown, and can only be removed. What is protected needs `force` on QubesDB.

`qubes-block-devices` and `qubes-usb-devices` are keys of dom0, always empty, and the directories in which the qube lists its
devices: `qubes-block-devices` names the key alone, `qubes-block-devices/*` and a `purge` of `qubes-block-devices/` what is in
the directory and not the key. XenStore cannot tell an empty key from a directory, so there neither is reported.

A zone is checked for its form alone when it is declared: one that is misspelled is found by the role `timezone`, on the machine whose
zoneinfo has to have it.

| key | is | form | config | releases | there | written by | setting | lasts | effective |
|---|---|---|---|---|---|---|---|---|---|
"""
TAIL = """
In a key's name

"""


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def line(row: Row) -> str:
    meaning = row.meaning + ("; a secret" if row.secret else "") + ("; protected" if row.protected else "")
    form = row.form.expected + (", or nothing" if row.empty and row.form.expected != "nothing" else "")
    releases = "%s to %s" % (row.since, row.until) if row.until and row.until != row.since else row.since + ("" if row.until else " on")
    key = "`%s`" % row.name + "".join(" (also `%s`)" % alias for alias in row.aliases)
    place = "" if row.secret else "`%s`" % row.place
    cells = (key, meaning, form, place, releases, row.present, row.owner, str(row.setting), row.lasts.replace("_", " "), row.effective)
    return "| %s |" % " | ".join(map(cell, cells))


def page() -> Iterator[str]:
    yield HEAD
    for row in ROWS:
        yield line(row) + "\n"
    yield TAIL
    for word, part in PARTS.items():
        yield "* `%s` is %s.\n" % (word, part.expected)
    yield "\nDirectories, for `purge`: %s.\n" % ", ".join("`%s`" % directory for directory in sorted(_interface.DIRECTORIES))


if __name__ == "__main__":
    print("".join(page()), end="")
