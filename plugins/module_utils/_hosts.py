# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The host name in ``/etc/hosts``, a file of the machine's owner, of which all else stays as it is."""

from __future__ import annotations

import re
from typing import List

from ._tree import Tree

HOSTS = "/etc/hosts"
# Whose lines have the host name, as the agent has it. Where there is no line of that address, it is added with what stands here.
_DEBIAN, _OTHERS = {"127.0.1.1": ""}, {"127.0.0.1": " localhost", "::1": " localhost"}
# What the last name of such a line may be without being a host name of before.
_LOOPBACK = re.compile("(ip6-)?(localhost|loopback)[46]?([.]localdomain[46]?)?")


def hosts(root: str, name: str, family: str) -> str:
    """What the file below ``root`` is to be; empty where there is none. ``VmconfigError`` where it cannot be read, or is not UTF-8."""
    return with_name(Tree(root).read_utf8(HOSTS), name, family)


def with_name(text: str, name: str, family: str) -> str:
    """The text of the file, less that the host name has its place in it. An empty one stays empty."""
    if not text:
        return ""
    lines = text.split("\n")
    for address, names in (_DEBIAN if family == "Debian" else _OTHERS).items():
        of_address = [number for number, line in enumerate(lines) if _fields(line)[:1] == [address]]
        if not of_address:
            # What follows the last newline is no line.
            lines.insert(len(lines) - (not lines[-1]), "%s%s %s" % (address, names, name))
        elif not any(name in _fields(lines[number]) for number in of_address):
            # Others of the address are somebody's own, such as names that are to lead nowhere.
            lines[of_address[0]] = _renamed(lines[of_address[0]], name)
    return "\n".join(lines)


def _fields(line: str) -> List[str]:
    return line.partition("#")[0].split()


def _renamed(line: str, name: str) -> str:
    """The line with the name at the end, where the agent looks for it, in the place of another host name."""
    fields = _fields(line)
    body = line.partition("#")[0].rstrip()
    rest, last = line[len(body):], fields[-1]
    if len(fields) == 1 or _LOOPBACK.fullmatch(last):
        return "%s %s%s" % (body, name, rest)
    return body[:-len(last)] + name + rest
