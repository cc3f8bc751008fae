# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The qubes of an Admin API lab, and their properties: type, default, and what may be set.

Facts: QubesOS/qubes-core-admin, qubes/__init__.py (class property), qubes/vm/__init__.py, qubes/vm/qubesvm.py, qubes/vm/adminvm.py,
qubes/vm/mix/net.py. Texts of exceptions are this lab's own. A text may hold bytes that are not UTF-8, as surrogates.
"""

from __future__ import annotations

import ipaddress
import re
import string
import uuid
from typing import Callable, Dict, List, NamedTuple, Optional, Set

CLASSES = ("AppVM", "TemplateVM", "StandaloneVM", "DispVM", "AdminVM")
STATES = ("Running", "Halted", "Paused", "Transient")
DOM0 = "dom0"
WITH_TEMPLATE = {"AppVM", "DispVM"}
OF_QUBES = {"AppVM", "TemplateVM", "StandaloneVM", "DispVM"}
OF_ALL = OF_QUBES | {"AdminVM"}
TRUE, FALSE = {"1", "yes", "true", "on"}, {"0", "no", "false", "off"}


class ApiError(Exception):
    """An exception that qubesd tells the caller: its type's name and its text."""

    def __init__(self, name: str, text: str = "") -> None:
        super().__init__(text)
        self.name = name


class Silent(Exception):
    """Anything else that goes wrong in qubesd: it closes the connection, and the caller has an empty answer."""


class Qube:
    """One qube. `properties` are those that are set, as the text that Get answers."""

    def __init__(self, name: str, klass: str, state: str, qid: int) -> None:
        self.name = name
        self.klass = klass
        self.state = state
        self.qid = qid
        self.uuid = str(uuid.uuid5(uuid.NAMESPACE_OID, name)) if qid else "00000000-0000-0000-0000-000000000000"
        self.xid = -1
        self.properties: Dict[str, str] = {}
        self.features: Dict[str, str] = {}


class House:
    """All qubes, by name; dom0 is always there."""

    def __init__(self) -> None:
        self.qubes: Dict[str, Qube] = {DOM0: Qube(DOM0, "AdminVM", "Running", 0)}
        self._last = 0
        self._xids = 0

    def add(self, name: str, klass: str, state: str) -> Qube:
        """Any name will do that is not there: a hostile one is the caller's business."""
        if not name or name in self.qubes or klass not in CLASSES or state not in STATES:
            raise ValueError("cannot add %r, a %s that is %s" % (name, klass, state))
        self._last += 1
        self.qubes[name] = Qube(name, klass, "Halted", self._last)
        self.bring(self.qubes[name], state)
        return self.qubes[name]

    def bring(self, qube: Qube, state: str) -> None:
        """Each start of a qube has a number of its own."""
        if state == "Halted":
            qube.xid = -1
        elif qube.state == "Halted":
            self._xids += 1
            qube.xid = self._xids
        qube.state = state

    def get(self, name: str) -> Qube:
        if name not in self.qubes:
            raise ValueError("no qube %s" % name)
        return self.qubes[name]

    def sorted(self) -> List[Qube]:
        return sorted(self.qubes.values(), key=lambda qube: (qube.name != DOM0, qube.name))

    def template(self, qube: Qube) -> Optional[Qube]:
        return self.qubes.get(self.value(qube, "template") or "") if qube.klass in WITH_TEMPLATE else None

    def value(self, qube: Qube, name: str) -> Optional[str]:
        """The value in force; None where there is none at all, and "" where it is no qube, or nothing."""
        if name in qube.properties:
            return qube.properties[name]
        return PROPERTIES[name].default(self, qube)

    def inherited(self, qube: Qube, name: str, otherwise: str) -> str:
        template = self.template(qube)
        return (self.value(template, name) or "") if template else otherwise


Default = Callable[[House, Qube], Optional[str]]
Setter = Callable[[House, Qube, str, str], str]


# -- what may be set; each returns the text to keep --


def printable(_house: House, _qube: Qube, _name: str, text: str) -> str:
    if not all(character in string.printable for character in text):
        raise ApiError("QubesValueError", "a property takes printable characters only")
    return text


def once(_house: House, _qube: Qube, _name: str, _text: str) -> str:
    raise Silent("set once and for all")


def never(_house: House, qube: Qube, name: str, text: str) -> str:
    raise ApiError("QubesPropertyValueError", "%s of %s cannot be set to '%s'" % (name, qube.name, text))


def boolean(_house: House, _qube: Qube, _name: str, text: str) -> str:
    if text.lower() in TRUE | FALSE:
        return str(text.lower() in TRUE)
    raise ApiError("QubesValueError", "'%s' is no boolean" % text)


def number(least: Optional[int]) -> Setter:
    def checked(_house: House, _qube: Qube, _name: str, text: str) -> str:
        try:
            found = int(text)
        except ValueError:
            raise ApiError("QubesValueError") from None
        if least is not None and found < least:
            raise Silent("a plain ValueError")
        return str(found)

    return checked


def a_qube(_house: House, _qube: Qube, _name: str, text: str) -> str:
    if text:
        check_name(text)
        if text not in _house.qubes:
            raise ApiError("QubesVMNotFoundError", "there is no qube '%s'" % text)
    return text


def a_netvm(house: House, qube: Qube, name: str, text: str) -> str:
    found = a_qube(house, qube, name, text)
    if found and (found == qube.name or house.value(house.qubes[found], "provides_network") != "True"):
        raise ApiError("QubesPropertyValueError", "%s provides no network for %s" % (found, qube.name))
    return found


