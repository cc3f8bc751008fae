# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""What a role makes of the keys of a qube and of what the play gave, and why it must not: the same for a play and for a start."""

from __future__ import annotations

import fnmatch
from typing import Any, Dict, List, Mapping, NamedTuple, Sequence

from . import _interface
from ._errors import Refused
from ._machine import Machine
from ._text import show
from ._values.every import ROLES
from ._values.variables import converted

_NET_CONFIG = "net-config/"


class Role(NamedTuple):
    """The variables of a role, less its name in front; those of them that the play gave; and why they must not be used, a sentence each."""

    variables: Dict[str, Any]
    given: Dict[str, Any]
    refusals: List[str]


def role(name: str, found: Mapping[str, Any], given: Mapping[str, Any]) -> Role:
    """From what ``keys_info`` found for a qube, and what the play gave, in which null is what was not given."""
    module = ROLES[name]
    typed, refusals = converted(name, module.VARIABLES, given)
    variables = {**module.values(found["config"]), **typed}
    refusals += _of_keys(_keys(module, variables, typed), found) + _of_values(module, variables)
    # Only of what is well formed it can be asked.
    if not refusals and hasattr(module, "problems"):
        refusals += module.problems(variables)
    return Role(variables, typed, refusals)


def names(name: str, variables: Mapping[str, Any], config: Mapping[str, Any], machine: Machine, managed: str) -> Dict[str, Any]:
    """What the table and the templates of the role have."""
    module = ROLES[name]
    more = module.names(variables, config, machine) if hasattr(module, "names") else {}
    return {**variables, **more, "config": config, "machine": machine, "ansible_managed": managed}


def sentences(before: str, refusals: Sequence[str]) -> List[str]:
    """The refusals, with what they are about."""
    return [before + (", " if refusal.startswith("key ") else ": ") + refusal for refusal in refusals]


def _keys(module: Any, variables: Mapping[str, Any], given: Mapping[str, Any]) -> List[str]:
    """The names and globs of the keys that are read: what was given needs none."""
    of_variables = [key for name, variable in module.VARIABLES.items() if name not in given for key in variable.keys]
    return of_variables + (module.keys(variables) if hasattr(module, "keys") else [])


def _of_keys(keys: Sequence[str], found: Mapping[str, Any]) -> List[str]:
    mac = found["config"].get("network", {}).get("mac", "")

    def is_read(key: str) -> bool:
        # Of what is set for single interfaces that of the uplink alone.
        another = key.startswith(_NET_CONFIG) and key.split("/")[1].lower() != mac.lower()
        return not another and any(fnmatch.fnmatchcase(key, pattern) for pattern in keys)

    return (["key %s: the value %s is refused: %s" % (key, bad["value"], bad["reason"]) for key, bad in found["invalid"].items() if is_read(key)]
            + ["key %s: it may not be read here" % key for key in found["denied"] if is_read(key)])


def _of_values(module: Any, variables: Mapping[str, Any]) -> List[str]:
    held = [(variable.form, variables[name]) for name, variable in module.VARIABLES.items() if variable.form]
    held += module.held(variables) if hasattr(module, "held") else []
    return [refusal for key, value in held for each in (value if isinstance(value, list) else [value]) if each for refusal in _of_value(key, each)]


def _of_value(key: str, value: str) -> List[str]:
    try:
        _interface.decode(key, value.encode("utf-8", "surrogatepass"))
    except Refused as error:
        return ["the value %s is refused for what key %s would hold: %s" % (show(value), key, error)]
    return []
