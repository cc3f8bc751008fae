# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""Layouts, variants and options of a keymap that names them, as ``setxkbmap -print`` in the dom0 of Qubes R1 to R4.0 made it.

Options are told from layouts by the rules of the machine: an option is there where all that the rules add for it is. Without the
rules, or their library, by a list of those that nothing else can be.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Dict, List, Mapping, Optional, Sequence

from .. import _files
from .._forms import Malformed
from .._keyboardforms import MOST_LAYOUTS, NAME, Keyboard, keymap_words
from . import rules
from .making import DATA, parts

_LAYOUT = re.compile(r"(?P<vendor>[a-z]+_vndr/)?(?P<layout>%s)(?:\((?P<variant>%s)\))?(?::[1-4])?" % (Keyboard.LAYOUT, NAME))
_MOST = 1000000

# Files of symbols that hold what options add, and no layout; and how the names of those options begin, where the rest is the same.
_OPTIONS = {
    "altwin": "altwin", "capslock": "caps", "compose": "compose", "ctrl": "ctrl", "epo": "esperanto", "group": "grp", "kpdl": "kpdl",
    "kr": "korean", "level3": "lv3", "level5": "lv5", "nbsp": "nbsp", "shift": "shift", "terminate": "terminate",
}
_ODD = {"capslock(groupshift)": "grp:caps_switch", "capslock(grouplock)": "grp:caps_toggle", "level3(ralt_switch_for_alts_toggle)": ""}
_NO_LAYOUTS = frozenset([*_OPTIONS, "pc", "inet", "keypad", "srvr_ctrl", "eurosign", "rupeesign", "japan", "numpad", "typo", "parens"]) - {"epo", "kr"}


def is_whole(keymap: str) -> bool:
    """Whether it has all that a keymap must have."""
    words = {word.lower() for word in keymap_words(keymap)}
    return {"xkb_keycodes", "xkb_types", "xkb_symbols"} <= words and any(word.startswith("xkb_compat") for word in words)


def take_apart(keymap: str, model: str, data: str = DATA) -> Dict[str, str]:
    """The names in a keymap; empty ones where it spells out what it has."""
    found = _included(keymap)
    symbols = found.get("symbols", [])
    listed = _listed(data)
    # Layouts come before the keys around the letters, and most options after these.
    end = next((number for number, part in enumerate(symbols) if part.startswith("inet(")), len(symbols))
    named = [part for part in map(_LAYOUT.fullmatch, symbols[:end]) if part and _is_layout(part, listed, end < len(symbols))][:MOST_LAYOUTS]
    variants = [part.group("variant") or "" for part in named]
    names = {"layout": ",".join([part.group("layout") for part in named]), "variant": ",".join(variants) if any(variants) else "", "options": ""}
    if named:
        others = [part for part in symbols if part not in [each.group() for each in named]]
        options = _by_rules({"model": model, **names}, found, listed["option"], data)
        names["options"] = ",".join(_by_list(others) if options is None else options)
        try:
            return Keyboard().decode("+".join(names.values()))
        except Malformed:
            pass
    return {"layout": "", "variant": "", "options": ""}


def _included(keymap: str) -> Dict[str, List[str]]:
    """What each section begins with an include of."""
    found: Dict[str, List[str]] = {}
    words = keymap_words(keymap)
    for number, word in enumerate(words):
        if word.startswith("xkb_"):
            # A section may have a name.
            begin = number + 1 + int(words[number + 1:number + 2] != ["{"])
            if words[begin:begin + 2] == ["{", "include"]:
                found.setdefault(word[4:], _split("".join(words[begin + 2:begin + 3]).strip('"')))
    return found


def _is_layout(part: "re.Match[str]", listed: Mapping[str, Sequence[str]], placed: bool) -> bool:
    """Whether it may be one, for which its place speaks or not."""
    layout, variant = part.group("layout"), part.group("variant")
    if not listed["layout"]:
        return layout not in _NO_LAYOUTS and not part.group("vendor")
    return layout in listed["layout"] and (placed or not variant or "%s %s:" % (variant, layout) in listed["variant"])


def _split(names: str) -> List[str]:
    return [part for part in re.split("[+|^]", names) if part]


def _by_list(symbols: Sequence[str]) -> List[str]:
    matches = [re.fullmatch(r"([a-z0-9]+)\(([A-Za-z0-9_.-]+)\)", part) for part in symbols]
    told = [_ODD.get(match.group(), _OPTIONS[match.group(1)] + ":" + match.group(2)) for match in matches if match and match.group(1) in _OPTIONS]
    return [option for option in told if option]


def _by_rules(names: Mapping[str, str], found: Mapping[str, Sequence[str]], options: Sequence[str], data: str) -> Optional[List[str]]:
    """The options for which the rules add what the keymap has beyond its layouts, in the order in which it has it."""
    told = parts([{**names, "options": option} for option in ["", *options]], data) if options else None
    if not told:
        return None
    kinds = [{(part, name): number for part in rules.PARTS for name, number in Counter(_split(each[part])).items()} for each in told]
    there = Counter({(part, name): number for part in found for name, number in Counter(found[part]).items()})
    rest = there - Counter(kinds[0])
    added = {option: Counter(kind) - Counter(kinds[0]) for option, kind in zip(options, kinds[1:])}
    chosen = []
    for option in sorted(options, key=lambda each: -sum(added[each].values())):
        if added[option] and not added[option] - rest:
            rest -= added[option]
            chosen.append(option)
    order = [(part, name) for part in ("symbols", "compat", "types", "keycodes") for name in found.get(part, [])]
    return sorted(chosen, key=lambda option: min([order.index(each) for each in added[option] if each in order], default=len(order)))


def _listed(data: str) -> Dict[str, List[str]]:
    """The layouts, variants and options that the rules are documented to have."""
    found: Dict[str, List[str]] = {"layout": [], "variant": [], "option": []}
    try:
        text = _files.read_file(data + "/rules/evdev.lst", _MOST).decode("utf-8", "replace")
    except OSError:
        return found
    section = ""
    for line in text.splitlines():
        words = line.split()
        if line.startswith("!"):
            section = words[1] if len(words) > 1 else ""
        elif words and section in found:
            found[section].append(" ".join(words[:2]) if section == "variant" else words[0])
    # What has no colon is the heading of a group of options.
    found["option"] = [option for option in found["option"] if ":" in option]
    return found
