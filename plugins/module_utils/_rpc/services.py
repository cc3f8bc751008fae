# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""What services are called and what they are told: names, arguments and standard input. Pure."""

from __future__ import annotations

import base64
import calendar
import re
import time
from typing import Any, Optional, Sequence

from .. import _interface
from .._errors import Refused
from .._text import show

LONGEST = 65000
"""Characters of a service with its argument, from Qubes R4.1 on."""

GUI_MODES = {"fullscreen": b"FULLSCREEN", "seamless": b"SEAMLESS"}

_SERVICE = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}"
_ARGUMENT = r"[A-Za-z0-9_.+-]*"
_SPECIAL = r"[@$](?:adminvm|default|dispvm(?::[A-Za-z][A-Za-z0-9_.-]{0,30})?)"
_DATE = r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:Z|\+00:?00)"


def check_qube(qube: str, special: bool) -> None:
    """``Refused`` for what is no target of a call. It is an argument of a program."""
    if not re.fullmatch(_interface.QUBE.pattern, qube) and not (special and re.fullmatch(_SPECIAL, qube)):
        raise Refused("qube %s: expected %s%s" % (show(qube), _interface.QUBE.expected, ", or @adminvm, @default or @dispvm" if special else ""))


def check_user(user: Optional[str]) -> None:
    if user is not None and (not re.fullmatch(_interface.USER.pattern, user) or user.startswith("-")):
        raise Refused("user %s: expected %s" % (show(user), _interface.USER.expected))


def name(service: str, arguments: Sequence[Any]) -> str:
    """A service with its argument, of which there is one: the parts are joined with ``+``."""
    base, plus, rest = service.partition("+")
    if not re.fullmatch(_SERVICE, base):
        raise Refused("service %s: expected letters, digits and _ . -, such as qubes.GetDate" % show(service))
    parts = [rest] if plus else []
    for part in [*parts, *arguments]:
        if not isinstance(part, str) or not re.fullmatch(_ARGUMENT, part):
            raise Refused("the argument %s of service %s: expected text of letters, digits and _ . + -, for qrexec passes on nothing else; "
                          "what else there is goes to stdin, or use exec" % (show(part), base))
    return _not_too_long("+".join([base, *parts, *arguments]))


def vmexec(command: Sequence[Any]) -> str:
    """The service that runs a command in a qube: each byte that qrexec would not pass on is written as its number."""
    parts = [_bytes(part) for part in command]
    if not parts or not parts[0]:
        raise Refused("exec: expected a command and its arguments")
    return _not_too_long("qubes.VMExec+" + "+".join(_escaped(part) for part in parts))


def _bytes(part: Any) -> bytes:
    if isinstance(part, dict) and set(part) == {"base64"}:
        data = from_base64(part["base64"], "exec")
    elif isinstance(part, str):
        data = part.encode("utf-8", "surrogateescape")
    else:
        raise Refused("exec: the argument %s is no text; quote it, or give its bytes as {base64: ...}" % show(part))
    if b"\0" in data:
        raise Refused("exec: the argument %s has a NUL, which no program can be given" % show(data))
    return data


def from_base64(text: Any, option: str) -> bytes:
    """The bytes of an option; base64 may be broken into lines."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (AttributeError, ValueError):
        raise Refused("%s is not base64" % option) from None


def _escaped(data: bytes) -> str:
    return re.sub(rb"[^A-Za-z0-9_.]", lambda found: b"--" if found.group() == b"-" else b"-%02X" % ord(found.group()), data).decode("ascii")


def _not_too_long(service: str) -> str:
    if len(service) > LONGEST:
        raise Refused("service %s: %d characters, and qrexec takes %d" % (show(service), len(service), LONGEST))
    return service


def date_line(seconds: float) -> bytes:
    """The standard input of ``qubes.SetDateTime``."""
    return (shown_date(seconds) + "\n").encode("ascii")


def shown_date(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(seconds))


def parse_date(text: str) -> float:
    """The time that ``qubes.GetDate`` told, in seconds since the epoch."""
    found = re.fullmatch(_DATE, text)
    try:
        if found:
            return float(calendar.timegm(time.strptime(found.group(1), "%Y-%m-%dT%H:%M:%S")))
    except ValueError:
        pass
    raise Refused("%s is no time; expected UTC, such as 2026-11-28T12:00:00+00:00" % show(text))
