# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The parts of a keymap, as the rules of XKB name them for a keyboard.

The X tools have one library that reads the rules, and ``setxkbmap -print`` shows what it says. That program does not start without
an X server, which no machine has while it starts; the library does without. As it is written in C, it is called by a process of its own:
this file, run as a program.
"""

from __future__ import annotations

import json
import sys
from typing import Dict, List, Optional, Sequence

try:
    import ctypes
except ImportError:
    ctypes = None  # type: ignore[assignment]

LIBRARY = "libxkbfile.so.1"
NAMES = ("model", "layout", "variant", "options")
PARTS = ("keycodes", "types", "compat", "symbols", "geometry")


def parts(rules: str, keyboards: Sequence[Sequence[str]]) -> Optional[List[Dict[str, str]]]:
    """The parts for each keyboard, which is as NAMES; None without the library, or without the rules."""
    try:
        library = ctypes.CDLL(LIBRARY)
        load, ask = library.XkbRF_Load, library.XkbRF_GetComponents
    except (OSError, AttributeError):
        return None

    class Keyboard(ctypes.Structure):
        """XkbRF_VarDefsRec."""

        _fields_ = [*[(name, ctypes.c_char_p) for name in NAMES], ("allocated", ctypes.c_ushort), ("extra", ctypes.c_ushort),
                    ("extra_names", ctypes.c_void_p), ("extra_values", ctypes.c_void_p)]

    class Parts(ctypes.Structure):
        """XkbComponentNamesRec."""

        _fields_ = [(name, ctypes.c_char_p) for name in ("keymap",) + PARTS]

    load.restype = ctypes.c_void_p
    load.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_int]
    ask.argtypes = [ctypes.c_void_p, ctypes.POINTER(Keyboard), ctypes.POINTER(Parts)]
    loaded = load(rules.encode("utf-8"), b"C", 0, 1)
    if not loaded:
        return None
    found = []
    for keyboard in keyboards:
        told = Parts()
        ask(loaded, Keyboard(*[name.encode("utf-8") or None for name in keyboard]), told)
        found.append({part: (getattr(told, part) or b"").decode("utf-8", "replace") for part in PARTS})
    return found


if __name__ == "__main__":
    json.dump(parts(sys.argv[1], json.load(sys.stdin)), sys.stdout)
