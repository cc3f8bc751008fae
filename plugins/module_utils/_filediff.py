# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""Changes of files as Ansible shows differences, with nothing in them that a terminal would act on."""

from __future__ import annotations

import grp
import hashlib
import pwd
from typing import Any, Callable, Dict, List

from ._placing import Change, State
from ._text import escape, escape_lines

_MOST_SHOWN = 100000


def difference(change: Change) -> Dict[str, str]:
    """One entry of what a task returns as ``diff``."""
    dummy, before, after = change
    names = [name for name in ("mode", "owner", "group") if before.kind == after.kind == "file" and getattr(before, name) != getattr(after, name)]
    name = escape(change.dest)
    return {"before_header": name, "before": _shown(before, names), "after_header": name, "after": _shown(after, names)}


def _shown(state: State, names: List[str]) -> str:
    if not state.kind:
        return ""
    if state.kind == "dir":
        return "a directory\n"
    if state.kind != "file":
        return "a symbolic link to %s\n" % escape(state.target)
    forms: Dict[str, Callable[[Any], str]] = {"mode": "0%o".__mod__, "owner": _user, "group": _group}
    head = "".join(["%s: %s\n" % (name, forms[name](getattr(state, name))) for name in names])
    if state.too_many:
        return head + "(%d bytes)\n" % state.too_many
    text = state.content.decode("utf-8", "surrogateescape")
    if len(text) > _MOST_SHOWN:
        return head + "(%d bytes, sha256 %s)\n" % (len(state.content), hashlib.sha256(state.content).hexdigest())
    return head + escape_lines(text)


def _user(number: int) -> str:
    try:
        return escape(pwd.getpwuid(number).pw_name)
    except KeyError:
        return str(number)


def _group(number: int) -> str:
    try:
        return escape(grp.getgrgid(number).gr_name)
    except KeyError:
        return str(number)