def an_address(kind: Callable[[str], object]) -> Setter:
    def checked(_house: House, _qube: Qube, name: str, text: str) -> str:
        try:
            return str(kind(text))
        except ValueError:
            raise ApiError("QubesPropertyValueError", "'%s' is no %s" % (text, name)) from None

    return checked


def a_user(_house: House, _qube: Qube, name: str, text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_+,.-]*", text):
        raise ApiError("QubesPropertyValueError", "'%s' is no %s" % (text, name))
    return text


def a_layout(_house: House, _qube: Qube, name: str, text: str) -> str:
    """layout+variant+options; a layout is letters alone, so there is one of them, and it is not empty."""
    if not re.fullmatch(r"[A-Za-z]+\+[A-Za-z0-9_-]*\+[A-Za-z0-9_:,-]*", text):
        raise ApiError("QubesPropertyValueError", "'%s' is no %s" % (text, name))
    return text


def a_mode(_house: House, _qube: Qube, name: str, text: str) -> str:
    if text.lower() not in ("hvm", "pv", "pvh"):
        raise ApiError("QubesPropertyValueError", "'%s' is no %s" % (text, name))
    return text.lower()


def check_name(text: str) -> None:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,30}", text) or text in ("Domain-0", "none", "default") or text.endswith("-dm"):
        raise ApiError("QubesValueError", "'%s' is no name of a qube" % text)


# -- defaults --


def just(text: Optional[str]) -> Default:
    return lambda _house, _qube: text


def from_template(name: str, otherwise: str) -> Default:
    return lambda house, qube: house.inherited(qube, name, otherwise)


def _layout(house: House, qube: Qube) -> str:
    guivm = house.qubes.get(house.value(qube, "guivm") or "") if qube.klass in OF_QUBES else None
    return (house.value(guivm, "keyboard_layout") if guivm else None) or "us++"


def _ip(_house: House, qube: Qube) -> str:
    return "10.%d.%d.%d" % (138 if qube.klass == "DispVM" else 137, qube.qid >> 8 & 255, qube.qid & 255)


class Property(NamedTuple):
    """type: as Get names it. default: the text in force while it is not set, None for none."""

    type: str
    setter: Setter
    default: Default
    classes: Set[str]


PROPERTIES = {
    "audiovm": Property("vm", a_qube, just(DOM0), OF_QUBES),
    "auto_cleanup": Property("bool", boolean, just("False"), {"DispVM"}),
    "autostart": Property("bool", boolean, just("False"), OF_QUBES),
    "backup_timestamp": Property("int", number(None), just(""), OF_QUBES),
    "debug": Property("bool", boolean, just("False"), OF_QUBES),
    "default_dispvm": Property("vm", a_qube, just(""), OF_ALL),
    "default_user": Property("str", a_user, from_template("default_user", "user"), OF_QUBES),
    "dns": Property("str", never, just("10.139.1.1 10.139.1.2"), OF_QUBES),
    "gateway": Property("str", never, just(""), OF_QUBES),
    "guivm": Property("vm", a_qube, just(DOM0), OF_QUBES),
    "icon": Property("str", never, just("appvm-red"), OF_ALL),
    "include_in_backups": Property("bool", boolean, just("True"), OF_ALL),
    "installed_by_rpm": Property("bool", boolean, just("False"), OF_QUBES),
    "ip": Property("str", an_address(ipaddress.IPv4Address), _ip, OF_QUBES),
    "ip6": Property("str", an_address(ipaddress.IPv6Address), just(""), OF_QUBES),
    "kernel": Property("str", printable, from_template("kernel", "6.6.48-1.fc37"), OF_QUBES),
    "kernelopts": Property("str", printable, from_template("kernelopts", ""), OF_QUBES),
    "keyboard_layout": Property("str", a_layout, _layout, OF_ALL),
    "klass": Property("str", never, lambda _house, qube: qube.klass, OF_ALL),
    "label": Property("label", printable, just("red"), OF_ALL),
    "mac": Property("str", printable, lambda _house, qube: "00:16:3e:5e:6c:%02x" % (qube.qid & 255), OF_QUBES),
    "management_dispvm": Property("vm", a_qube, just(""), OF_QUBES),
    "maxmem": Property("int", number(0), from_template("maxmem", "4000"), OF_QUBES),
    "memory": Property("int", number(1), from_template("memory", "400"), OF_QUBES),
    "name": Property("str", once, lambda _house, qube: qube.name, OF_ALL),
    "netvm": Property("vm", a_netvm, just(""), OF_QUBES),
    "provides_network": Property("bool", boolean, just("False"), OF_QUBES),
    "qid": Property("int", once, lambda _house, qube: str(qube.qid), OF_ALL),
    "qrexec_timeout": Property("int", number(1), from_template("qrexec_timeout", "60"), OF_QUBES),
    "shutdown_timeout": Property("int", number(1), from_template("shutdown_timeout", "60"), OF_QUBES),
    "template": Property("vm", a_qube, just(None), WITH_TEMPLATE),
    "template_for_dispvms": Property("bool", boolean, just("False"), {"AppVM"}),
    "updateable": Property("bool", never, lambda _house, qube: str(qube.klass not in WITH_TEMPLATE), OF_ALL),
    "uuid": Property("str", once, lambda _house, qube: qube.uuid, OF_ALL),
    "vcpus": Property("int", number(1), from_template("vcpus", "2"), OF_QUBES),
    "virt_mode": Property("str", a_mode, from_template("virt_mode", "pvh"), OF_QUBES),
    "visible_gateway": Property("str", never, just(""), OF_QUBES),
    "visible_ip": Property("str", never, _ip, OF_QUBES),
    "xid": Property("str", never, lambda _house, qube: str(qube.xid), OF_QUBES),
}
