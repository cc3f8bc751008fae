# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The services of the qube: what is on has a file, on which the conditions of units look."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Mapping

from .base import File, Machine
from .variables import STATES, UNITS, Variable, shown

FOLDER = "/run/qubes-service"

_APPVM, _R3_APPVM = "qubes-update-check meminfo-writer tracker evolution-data-server", "meminfo-writer cups qubes-update-check"
_R4 = {
    "NetVM": "network-manager qubes-network qubes-update-check qubes-updates-proxy meminfo-writer qubes-firewall",
    "ProxyVM": "qubes-network qubes-firewall qubes-update-check meminfo-writer",
    "AppVM": _APPVM,
    "TemplateVM": _APPVM + " updates-proxy-setup",
}
_R4_ALL = "software-rendering"
_R3 = {
    "NetVM": "network-manager qubes-network qubes-update-check qubes-updates-proxy",
    "ProxyVM": "meminfo-writer qubes-network qubes-firewall qubes-netwatcher qubes-update-check",
    "AppVM": _R3_APPVM,
    "TemplateVM": _R3_APPVM + " updates-proxy-setup",
}
_R2 = {**_R3, "DisposableVM": "meminfo-writer"}
# What the agent's reader takes; a unit's condition may name more.
_OF_AGENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,47}")

VARIABLES = {"states": Variable(STATES, ("qubes-service/*",)), "units": Variable(UNITS)}


def defaults(config: Mapping[str, Any]) -> Dict[str, bool]:
    """What is on in a qube of this type where no key says otherwise."""
    # R4.0 brought the key type, R3.0 the persistence. The agents of these have no services without it; that of R2 does not ask for it.
    is_r4 = "type" in config
    lasting = "persistence" in config
    if is_r4 and not lasting:
        return {}
    found = (_R4 if is_r4 else _R3 if lasting else _R2).get(config.get("vm_type", ""), "")
    return dict.fromkeys(found.split() + (_R4_ALL.split() if is_r4 and found else []), True)


def wanted(config: Mapping[str, Any]) -> Dict[str, Any]:
    """The role's variables, from the ``config`` of keys_info."""
    return {"states": {**defaults(config), **config.get("services", {})}, "units": {}}


def problems(values: Mapping[str, Any]) -> str:
    """All that is wrong with the variables, a line each."""
    return "".join(["services_states: the name %s is refused: expected a service name of at most 48 letters, digits and _ . @ -\n" % shown(name)
                    for name in values["states"] if not _NAME.fullmatch(name)])


def files(values: Mapping[str, Any], family: str, machine: Machine) -> List[File]:
    """What the role writes on such a machine."""
    return [File("%s/%s" % (FOLDER, name), "", protected_by="%s/%s" % (FOLDER, name), agent=bool(_OF_AGENT.fullmatch(name)), absent=not is_on)
            for name, is_on in sorted(values["states"].items())]


TEXTS: Dict[str, Any] = {}
