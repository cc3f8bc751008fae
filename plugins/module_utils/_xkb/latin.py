# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""Which keyboards have Latin letters. Without them nobody logs in on a console, and Ctrl with a letter does nothing in many programs."""

from __future__ import annotations

import re
from typing import Dict, FrozenSet

from .._keyboardforms import MOST_LAYOUTS

LATIN = "us"
ENOUGH = 13
"""Letters of 26. Those of a language may lack some, but no layout of xkb-data has between 2 and 17."""

_KEYS = re.compile(r"\[([^\[\]]*)\]")
_LETTER = re.compile("[a-z]")

# What xkb-data 2.35 (Debian 12) and 2.42 (Debian 13) say, for machines without it: layouts without Latin letters, their variants with
# them, and variants without them of layouts that have them.
WITHOUT: FrozenSet[str] = frozenset(
    "af am ara bd bg brai bt by eg et ge gn gr il in iq ir jv kg kh kz la lk ma mk mm mn mv my np pk rs ru sy th tj tz ua uz".split())
VARIANTS_WITH: Dict[str, str] = {
    "by": "latin", "in": "eng iipa", "iq": "ku ku_alt ku_f", "ir": "ku ku_alt ku_f", "kz": "latin", "lk": "us", "ma": "french rif",
    "rs": "latin latinalternatequotes latinunicode latinunicodeyz latinyz", "ru": "cv_latin ruchey_en", "sy": "ku ku_alt ku_f",
    "ua": "crh crh_alt crh_f", "uz": "latin",
}
VARIANTS_WITHOUT: Dict[str, str] = {
    "al": "veqilharxhi", "az": "cyrillic", "br": "rus", "ca": "ike multi-2gr",
    "cn": "mon_manchu_galik mon_todo_galik mon_trad mon_trad_galik mon_trad_manchu mon_trad_todo mon_trad_xibe tib tib_asciinum ug",
    "cz": "rus ucw", "de": "ru", "dz": "ar ber", "fr": "geo", "id": "javanese melayu-phonetic melayu-phoneticx pegon-phonetic phonetic phoneticx",
    "ie": "ogam", "it": "geo", "jp": "kana mac", "lv": "modern-cyr", "me": "cyrillic cyrillicalternatequotes cyrillicyz",
    "ph": "capewell-dvorak-bay capewell-qwerf2k6-bay colemak-bay dvorak-bay qwerty-bay", "pl": "ru_phonetic_dvorak", "se": "rus rus_nodeadkeys swl",
    "tr": "ot otf otk otkf", "us": "chr rus",
}


def shown(whole: str) -> bool:
    """Whether a keymap, all spelled out, has them."""
    keys = [keys.partition(",")[0].strip() for keys in _KEYS.findall(whole)]
    return len({key for key in keys if _LETTER.fullmatch(key)}) >= ENOUGH


def listed(layout: str, variant: str) -> bool:
    """Whether one of the layouts has them, as far as the list knows. A layout that it does not have is taken for one that does."""
    variants = variant.split(",")
    for number, name in enumerate(layout.split(",")):
        own = variants[number] if number < len(variants) else ""
        if own in VARIANTS_WITH.get(name, "").split() if name in WITHOUT else own not in VARIANTS_WITHOUT.get(name, "").split():
            return True
    return False


def beside(layout: str, variant: str) -> Dict[str, str]:
    """The layouts and variants with one more, the last, that has them. Empty where they are the most that there can be."""
    layouts, variants = layout.split(","), variant.split(",")
    if len(layouts) >= MOST_LAYOUTS:
        return {}
    padded = variants + [""] * (len(layouts) + 1 - len(variants))
    return {"layout": ",".join(layouts + [LATIN]), "variant": ",".join(padded) if any(padded) else ""}
