# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The keyboard of a console, as systemd-localed keeps it."""

from __future__ import annotations

from typing import Any, Mapping, Sequence, Tuple

from .base import Read

VCONSOLE = "/etc/vconsole.conf"
CONSOLE_KEYMAPS = "/usr/share/systemd/kbd-model-map"
# Where keymaps for the console may be that were made of those for X.
CONVERTED = tuple(folder + "/keymaps/xkb/" for folder in ("/usr/lib/kbd", "/usr/share/kbd", "/usr/share"))
# Of how much two lists of layouts are alike, the most.
_SAME = 3


def vconsole_conf(values: Mapping[str, Any], read: Read) -> str:
    """See vconsole.conf(5): what systemd-localed keeps there, with the other lines as they are."""
    ours = {
        "KEYMAP": _console_keymap(values, read), "XKBLAYOUT": values["layout"], "XKBMODEL": values["model"],
        "XKBVARIANT": values["variant"], "XKBOPTIONS": values["options"],
    }
    lines = [line for line in read(VCONSOLE).split("\n") if line and line.partition("=")[0].strip() not in ours]
    return "".join(["%s\n" % line for line in lines + ["%s=%s" % setting for setting in ours.items() if setting[1]]])


def _console_keymap(values: Mapping[str, Any], read: Read) -> str:
    """The console's keymap for a keyboard of X, found where systemd-localed finds it; empty where there is none."""
    entries = [line.split() for line in read(CONSOLE_KEYMAPS).split("\n") if not line.startswith("#")]
    ranked = [(_likeness(values, entry[1:5]), entry[0]) for entry in entries if len(entry) >= 5]
    # Of several that are equally like it, the first.
    likeness, best = max(ranked, key=lambda each: each[0], default=((0,), ""))
    converted = [values["layout"] + "-" + values["variant"], values["layout"].partition(",")[0] + "-" + values["variant"].partition(",")[0]]
    for name in converted if likeness[0] < _SAME else converted[:1]:
        if any(read(folder + name.rstrip("-") + suffix) for folder in CONVERTED for suffix in (".map.gz", ".map")):
            return name.rstrip("-")
    return best if likeness[0] else ""


def _likeness(values: Mapping[str, Any], entry: Sequence[str]) -> Tuple[int, ...]:
    """How much an entry of systemd's list is like the keyboard: by layouts first, then variant, model and options."""
    layout, model, variant, options = entry
    own, own_variant = values["layout"], values["variant"]
    if layout == own:
        layouts_alike = _SAME
    else:
        layouts_alike = 2 if own.startswith(layout + ",") else 1 if own.partition(",")[0] == layout.partition(",")[0] else 0
        own_variant, variant = own_variant.partition(",")[0], variant.partition(",")[0]
    variants_alike = 2 if variant == (own_variant or "-") else 1 if variant == "-" else 0
    return (layouts_alike, variants_alike, int(model.startswith(values["model"])), int(options == values["options"]))
