# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""What a task declares, from its options or from a file, before the interface has looked at it."""

from __future__ import annotations

import datetime
import math
from typing import Any, Callable, Mapping, Optional

from . import _interface
from ._document import LARGEST, parse, text_of
from ._errors import Refused
from ._files import read_file
from ._qubename import qube_name
from ._text import cut, escape, show


def declared_qubes(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """The mapping of qubes to keys, from the options ``qubes``, or ``qube`` and ``keys``; ``Refused`` where a name names no qube."""
    if options.get("qube") is not None or "qube" in options and options.get("keys") is not None:
        # A null that a variable gives is no qube: it would be green, and nothing done.
        return _named({qube_name(options["qube"]): options.get("keys")})
    return _named(options.get("qubes") or {})


def _named(qubes: Mapping[Any, Any]) -> Mapping[str, Any]:
    for qube in qubes:
        qube_name(qube)
    return qubes


def read_remote(path: str) -> Mapping[str, Any]:
    """The declaration in a file of this machine; ``Refused`` says what is wrong with it."""
    try:
        return from_bytes(read_file(path, LARGEST), path)
    except OSError as error:
        raise Refused("%s cannot be read: %s" % (named(path), error.strerror)) from None


def named(path: str) -> str:
    """The file, for a message."""
    return "src %s" % cut(escape(path))


def from_bytes(data: bytes, path: str, decrypt: Optional[Callable[[str], str]] = None) -> Mapping[str, Any]:
    """The declaration in a file's bytes; ``Refused`` says what is wrong with them."""
    source = named(path)
    if data.startswith(b"$ANSIBLE_VAULT;"):
        raise Refused("%s is encrypted with vault, which only the controller can read; use src without remote_src" % source)
    declared = parse(text_of(data, source), source, decrypt)
    if not isinstance(declared, dict):
        raise Refused("%s is not a mapping of qubes to keys" % source)
    try:
        return _named(declared)
    except Refused as error:
        raise Refused("%s: %s" % (source, error)) from None


def refuse_unsendable(qubes: Mapping[str, Any]) -> None:
    """``Refused`` where a name or value would not arrive as it was written. Meant for the controller, which sends JSON."""
    for qube, keys in qubes.items():
        for name, value in keys.items() if isinstance(keys, Mapping) else ():
            if not isinstance(name, str):
                raise Refused("qube %s: a key's name is text, not %s; put it in quotes. Nothing was sent." % (show(qube), show(name)))
            changed = _changed(value)
            if changed:
                raise Refused("qube %s, key %s: YAML reads the value as %s; put it in quotes if it is text. Nothing was sent." % (
                    show(qube), show(name), changed))


def _changed(value: Any) -> str:
    """What a value is that JSON does not have, or that is too large for it; the empty text for any other."""
    if isinstance(value, float):
        return "" if math.isfinite(value) else show(value)
    if isinstance(value, int):
        return show(value) if value.bit_length() > 64 else ""
    names = ((datetime.date, "a date"), (bytes, "bytes, which are given as {base64: ...}"), ((set, frozenset), "a set"))
    return next((name for kind, name in names if isinstance(value, kind)), "")


def refuse_secrets(qubes: Mapping[str, Any]) -> None:
    """``Refused`` where a secret is set, or might be. Meant for the controller, before a value travels; so none is named."""
    for qube, keys in qubes.items():
        if keys is not None and not isinstance(keys, Mapping):
            raise Refused("qube %s: expected a mapping of keys to values, not a %s. Nothing was sent." % (show(qube), type(keys).__name__))
        for name, value in (keys or {}).items():
            if value is not None and _is_secret(name):
                raise Refused("qube %s, key %s: it is a secret, which can only be removed, with null. Nothing was sent." % (show(qube), show(name)))


def _is_secret(name: Any) -> bool:
    try:
        return _interface.normal(name) in _interface.SECRETS
    except Refused:
        return False
