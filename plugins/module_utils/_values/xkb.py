# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The keyboard of a qube."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Mapping, Tuple

from .._keyboardforms import NAME
from .variables import TEXT, Variable, shown

_KEYS = ("keyboard-layout", "qubes-keyboard")
VARIABLES = {
    "model": Variable(TEXT),
    "keymap": Variable(TEXT, _KEYS, "qubes-keyboard"),
    **dict.fromkeys(["layout", "variant", "options"], Variable(TEXT, _KEYS)),
    "display": Variable(TEXT),
}


def values(config: Mapping[str, Any]) -> Dict[str, Any]:
    """The role's variables, from the ``config`` of keys_info. What they come to on a machine is for ``_xkb.keyboard.asked`` to say."""
    keyboard = config.get("keyboard", {})
    # keyboard-layout replaced qubes-keyboard in R4.1.
    keymap = "" if "layout" in keyboard else keyboard.get("keymap", "")
    return {"model": "pc105", "keymap": keymap, **{name: keyboard.get(name, "") for name in ("layout", "variant", "options")}, "display": "auto"}


def held(variables: Mapping[str, Any]) -> List[Tuple[str, str]]:
    """The key that would hold several of the variables, and what it would hold."""
    return [("keyboard-layout", "+".join([variables["layout"], variables["variant"], variables["options"]]) if variables["layout"] else "")]


def problems(variables: Mapping[str, Any]) -> List[str]:
    """All that is wrong with the variables, a sentence each."""
    found = []
    if not re.fullmatch(NAME, variables["model"]):
        found.append("xkb_model: the value %s is refused: expected a name of letters, digits, _ and -" % shown(variables["model"]))
    if not re.fullmatch(r"(auto|:[0-9]{1,5}([.][0-9]{1,2})?)?", variables["display"]):
        found.append("xkb_display: the value %s is refused: expected auto, a display of this machine such as :0, or an empty text for none" %
                     shown(variables["display"]))
    return found
