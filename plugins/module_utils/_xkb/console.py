# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The keyboard of a console, as systemd-localed keeps it in vconsole.conf(5)."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Sequence, Tuple

from .._tree import Tree

VCONSOLE = "/etc/vconsole.conf"
CONSOLE_KEYMAPS = "/usr/share/systemd/kbd-model-map"
# Where keymaps for the console may be that were made of those for X.
CONVERTED = tuple(folder + "/keymaps/xkb/" for folder in ("/usr/lib/kbd", "/usr/share/kbd", "/usr/share"))
_OURS = ("KEYMAP", "XKBLAYOUT", "XKBMODEL", "XKBVARIANT", "XKBOPTIONS")
# Of how much two lists of layouts are alike, the most.
_SAME = 3


def console(names: Mapping[str, str], tree: Tree) -> Dict[str, Any]:
    """``kept``: the lines of the file that say nothing of the keyboard; ``keymap``: the console's, empty where none is found for the keyboard.

    ``Refused`` where the file is not UTF-8.
    """
    return {"kept": _kept(tree), "keymap": _keymap(names, tree)}


def _kept(tree: Tree) -> List[str]:
    return [line for line in tree.read_utf8(VCONSOLE).split("\n") if line and line.partition("=")[0].strip() not in _OURS]


def _keymap(names: Mapping[str, str], tree: Tree) -> str:
    """Found where systemd-localed finds it."""
    entries = [line.split() for line in tree.read(CONSOLE_KEYMAPS).split("\n") if not line.startswith("#")]
    ranked = [(_likeness(names, entry[1:5]), entry[0]) for entry in entries if len(entry) >= 5]
    # Of several that are equally like it, the first.
    likeness, best = max(ranked, key=lambda each: each[0], default=((0,), ""))
    converted = [names["layout"] + "-" + names["variant"], names["layout"].partition(",")[0] + "-" + names["variant"].partition(",")[0]]
    for name in converted if likeness[0] < _SAME else converted[:1]:
        if any(tree.exists(folder + name.rstrip("-") + suffix) for folder in CONVERTED for suffix in (".map.gz", ".map")):
            return name.rstrip("-")
    return best if likeness[0] else ""


def _likeness(names: Mapping[str, str], entry: Sequence[str]) -> Tuple[int, ...]:
    """How much an entry of systemd's list is like the keyboard: by layouts first, then variant, model and options."""
    layout, model, variant, options = entry
    own, own_variant = names["layout"], names["variant"]
    if layout == own:
        layouts_alike = _SAME
    else:
        layouts_alike = 2 if own.startswith(layout + ",") else 1 if own.partition(",")[0] == layout.partition(",")[0] else 0
        own_variant, variant = own_variant.partition(",")[0], variant.partition(",")[0]
    variants_alike = 2 if variant == (own_variant or "-") else 1 if variant == "-" else 0
    return (layouts_alike, variants_alike, int(model.startswith(names["model"])), int(options == names["options"]))
