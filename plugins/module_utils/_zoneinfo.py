# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""Which time zones a machine has, told from its zoneinfo. Standard library alone, as it also runs at each start."""

from __future__ import annotations

import os
import re
import stat
from typing import Optional

from ._files import read_file

ZONEINFO = "usr/share/zoneinfo"

_EXPECTED = "expected a zone of the Olson database, such as Europe/Warsaw"
_NAME = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")
# They are in zoneinfo, and none of them is a place. right/ counts leap seconds, so that the clock of who takes it is wrong by half a minute.
_SET_ASIDE = re.compile(r"(localtime|posixrules|Factory)|(posix|right)/.*")
# What a compiled zone begins with, and how long its header is.
_MAGIC, _HEADER = b"TZif", 44
# The largest zone has 4 KiB, the list of all names 110.
_LARGEST, _LARGEST_LIST = 1 << 20, 4 << 20
_MOST_LINKS = 40


def objection(root: str, zone: str, family: str = "") -> str:
    """Why ``zone`` is not to be set below ``root``, with what was expected; empty where it is good.

    A root without a zoneinfo of its own is measured by the machine's. No link is followed that leads out of zoneinfo, as Debian's ``localtime`` does.
    """
    if _SET_ASIDE.fullmatch(zone):
        return "it is in zoneinfo, and is no zone that a machine is set to; %s" % _EXPECTED
    own = os.path.lexists(os.path.join(root, ZONEINFO))
    folder = _inside(root, ZONEINFO, "/") if own else os.path.join("/", ZONEINFO)
    if folder is None:
        return "/%s is a link that leads out of %s" % (ZONEINFO, root)
    path = _inside(folder, zone, "/%s/" % ZONEINFO) if _NAME.fullmatch(zone) else None
    if path is not None and _is_compiled(path):
        return ""
    where = os.path.join(root if own else "/", ZONEINFO)
    if family == "Debian" and _is_known(folder, zone):
        return "%s has no such zone: it is an old name, which is in the package tzdata-legacy; install that, or use the new name" % where
    if not os.path.isdir(folder):
        return "there is no %s; install tzdata" % where
    return "there is no such zone in %s; %s" % (where, _EXPECTED)


def _inside(folder: str, path: str, own: str) -> Optional[str]:
    """Where a path below the folder leads when each link is followed; None where one leads out. The folder's own links begin with ``own``."""
    at, todo, links = [], path.split("/")[::-1], 0
    while todo:
        name = todo.pop()
        if name in ("", "."):
            continue
        if name == "..":
            if not at:
                return None
            at.pop()
            continue
        at.append(name)
        try:
            target = os.readlink(os.path.join(folder, *at))
        except OSError:
            # It is no link, or is not there.
            continue
        links += 1
        if links > _MOST_LINKS:
            return None
        at.pop()
        if target.startswith("/"):
            if not target.startswith(own):
                return None
            at, target = [], target[len(own):]
        todo += target.split("/")[::-1]
    return os.path.join(folder, *at)


def _is_compiled(path: str) -> bool:
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return False
        found = read_file(path, _LARGEST)
    except OSError:
        return False
    return found.startswith(_MAGIC) and len(found) >= _HEADER


def _is_known(folder: str, zone: str) -> bool:
    """Whether the list of all names has it, which is there also where the zone is not: ``Z NAME ...``, or ``L OTHER NAME``."""
    path = _inside(folder, "tzdata.zi", "/%s/" % ZONEINFO)
    try:
        found = read_file(path, _LARGEST_LIST) if path else b""
    except OSError:
        return False
    return bool(re.search(br"(?m)^(?:Z|L \S+) %s(?: |$)" % re.escape(zone.encode("utf-8", "replace")), found))
