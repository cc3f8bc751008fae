# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The files of the keyboard."""

from __future__ import annotations

import re
from typing import Any, Callable, Dict, List, Mapping, Sequence, Tuple

from .base import MANAGED, File, Machine, Read
from .variables import TEXT, Variable

MODEL = "pc105"
RULES = "/usr/share/X11/xkb/rules/evdev"
KEYMAP = "/etc/X11/qubes-keymap.xkb"
VCONSOLE = "/etc/vconsole.conf"
CONSOLE_KEYMAPS = "/usr/share/systemd/kbd-model-map"
# Where keymaps for the console may be that were made of those for X.
CONVERTED = tuple(folder + "/keymaps/xkb/" for folder in ("/usr/lib/kbd", "/usr/share/kbd", "/usr/share"))
# Of how much two lists of layouts are alike, the most.
_SAME = 3
# What xkbcomp says where it is installed without the package xkb-data, of the part that each keymap begins with.
_NO_DATA = 'Can\'t find file "evdev" for keycodes include'

_INCLUDE = re.compile(r'xkb_symbols[^{}]*\{[^{}]*?\binclude\s+"([^"]*)"')
_LAYOUT = re.compile(r"(?P<layout>[a-z][A-Za-z0-9_-]*)(?:\((?P<variant>[A-Za-z0-9_-]+)\))?(?::[1-4])?")
# In the rules of XKB: the head of the options that count whatever the layout is, and one of them.
_OPTION_RULES = re.compile(r"!\s*option\s*=\s*(?P<part>keycodes|types|compat|symbols)\s*$")
_OPTION_RULE = re.compile(r"\s*(?P<option>\S+)\s*=\s*(?P<more>\+[A-Za-z0-9_()/+-]+)\s*$")
# What stands in every keymap and is no layout: the keys around the letters, and what options add.
_OTHERS = frozenset(["pc", "inet", "group", "ctrl", "compose", "level3", "level5", "capslock", "altwin", "terminate", "keypad",
                     "srvr_ctrl", "shift", "eurosign", "rupeesign", "kpdl", "nbsp", "japan", "numpad", "typo", "parens"])


_KEYS = ("keyboard-layout", "qubes-keyboard")
VARIABLES = {
    "model": Variable(TEXT),
    "keymap": Variable(TEXT, _KEYS, "qubes-keyboard"),
    **dict.fromkeys(["layout", "variant", "options"], Variable(TEXT, _KEYS)),
}


def wanted(config: Mapping[str, Any]) -> Dict[str, Any]:
    """The role's variables, from the ``config`` of keys_info."""
    keyboard = config.get("keyboard", {})
    # keyboard-layout replaced qubes-keyboard in R4.1.
    keymap = "" if "layout" in keyboard else keyboard.get("keymap", "")
    found = keyboard if "layout" in keyboard else layouts(keymap)
    return {"model": MODEL, "keymap": keymap, **{name: found.get(name, "") for name in ("layout", "variant", "options")}}


def held(values: Mapping[str, Any]) -> List[Tuple[str, str]]:
    """The key that would hold several of the variables, and what it would hold."""
    return [("keyboard-layout", "+".join([values["layout"], values["variant"], values["options"]]) if values["layout"] else "")]


def files(values: Mapping[str, Any], family: str, machine: Machine) -> List[File]:
    """What the role writes on such a machine."""
    found = []
    if values["layout"]:
        if family == "Debian":
            found.append(_file("/etc/default/keyboard", MANAGED + default_keyboard(values)))
        else:
            found.append(File(VCONSOLE, made=lambda read: vconsole_conf(values, read), protected_by=VCONSOLE))
        found.append(_file("/etc/X11/xorg.conf.d/00-keyboard.conf", MANAGED + keyboard_conf(values)))
    if values["layout"] or values["keymap"]:
        found.append(File(KEYMAP, made=lambda read: keymap_xkb(values, read), protected_by=KEYMAP))
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
    options = [("XkbModel", "model"), ("XkbLayout", "layout"), ("XkbVariant", "variant"), ("XkbOptions", "options")]
    lines = ['Identifier "system-keyboard"', 'MatchIsKeyboard "on"', *['Option "%s" "%s"' % (option, values[name]) for option, name in options]]
    return 'Section "InputClass"\n%sEndSection\n' % "".join(["\t%s\n" % line for line in lines])


def keymap_xkb(values: Mapping[str, Any], read: Read) -> str:
    """The keymap as the key gives it, else one made of the layouts and options, for xkbcomp(1)."""
    if values["keymap"]:
        return values["keymap"] + "\n"
    variants = values["variant"].split(",")
    symbols = "pc"
    for number, layout in enumerate(values["layout"].split(","), 1):
        variant = variants[number - 1] if number <= len(variants) else ""
        symbols += "+" + layout + ("(%s)" % variant if variant else "") + (":%d" % number if number > 1 else "")
    parts = {"keycodes": "evdev+aliases(qwerty)", "types": "complete", "compat": "complete", "symbols": symbols + "+inet(evdev)"}
    for part, more in _options(values["options"], read(RULES)):
        parts[part] += more
    return "xkb_keymap {\n%s};\n" % "".join(['\txkb_%s { include "%s" };\n' % part for part in parts.items()])


def _options(options: str, rules: str) -> List[Tuple[str, str]]:
    """What the options add to a keymap, and to which part of it. An option that the rules do not have adds nothing, as in setxkbmap."""
    wanted_options = options.split(",")
    found = []
    part = ""
    for line in rules.splitlines():
        header = _OPTION_RULES.match(line)
        rule = _OPTION_RULE.match(line)
        if line.startswith("!"):
            part = header.group("part") if header else ""
        elif part and rule and rule.group("option") in wanted_options:
            found.append((part, rule.group("more")))
    return found


def objection(said: str) -> str:
    """What xkbcomp(1) has against a keymap, of what it said as it failed: nothing where it lacks the data (xkb-data) without which it fails on each."""
    return "" if _NO_DATA in said else said or "xkbcomp failed"


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


def _of_seen(make: Callable[[Mapping[str, Any], Read], str]) -> Callable[..., str]:
    """The same for the filter, with the files as lines of ``PATH:TEXT``, as grep prints them."""
    def text(values: Mapping[str, Any], seen: str = "") -> str:
        found: Dict[str, List[str]] = {}
        for line in seen.split("\n"):
            path, dummy, rest = line.partition(":")
            found.setdefault(path, []).append(rest + "\n")
        return make(values, lambda path: "".join(found.get(path, [])))
    return text


TEXTS: Dict[str, Callable[..., str]] = {
    "default-keyboard": default_keyboard,
    "00-keyboard.conf": keyboard_conf,
    "keymap.objection": objection,
    "keymap.xkb": _of_seen(keymap_xkb),
    "vconsole.conf": _of_seen(vconsole_conf),
}
