# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""Making a keymap, with what the machine has for it: the X tools, else libxkbcommon's."""

from __future__ import annotations

import json
import os
import sys
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence

from . import rules
from .running import Ran, run

DATA = "/usr/share/X11/xkb"


class Made(NamedTuple):
    """A keymap as ``setxkbmap -print`` would print it, or whole where that is not to be had, and always whole; or what the program has against it."""

    text: str
    whole: str
    objection: str = ""


def has_data(data: str = DATA) -> bool:
    """Whether there is what keymaps are made of (xkb-data)."""
    return os.path.isfile(data + "/rules/evdev")


def parts(keyboards: Sequence[Mapping[str, str]], data: str = DATA) -> Optional[List[Dict[str, str]]]:
    """What the rules say each keyboard is made of; None where the library of the X tools, or the rules, are not there."""
    source = rules.__spec__.loader.get_source(rules.__name__)  # type: ignore[union-attr]
    asked = json.dumps([[keyboard[name] for name in rules.NAMES] for keyboard in keyboards])
    ran = run(sys.executable, ["-I", "-S", "-c", source, data + "/rules/evdev"], asked)
    return json.loads(ran.output) if ran and ran.output else None


def from_names(keyboard: Mapping[str, str], data: str = DATA) -> Optional[Made]:
    """The keymap for a model, layouts, variants and options; None where nothing is there that makes one."""
    if not has_data(data):
        return None
    found = parts([keyboard], data)
    made = _by_xkbcomp(printed(found[0]), data) if found else None
    if made:
        return made
    ran = run("xkbcli", ["compile-keymap", "--include=" + data, "--rules=evdev"] + ["--%s=%s" % (name, keyboard[name]) for name in rules.NAMES], "")
    return _made("xkbcli", ran.output, ran) if ran else None


def from_text(text: str, data: str = DATA) -> Optional[Made]:
    """The keymap that a text describes; None where nothing is there that can tell."""
    if not has_data(data):
        return None
    made = _by_xkbcomp(text, data)
    if made:
        return made
    ran = run("xkbcli", ["compile-keymap", "--include=" + data, "--from-xkb"], text)
    return _made("xkbcli", text, ran) if ran else None


def printed(found: Mapping[str, str]) -> str:
    """As ``setxkbmap -print`` prints it."""
    lines = ["\t%-13s { include \"%s\"\t};\n" % ("xkb_" + part, found[part]) for part in rules.PARTS if found[part]]
    return "xkb_keymap {\n%s};\n" % "".join(lines)


def _by_xkbcomp(text: str, data: str) -> Optional[Made]:
    # Without -I it would look where it is first. With any other output file it deletes that file when it fails: /dev/null too.
    ran = run("xkbcomp", ["-w", "0", "-I", "-I" + data, "-xkb", "-", "-"], text)
    return _made("xkbcomp", text, ran._replace(output="" if ran.status else ran.output)) if ran else None


def _made(program: str, text: str, ran: Ran) -> Made:
    """By the output alone: of a text that it was given, xkbcli of Debian 12 ends with 1 where all is well, and else with 0."""
    return Made(text, ran.output, "" if ran.output else ran.complaint(program))
