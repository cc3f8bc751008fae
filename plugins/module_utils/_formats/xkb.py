# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The files of the keyboard."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, Tuple

from .base import MANAGED, File, Machine, Read
from .console import VCONSOLE, vconsole_conf
from .variables import TEXT, Variable

MODEL = "pc105"
KEYMAP = "/etc/X11/qubes-keymap.xkb"

_KEYS = ("keyboard-layout", "qubes-keyboard")
VARIABLES = {
    "model": Variable(TEXT),
    "keymap": Variable(TEXT, _KEYS, "qubes-keyboard"),
    **dict.fromkeys(["layout", "variant", "options"], Variable(TEXT, _KEYS)),
}


def wanted(config: Mapping[str, Any]) -> Dict[str, Any]:
    """The role's variables, from the ``config`` of keys_info. What they come to on a machine, and the keymap, are for ``_xkb`` to say."""
    keyboard = config.get("keyboard", {})
    # keyboard-layout replaced qubes-keyboard in R4.1.
    keymap = "" if "layout" in keyboard else keyboard.get("keymap", "")
    return {"model": MODEL, "keymap": keymap, **{name: keyboard.get(name, "") for name in ("layout", "variant", "options")}}


def held(values: Mapping[str, Any]) -> List[Tuple[str, str]]:
    """The key that would hold several of the variables, and what it would hold."""
    return [("keyboard-layout", "+".join([values["layout"], values["variant"], values["options"]]) if values["layout"] else "")]


def files(values: Mapping[str, Any], family: str, machine: Machine) -> List[File]:
    """What the role writes on such a machine. The keymap is the text of its file, where there is to be one."""
    found = []
    if values["layout"]:
        if family == "Debian":
            found.append(_file("/etc/default/keyboard", MANAGED + default_keyboard(values)))
        else:
            found.append(File(VCONSOLE, made=lambda read: vconsole_conf(values, read), protected_by=VCONSOLE))
        found.append(_file("/etc/X11/xorg.conf.d/00-keyboard.conf", MANAGED + keyboard_conf(values)))
    if values["keymap"]:
        found.append(_file(KEYMAP, values["keymap"]))
    return found


def _file(dest: str, text: str) -> File:
    return File(dest, text, protected_by=dest)


def default_keyboard(values: Mapping[str, Any]) -> str:
    """See keyboard(5)."""
    return """\
# See keyboard(5).
XKBMODEL="%(model)s"
XKBLAYOUT="%(layout)s"
XKBVARIANT="%(variant)s"
XKBOPTIONS="%(options)s"

BACKSPACE="guess"
""" % values


def keyboard_conf(values: Mapping[str, Any]) -> str:
    """A section of xorg.conf(5)."""
    options = [("XkbModel", "model"), ("XkbLayout", "layout"), ("XkbVariant", "variant"), ("XkbOptions", "options")]
    lines = ['Identifier "system-keyboard"', 'MatchIsKeyboard "on"', *['Option "%s" "%s"' % (option, values[name]) for option, name in options]]
    return 'Section "InputClass"\n%sEndSection\n' % "".join(["\t%s\n" % line for line in lines])


def _of_seen(make: Callable[[Mapping[str, Any], Read], str]) -> Callable[..., str]:
    """The same for the filter, with the files as lines of ``PATH:TEXT``, as grep prints them."""
    def text(values: Mapping[str, Any], seen: str = "") -> str:
        found: Dict[str, List[str]] = {}
        for line in seen.split("\n"):
            path, dummy, rest = line.partition(":")
            found.setdefault(path, []).append(rest + "\n")
        return make(values, lambda path: "".join(found.get(path, [])))
    return text


TEXTS: Dict[str, Callable[..., str]] = {
    "default-keyboard": default_keyboard,
    "00-keyboard.conf": keyboard_conf,
    "vconsole.conf": _of_seen(vconsole_conf),
}
