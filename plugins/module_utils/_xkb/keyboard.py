# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""A keyboard as all files of one machine are to have it, and its keymap: the same for who renders now and for each start."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Mapping, NamedTuple, Optional

from .._errors import Refused
from .._forms import Malformed
from .._keyboardforms import NAME, Keyboard, Keymap
from .._text import cut, escape, show
from .._tree import Tree
from . import latin
from .apart import is_whole, take_apart
from .console import console
from .making import DATA, Made, from_names, from_text

_UNMADE = ("nothing here makes a keymap: that is xkbcomp with libxkbfile (of the X tools) or xkbcli (of libxkbcommon), and the package xkb-data. "
           "/etc/X11/qubes-keymap.xkb is not written; the other files are")
_UNCHECKED = ("nothing here tells whether the keymap compiles: that is xkbcomp (of the X tools) or xkbcli (of libxkbcommon), and the package xkb-data. "
              "It is written as it is")
_FOUR = "of the four layouts %s none has Latin letters, and four are the most, so none that has them was added: no login can be typed on a console"


class Settled(NamedTuple):
    """The keyboard's model, layout, variant and options; the text of its keymap's file, empty where there is none; why it is refused; what to know."""

    names: Dict[str, str]
    keymap: str = ""
    refusal: str = ""
    notes: List[str] = []


def asked(variables: Mapping[str, Any], root: str, family: str) -> Dict[str, Any]:
    """What the variables of the role xkb come to on the machine below ``root``, of that family of systems.

    Names for its templates: ``model``, ``layout``, ``variant`` and ``options``; ``keymap``, the text of that file, empty where there is to be none;
    ``console``, see there. Then ``refusal``, why the keymap must not be used, or nothing; and ``notes``, what to know, a sentence each.
    ``Refused`` where a value is none that its key might have, or a file of the console cannot be used.
    """
    settled = settle(variables)
    of_console = {"kept": [], "keymap": ""}
    if family != "Debian" and settled.names["layout"]:
        of_console = console(settled.names, Tree(root))
    return {**settled.names, "keymap": settled.keymap, "console": of_console, "refusal": settled.refusal, "notes": settled.notes}


def checked(values: Mapping[str, Any]) -> Dict[str, str]:
    """The values as their keys would have them; ``Refused`` where these would not. After it no value is an option or a path to any program."""
    names = {name: values[name] for name in ("model", "layout", "variant", "options", "keymap")}
    if not re.fullmatch(NAME, names["model"]):
        raise Refused("the model %s is no name of letters, digits, _ and -" % show(names["model"]))
    for form, text in ((Keyboard(), "+".join([names["layout"], names["variant"], names["options"]]) if names["layout"] else ""), (Keymap(), names["keymap"])):
        try:
            found = form.decode(text) if text else {}
        except Malformed as error:
            raise Refused("expected %s%s" % (form.expected, "; %s" % error if str(error) else "")) from None
        names.update({"keymap": found} if isinstance(found, str) else found)
    return names


def settle(values: Mapping[str, Any], data: str = DATA) -> Settled:
    """What the names, or the keymap in their place, come to on this machine."""
    names = checked(values)
    given = names.pop("keymap")
    if given and not names["layout"]:
        names.update(take_apart(given, names["model"], data))
        if names["layout"] and not is_whole(given):
            # No X server would take it, and what it names is known.
            given = ""
    if not names["layout"] and not given:
        return Settled(names)
    notes: List[str] = []
    made = from_names(names, data) if names["layout"] else None
    if names["layout"] and not _is_latin(names, made):
        more = latin.beside(names["layout"], names["variant"])
        notes += [] if more else [_FOUR % names["layout"]]
        if more:
            names.update(more)
            made = from_names(names, data) if made else None
    if given:
        made = from_text(given + "\n", data)
    if not made:
        return Settled(names, given and given + "\n", notes=notes + [_UNCHECKED if given else _UNMADE])
    return Settled(names, made.text, "it does not compile; " + cut(escape(made.objection)) if made.objection else "", notes)


def _is_latin(names: Mapping[str, str], made: Optional[Made]) -> bool:
    # A keymap that was not made for a fault of its names is refused, whatever its letters.
    return latin.shown(made.whole) if made and made.whole else latin.listed(names["layout"], names["variant"])
