# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""What lasts behind a key on Qubes R4: a property or a feature of the qube, and how its text becomes the key's value and back.

Source: core-admin 4.3 (the extensions that fill QubesDB, and what the Admin API accepts). No I/O, nothing of Ansible.
"""

from __future__ import annotations

import re
from typing import Optional, Tuple

NAME = "NAME"
"""In a setting's name, what stood for the capitals in the key's."""


class Unsettable(ValueError):
    """A key cannot be set through its setting; the text is why, and what to do instead."""


class Setting:
    """What is behind a key. ``name`` may end in ``NAME``; ``kind`` is property, feature or the empty text for none.

    ``pushed`` tells that qubesd writes the key again as soon as the setting changes, and not at the next start alone. ``also``
    are other settings that the key follows, by which somebody may know it.
    """

    kind = ""

    def __init__(self, name: str, pushed: bool = False, also: Tuple[str, ...] = ()) -> None:
        self.name = name
        self.pushed = pushed
        self.also = also

    def __str__(self) -> str:
        return "%s %s" % (self.kind, self.name)

    def of(self, part: str) -> str:
        """The setting's name for a key in which this stood for the capitals."""
        return self.name[:-len(NAME)] + part if self.name.endswith(NAME) else self.name

    def text(self, value: Optional[bytes]) -> Optional[str]:
        """What the setting has to hold for this value of the key, None for its removal or reset; ``Unsettable`` says why not."""
        return None if value is None else self._text(value)

    def _text(self, value: bytes) -> str:
        # admin.vm.feature.Set and the properties' text take these characters alone.
        if not re.fullmatch(rb"[\x20-\x7e]*", value):
            raise Unsettable("the %s holds printable ASCII alone" % self)
        return value.decode("ascii")

    def value(self, text: Optional[str]) -> Optional[bytes]:
        """The key's value for what the setting holds, None for a setting that is not there."""
        return None if text is None else self._value(text)

    def _value(self, text: str) -> bytes:
        return text.encode("utf-8")


class Property(Setting):
    """A property, which always has a value: one of its own, or the default in force."""

    kind = "property"


class Feature(Setting):
    """A feature, which is there or not."""

    kind = "feature"


class Flag(Property):
    """A boolean property behind a key that holds 1 or 0."""

    def _text(self, value: bytes) -> str:
        return "True" if value == b"1" else "False"

    def _value(self, text: str) -> bytes:
        return b"1" if text == "True" else b"0"


class Service(Feature):
    """A feature that is on with any text, 0 too, and off with the empty one."""

    def _text(self, value: bytes) -> str:
        return "1" if value == b"1" else ""

    def _value(self, text: str) -> bytes:
        return b"1" if text else b"0"


class Layout(Property):
    """The keyboard of the property: exactly three fields, and one layout."""

    def _text(self, value: bytes) -> str:
        fields = super()._text(value).split("+")
        if not re.fullmatch("[A-Za-z]+", fields[0]):
            raise Unsettable("the %s takes one layout of letters; several of them, written straight into QubesDB, last until qubesd "
                             "writes the key again" % self)
        return "+".join((fields + ["", ""])[:3])


class Removal(Feature):
    """A feature whose presence removes the key, which qubesd otherwise computes; ``instead`` is what to set for a value."""

    def __init__(self, name: str, instead: str) -> None:
        super().__init__(name)
        self.instead = instead

    def __str__(self) -> str:
        return "%s, which removes it" % super().__str__()

    def _text(self, value: bytes) -> str:
        raise Unsettable("qubesd computes its value, and the %s; set %s" % (self, self.instead))


ALWAYS = "always"


class Computed(Setting):
    """No setting: ``name`` says what qubesd computes the key from, or what sets it.

    ``given`` says when the key is there: ``always``, or where that property is set and not false. Empty is not known.
    """

    def __init__(self, name: str, given: str = "") -> None:
        super().__init__(name)
        self.given = given

    def __str__(self) -> str:
        return self.name

    def text(self, value: Optional[bytes]) -> Optional[str]:
        raise Unsettable("there is no setting behind it: %s" % self.name)
