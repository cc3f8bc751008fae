# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""qubesd's half of the Admin API: a method, its argument and its payload in, a frame out.

A frame is `0`, NUL and the value, or `2`, NUL, the name of an exception, NUL, an empty traceback, NUL, its text and NUL. No frame at all is
qubesd's answer to everything else that goes wrong. Facts: QubesOS/qubes-core-admin, qubes/api/__init__.py and qubes/api/admin.py.
"""

from __future__ import annotations

import re
from typing import Callable, Dict, NamedTuple, Optional

from adminqubes import DOM0, PROPERTIES, ApiError, House, Property, Qube, Silent

BUFFER = 65536  # bytes of a call, with the names in front of its payload; qubesd hangs up on more


class Method(NamedTuple):
    """since: the release, as (4, 1). changes: it may change something."""

    function: Callable[[House, Qube, str, str], Optional[str]]
    payload: bool = False
    argument: bool = False
    changes: bool = False
    since: tuple[int, int] = (4, 0)


def frame(value: str) -> bytes:
    return b"0\0" + raw(value)


def failure(name: str, text: str, fields: tuple[str, ...] = (), traceback: str = "") -> bytes:
    return b"2\0" + b"".join(raw(part) + b"\0" for part in (name, traceback, text) + fields)


def raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def answer(house: House, release: tuple[int, int], target: str, method: str, argument: str, payload: bytes) -> bytes:
    """The frame; b"" where qubesd would only close the connection. What could not be done has changed nothing."""
    try:
        if target not in house.qubes:
            raise ApiError("QubesVMNotFoundError", "there is no qube '%s'" % target)
        found = METHODS.get(method)
        if not found or release < found.since or (payload and not found.payload) or (argument and not found.argument):
            return b""
        value = found.function(house, house.qubes[target], argument, payload.decode("ascii"))
    except ApiError as error:
        return failure(error.name, str(error))
    except (Silent, UnicodeDecodeError, RecursionError):  # templates and GUI qubes may go round in a circle
        return b""
    return frame(value or "")


def changes(method: str) -> bool:
    """Whether a call may change something; one that nobody knows may."""
    return method not in METHODS or METHODS[method].changes


# -- qubes --


def vm_list(house: House, qube: Qube, _argument: str, _payload: str) -> str:
    qubes = house.sorted() if qube.name == DOM0 else [qube]
    return "".join("%s class=%s state=%s\n" % (each.name, each.klass, each.state) for each in qubes)


def vm_start(house: House, qube: Qube, _argument: str, _payload: str) -> None:
    if qube.state != "Halted":
        raise ApiError("QubesVMNotHaltedError", "%s is not halted" % qube.name)
    house.bring(qube, "Running")


# -- properties --


def _property(qube: Qube, name: str) -> Property:
    found = PROPERTIES.get(name)
    if not found or qube.klass not in found.classes:
        raise ApiError("QubesNoSuchPropertyError", "%s has no property '%s'" % (qube.name, name))
    return found


def _shown(house: House, qube: Qube, name: str) -> str:
    found = _property(qube, name)
    return "default=%s type=%s %s" % (name not in qube.properties, found.type, house.value(qube, name) or "")


def property_list(_house: House, qube: Qube, _argument: str, _payload: str) -> str:
    return "".join(name + "\n" for name in sorted(PROPERTIES) if qube.klass in PROPERTIES[name].classes)


def property_get(house: House, qube: Qube, name: str, _payload: str) -> str:
    return _shown(house, qube, name)


def property_get_all(house: House, qube: Qube, _argument: str, _payload: str) -> str:
    names = property_list(house, qube, "", "").split()
    return "".join("%s %s\n" % (name, _shown(house, qube, name).replace("\\", "\\\\").replace("\n", "\\n")) for name in names)


def property_get_default(house: House, qube: Qube, name: str, _payload: str) -> Optional[str]:
    found = _property(qube, name)
    value = found.default(house, qube)
    return None if value is None else "type=%s %s" % (found.type, value)


def property_set(house: House, qube: Qube, name: str, text: str) -> None:
    qube.properties[name] = _property(qube, name).setter(house, qube, name, text)


def property_reset(_house: House, qube: Qube, name: str, _payload: str) -> None:
    if _property(qube, name).setter.__name__ == "once":
        raise Silent("set once and for all")
    qube.properties.pop(name, None)


# -- features --


def feature_list(_house: House, qube: Qube, _argument: str, _payload: str) -> str:
    return "".join(name + "\n" for name in qube.features)


def feature_get(_house: House, qube: Qube, name: str, _payload: str) -> str:
    if name not in qube.features:
        raise ApiError("QubesFeatureNotFoundError", "%s has no feature %s" % (qube.name, name))
    return qube.features[name]


def feature_check_with_template(house: House, qube: Qube, name: str, _payload: str) -> str:
    template = house.template(qube)
    if name not in qube.features and template:
        return feature_check_with_template(house, template, name, "")
    return feature_get(house, qube, name, "")


def feature_set(_house: House, qube: Qube, name: str, text: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        raise ApiError("QubesValueError", "'%s' is no name of a feature" % name)
    if not re.fullmatch(r"[ -~]*", text):
        raise ApiError("QubesValueError", "the value of %s has other than printable characters" % name)
    qube.features[name] = text


def feature_remove(house: House, qube: Qube, name: str, _payload: str) -> None:
    feature_get(house, qube, name, "")
    del qube.features[name]


METHODS: Dict[str, Method] = {
    "admin.vm.List": Method(vm_list),
    "admin.vm.Start": Method(vm_start, changes=True),
    "admin.vm.property.List": Method(property_list),
    "admin.vm.property.Get": Method(property_get, argument=True),
    "admin.vm.property.GetAll": Method(property_get_all, since=(4, 1)),
    "admin.vm.property.GetDefault": Method(property_get_default, argument=True),
    "admin.vm.property.Set": Method(property_set, argument=True, payload=True, changes=True),
    "admin.vm.property.Reset": Method(property_reset, argument=True, changes=True),
    "admin.vm.feature.List": Method(feature_list),
    "admin.vm.feature.Get": Method(feature_get, argument=True),
    "admin.vm.feature.CheckWithTemplate": Method(feature_check_with_template, argument=True),
    "admin.vm.feature.Set": Method(feature_set, argument=True, payload=True, changes=True),
    "admin.vm.feature.Remove": Method(feature_remove, argument=True, changes=True),
}
