# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The forms of the two keys of the keyboard. What they let through goes to programs, so all that these open is a name of the keyboard's data."""

from __future__ import annotations

import re
from typing import List, Optional

from ._forms import Form, Malformed

NAME = "[A-Za-z0-9_][A-Za-z0-9_-]*"
MOST_LAYOUTS = 4
"""XKB has four groups."""


class Keyboard(Form):
    """``layout[+variant[+options]]``, each a list with commas, as setxkbmap takes them."""

    expected = "a keyboard as layout+variant+options, such as us++, fr+oss+ or us,se++grp:alt_shift_toggle"
    LAYOUT = "[a-z][A-Za-z0-9_-]*"
    OPTION = NAME + "(?::[A-Za-z0-9_.-]+)?"
    MOST = 256

    def decode(self, text: str):
        if len(text) > self.MOST:
            raise Malformed("it has more than %d characters" % self.MOST)
        fields = text.split("+")
        if len(fields) > 3:
            raise Malformed("it has three fields, and two + between them")
        layouts, variants, options = [field.split(",") for field in (fields + ["", ""])[:3]]
        self._check_layouts(layouts, variants, options)
        if not all(re.fullmatch("(?:%s)?" % NAME, variant) for variant in variants):
            asked = _without_empty(variants)
            told = all(re.fullmatch(self.OPTION, each) for each in asked) and options == [""]
            raise Malformed("options are in the third field: write %s++%s" % (fields[0], ",".join(asked)) if told else "")
        if not all(re.fullmatch("(?:%s)?" % self.OPTION, option) for option in options):
            raise Malformed("")
        # A variant belongs to the layout at its place: more of them than layouts is a mistake that XKB does not report.
        if len(variants) > len(layouts):
            raise Malformed("there are more variants than layouts")
        return {"layout": ",".join(layouts), "variant": ",".join(variants), "options": ",".join(_without_empty(options))}

    def _check_layouts(self, layouts: List[str], variants: List[str], options: List[str]) -> None:
        if not all(re.fullmatch(self.LAYOUT, layout) for layout in layouts):
            raise Malformed(self._without_brackets(layouts, variants, options) or "")
        if len(layouts) > MOST_LAYOUTS:
            raise Malformed("it has %d layouts, and four are the most that XKB has at a time" % len(layouts))

    def _without_brackets(self, layouts: List[str], variants: List[str], options: List[str]) -> Optional[str]:
        """What to write in place of ``bg(phonetic)``."""
        parts = [re.fullmatch(r"(%s)(?:\((%s)\))?" % (self.LAYOUT, NAME), layout) for layout in layouts]
        if not all(parts) or _without_empty(variants):
            return None
        found = [",".join([part.group(number) or "" for part in parts if part]) for number in (1, 2)]
        if not all(re.fullmatch(self.OPTION, option) for option in _without_empty(options)):
            return None
        return "a variant is in the second field, at the place of its layout: write %s+%s+%s" % (*found, ",".join(_without_empty(options)))

    def encode(self, value) -> str:
        if isinstance(value, dict) and set(value) <= {"layout", "variant", "options"}:
            if not all(field is None or isinstance(field, str) for field in value.values()):
                # YAML reads an unquoted no as false, and that is Norway's layout.
                raise Malformed("write each of them as text, in quotes")
            value = "+".join([value.get(field) or "" for field in ("layout", "variant", "options")])
        return super().encode(value)


def _without_empty(names: List[str]) -> List[str]:
    return [name for name in names if name]


_WORD = re.compile(
    r"""(?P<nothing>[ \t\n]+|//[^\n]*|\#[^\n]*)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<text>"[^"\n]*")|(?P<sign>[^"<A-Za-z_\s\#]|<[^<>"/\#{}\s]*>)""")


def keymap_words(text: str) -> List[str]:
    """The words of a keymap, without what is between them; ``Malformed`` where xkbcomp and libxkbcommon might find others."""
    words, position = [], 0
    for match in _WORD.finditer(text):
        if match.start() != position:
            break
        position = match.end()
        if match.lastgroup != "nothing":
            words.append(match.group())
    if position < len(text):
        raise Malformed("what stands at character %d is no word of a keymap" % (position + 1))
    return words


class Keymap(Form):
    r"""An ``xkb_keymap { ... };`` text. Stores hold ``\n`` and ``\t`` as two characters each, or as the ``\x0a`` and
    ``\x09`` of QubesDB's tools; decoded they are real line ends and tabs.

    Only what xkbcomp and libxkbcommon split into the same words is taken, so that each finds the includes that are checked here.
    """

    expected = "an xkb_keymap { ... }; text as xkbcomp takes it"
    # Four layouts and a geometry, all spelled out, are a third of it.
    MOST = 500000
    ESCAPES = ((r"\n", "\n"), (r"\t", "\t"), (r"\x0a", "\n"), (r"\x09", "\t"))
    # Each of these may come before the name of a file; nobody writes it in another way.
    OPENS = ("include", "augment", "override", "replace", "alternate")
    FILE = r"{name}(?:/{name})*(?:\([A-Za-z0-9_.-]*\))?(?::[A-Za-z0-9]+)?".format(name=r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
    INCLUDE = "[+|^]?{file}(?:[+|^]{file})*".format(file=FILE)

    def decode(self, text: str):
        for escaped, character in self.ESCAPES:
            text = text.replace(escaped, character)
        if len(text) > self.MOST:
            raise Malformed("it has more than %d characters" % self.MOST)
        if not re.fullmatch(r"[\t\n -\[\]-~]*", text):
            raise Malformed("")
        words = keymap_words(text)
        if words[:1] != ["xkb_keymap"]:
            raise Malformed("")
        self._check_braces(words)
        for before, word in zip(words, words[1:]):
            if word.startswith('"') and before.lower().endswith(self.OPENS) and not re.fullmatch(self.INCLUDE, word[1:-1]):
                raise Malformed("an include names files of the keyboard's data, such as pc+us+inet(evdev), and none by a path")
        return text

    @staticmethod
    def _check_braces(words: List[str]) -> None:
        depth = 0
        for number, word in enumerate(words, 1):
            depth += {"{": 1, "}": -1}.get(word, 0)
            if word == "}" and depth <= 0:
                if depth < 0 or words[number:] not in ([], [";"]):
                    raise Malformed("its braces do not match")
                return
        raise Malformed("its braces do not match")

    def encode(self, value) -> str:
        if not isinstance(value, str):
            raise Malformed("write it as text")
        self.decode(value)
        return value.replace("\n", r"\n").replace("\t", r"\t")
