# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The keyboard of a running X server: what it has, and giving it another."""

from __future__ import annotations

import os
import re
from typing import Dict, Mapping, NamedTuple, Optional

from .._errors import Refused, VmconfigError
from .._text import show
from .making import from_text
from .running import Ran, run

SOCKETS = "/tmp/.X11-unix"

_GEOMETRY = re.compile(r"(?ms)^xkb_geometry .*?^};\n\n?")


class Given(NamedTuple):
    """The server, empty where there is none; whether it gets another keyboard; why it was left as it is."""

    server: str
    changed: bool = False
    left: str = ""


def give(display: str, names: Mapping[str, str], keymap: str, change: bool) -> Given:
    """Gives a server the keymap, else the keyboard of these names, unless it has it; with ``change`` off only says what would be.

    Of ``auto``, the first that has a socket, it is no error that it cannot be asked: a server that was killed leaves its socket.
    """
    if not re.fullmatch("auto|:[0-9]{1,5}([.][0-9]{1,2})?", display):
        raise Refused("the X server %s is none of this machine, such as :0, nor auto" % show(display))
    server = _first() if display == "auto" else display
    if not server:
        return Given("")
    asked = run("xkbcomp", ["-w", "0", "-xkb", server, "-"], "") if keymap else run("setxkbmap", ["-display", server, "-query"], "")
    program = "xkbcomp" if keymap else "setxkbmap"
    if not asked or asked.status:
        why = asked.complaint(program) if asked else "there is no %s here" % program
        if display != "auto":
            raise VmconfigError("the X server %s cannot be asked which keyboard it has: %s" % (server, show(why)))
        return Given(server, left=show(why))
    if _has(asked.output, names, keymap):
        return Given(server)
    if change:
        ran = _give(server, names, keymap)
        if not ran or ran.status:
            raise VmconfigError("the X server %s does not take the keyboard: %s" % (server, show(ran.complaint(program) if ran else "no " + program)))
    return Given(server, changed=True)


def _first() -> str:
    names = os.listdir(SOCKETS) if os.path.isdir(SOCKETS) else []
    numbers = sorted([int(name[1:]) for name in names if re.fullmatch("X[0-9]{1,5}", name)])
    return ":%d" % numbers[0] if numbers else ""


def _has(said: str, names: Mapping[str, str], keymap: str) -> bool:
    if keymap:
        made = from_text(keymap)
        # A server keeps the geometry that it has where a keymap brings none.
        found = said if not made or _GEOMETRY.search(made.whole) else _GEOMETRY.sub("", said)
        return bool(made and made.whole == found)
    queried: Dict[str, str] = dict(re.findall(r"(?m)^(\w+): *(.*)$", said))
    return all(queried.get(name, "") == names[name] for name in ("model", "layout", "variant", "options"))


def _give(server: str, names: Mapping[str, str], keymap: str) -> Optional[Ran]:
    if keymap:
        return run("xkbcomp", ["-w", "0", "-", server], keymap)
    # setxkbmap adds options to those that are set; an empty one first drops them.
    more = ["-option", names["options"]] if names["options"] else []
    return run("setxkbmap", ["-display", server, "-model", names["model"], "-layout", names["layout"], "-variant", names["variant"], "-option", "", *more], "")
