# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The services of a qube: what is on has a file, on which the conditions of units look."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Mapping

from .._machine import Machine
from .variables import STATES, UNITS, Variable, shown

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
# The units that look for each service, as the agent and the distributions name them.
_UNITS = {
    "clocksync": ["systemd-timesyncd.service"],
    "crond": ["cron.service", "crond.service"],
    "cups": ["cups.socket", "cups.path", "cups.service"],
    "meminfo-writer": ["qubes-meminfo-writer.service"],
    "network-manager": ["NetworkManager.service"],
    "qubes-firewall": ["qubes-firewall.service"],
    "qubes-network": ["qubes-network.service"],
    "qubes-update-check": ["qubes-update-check.timer"],
    "qubes-updates-proxy": ["qubes-updates-proxy.service"],
    "updates-proxy-setup": ["qubes-updates-proxy-forwarder.socket"],
}
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,47}")

VARIABLES = {"states": Variable(STATES, ("qubes-service/*",)), "units": Variable(UNITS)}


def values(config: Mapping[str, Any]) -> Dict[str, Any]:
    """The role's variables. Which services the keys mean depends on the machine too, so ``states`` is None for: as ``names`` has it."""
    return {"states": None, "units": {}}


def problems(variables: Mapping[str, Any]) -> List[str]:
    """All that is wrong with the variables, a sentence each."""
    return ["services_states: the name %s is refused: expected a service name of at most 48 letters, digits and _ . @ -" % shown(name)
            for name in variables["states"] or {} if not _NAME.fullmatch(name)]


def names(variables: Mapping[str, Any], config: Mapping[str, Any], machine: Machine) -> Dict[str, Any]:
    """``states``: which services are on, by their names.

    ``services``: the same as a list, each with its ``name``, ``is_on`` and the ``units`` to start or stop there.
    """
    states = variables["states"]
    if states is None:
        # The agent has defaults of its own release, so where it is at work the keys alone count.
        states = {**({} if machine.leaves else _defaults(config)), **config.get("services", {})}
    units = {**_UNITS, **variables["units"]} if machine.systemd else {}
    return {"states": states, "services": [{"name": name, "is_on": states[name], "units": units.get(name, [])} for name in sorted(states)]}


def _defaults(config: Mapping[str, Any]) -> Dict[str, bool]:
    """What is on in a qube of this type where no key says otherwise."""
    # R4.0 brought the key type, R3.0 the persistence. The agents of these have no services without it; that of R2 does not ask for it.
    is_r4 = "type" in config
    lasting = "persistence" in config
    if is_r4 and not lasting:
        return {}
    found = (_R4 if is_r4 else _R3 if lasting else _R2).get(config.get("vm_type", ""), "")
    return dict.fromkeys(found.split() + (_R4_ALL.split() if is_r4 and found else []), True)
