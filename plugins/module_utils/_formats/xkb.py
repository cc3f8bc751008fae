# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The files of the keyboard."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Mapping

from .base import MANAGED, File, Machine

MODEL = "pc105"

_INCLUDE = re.compile(r'xkb_symbols[^{}]*\{[^{}]*?\binclude\s+"([^"]*)"')
_LAYOUT = re.compile(r"(?P<layout>[a-z][A-Za-z0-9_-]*)(?:\((?P<variant>[A-Za-z0-9_-]+)\))?(?::[1-4])?")
# What stands in every keymap and is no layout: the keys around the letters, and what options add.
_OTHERS = frozenset(["pc", "inet", "group", "ctrl", "compose", "level3", "level5", "capslock", "altwin", "terminate", "keypad",
                     "srvr_ctrl", "shift", "eurosign", "rupeesign", "kpdl", "nbsp", "japan", "numpad", "typo", "parens"])


def wanted(config: Mapping[str, Any]) -> Dict[str, Any]:
    """The role's variables, from the ``config`` of keys_info."""
    keyboard = config.get("keyboard", {})
    # keyboard-layout replaced qubes-keyboard in R4.1.
    keymap = "" if "layout" in keyboard else keyboard.get("keymap", "")
    found = keyboard if "layout" in keyboard else layouts(keymap)
    return {"model": MODEL, "keymap": keymap, **{name: found.get(name, "") for name in ("layout", "variant", "options")}}


def files(values: Mapping[str, Any], family: str, machine: Machine) -> List[File]:
    """What the role writes on such a machine."""
    found = []
    if values["layout"]:
        found += [_file("/etc/default/keyboard", MANAGED + default_keyboard(values)),
                  _file("/etc/X11/xorg.conf.d/00-keyboard.conf", MANAGED + keyboard_conf(values))]
    if values["keymap"]:
        found += [_file("/etc/X11/qubes-keymap.xkb", keymap_xkb(values))]
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
    return """\
Section "InputClass"
	Identifier "system-keyboard"
	MatchIsKeyboard "on"
	Option "XkbModel" "%(model)s"
	Option "XkbLayout" "%(layout)s"
	Option "XkbVariant" "%(variant)s"
	Option "XkbOptions" "%(options)s"
EndSection
""" % values


def keymap_xkb(values: Mapping[str, Any]) -> str:
    """The keymap as the key gives it, else one made of the layouts, for xkbcomp(1)."""
    if values["keymap"]:
        return values["keymap"] + "\n"
    variants = values["variant"].split(",")
    symbols = ["pc"]
    for number, layout in enumerate(values["layout"].split(","), 1):
        variant = variants[number - 1] if number <= len(variants) else ""
        symbols.append(layout + ("(%s)" % variant if variant else "") + (":%d" % number if number > 1 else ""))
    return """\
xkb_keymap {
	xkb_keycodes { include "evdev+aliases(qwerty)" };
	xkb_types { include "complete" };
	xkb_compat { include "complete" };
	xkb_symbols { include "%s+inet(evdev)" };
};
""" % "+".join(symbols)


def layouts(keymap: str) -> Dict[str, str]:
    """The layouts and variants of a keymap, each with commas between."""
    include = _INCLUDE.search(keymap)
    parts = [_LAYOUT.fullmatch(part) for part in re.split(r"[+|]", include.group(1))] if include else []
    found = [part for part in parts if part and part.group("layout") not in _OTHERS]
    variants = [part.group("variant") or "" for part in found]
    return {
        "layout": ",".join([part.group("layout") for part in found]),
        "variant": ",".join(variants) if any(variants) else "",
    }


TEXTS = {"default-keyboard": default_keyboard, "00-keyboard.conf": keyboard_conf, "keymap.xkb": keymap_xkb}
