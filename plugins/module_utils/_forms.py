# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The forms that values take, and nothing about which key has which.

A form decodes the text in a store to a typed value, and encodes what a playbook gives to that text. Both are allow-lists:
what is not known to be good raises ``Malformed``. ``expected`` completes the sentence "expected ...". How long a value may
be is for the stores to say.
"""

from __future__ import annotations

import ipaddress
import re


class Malformed(ValueError):
    """A value does not have the form; the text is advice, or empty."""


class Form:
    """Base of all forms. A text that is its own typed value needs ``expected`` and a ``pattern`` alone.

    Patterns are compiled when they are first used: a task uses a few of them, and pays for each at its start.
    """

    expected = ""
    pattern = ""

    def decode(self, text: str):
        """The typed value of a store's text; ``Malformed`` when the text does not have this form."""
        if not re.fullmatch(self.pattern, text):
            raise Malformed("")
        return text

    def encode(self, value) -> str:
        """The store's text for a value from a playbook, in YAML's type or as text; ``Malformed`` when it has no such form."""
        if not isinstance(value, str):
            raise Malformed("write it as text, in quotes")
        self.decode(value)
        return value


class Pattern(Form):
    """Text that a regular expression describes whole."""

    def __init__(self, pattern: str, expected: str) -> None:
        self.pattern = pattern
        self.expected = expected


class Choice(Form):
    """One of a few words, spelled exactly."""

    def __init__(self, *words: str) -> None:
        self.words = words
        self.expected = "one of " + ", ".join(words)

    def decode(self, text: str):
        if text not in self.words:
            raise Malformed("")
        return text


class Switch(Form):
    """A boolean, with the two texts that the key uses for it."""

    TRUE = frozenset(["1", "true", "yes", "on", "y", "t"])
    FALSE = frozenset(["0", "false", "no", "off", "n", "f"])

    def __init__(self, on: str, off: str) -> None:
        self.on, self.off = on, off
        self.expected = "a boolean, kept as %s or %s" % (on, off)

    def decode(self, text: str):
        if text not in (self.on, self.off):
            raise Malformed("")
        return text == self.on

    def encode(self, value) -> str:
        word = value.lower() if isinstance(value, str) else str(int(value)) if value in (0, 1) and isinstance(value, int) else ""
        if word in self.TRUE:
            return self.on
        if word in self.FALSE:
            return self.off
        raise Malformed("")


class Number(Form):
    """A whole number, not negative, in decimal digits."""

    def __init__(self, unit: str = "", most: int = 2**63 - 1) -> None:
        self.most = most
        self.expected = "a whole number" + (" of " + unit if unit else "") + " in decimal digits"

    def decode(self, text: str):
        if not re.fullmatch("[0-9]{1,19}", text) or int(text) > self.most:
            raise Malformed("")
        return int(text)

    def encode(self, value) -> str:
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise Malformed("")
        # Before it is text: Python refuses to write a number of thousands of digits.
        if isinstance(value, int) and not 0 <= value <= self.most:
            raise Malformed("")
        return str(self.decode(str(value)))


class Text(Form):
    """Free text: any characters but NUL. YAML's other types are refused, because YAML has already changed them."""

    expected = "text, in quotes"

    def decode(self, text: str):
        if "\0" in text:
            raise Malformed("no store holds a NUL")
        return text

    def encode(self, value) -> str:
        if not isinstance(value, str):
            raise Malformed("quote it: YAML reads an unquoted 12:30 as 750, 1.10 as 1.1 and yes as true")
        # Most values are text: without another call for each.
        return self.decode(value) if "\0" in value else value


class Address(Form):
    """An IP address of one version, in its usual spelling."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.expected = "an IPv%d address, such as %s" % (version, "10.137.0.12" if version == 4 else "fd09:24ef:4179::a89:c")

    def decode(self, text: str):
        try:
            address = ipaddress.ip_address(text) if "%" not in text else None
        except ValueError:
            address = None
        # Python 3.8 takes 010.0.0.1 for 10.0.0.1, inet_aton for 8.0.0.1.
        if address is None or address.version != self.version or (self.version == 4 and str(address) != text):
            raise Malformed("")
        return text


class Netmask(Address):
    """An IPv4 mask: ones, then zeros."""

    def __init__(self) -> None:
        super().__init__(4)
        self.expected = "an IPv4 netmask, such as 255.255.255.255"

    def decode(self, text: str):
        number = int(ipaddress.IPv4Address(super().decode(text)))
        inverted = number ^ 0xFFFFFFFF
        if inverted & (inverted + 1):
            raise Malformed("its ones are not together")
        return text


class Addresses(Form):
    """Addresses of one version with a space between; none is a form too."""

    def __init__(self, version: int) -> None:
        self.address = Address(version)
        self.expected = "IPv%d addresses with a space between" % version

    def decode(self, text: str):
        return [self.address.decode(word) for word in text.split(" ")] if text else []

    def encode(self, value) -> str:
        if isinstance(value, (list, tuple)):
            if not all(isinstance(each, str) for each in value):
                raise Malformed("write each as text, in quotes")
            value = " ".join(value)
        return super().encode(value)
