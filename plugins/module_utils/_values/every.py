# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The values of all roles.

Each module has ``VARIABLES`` and ``values(config)``, from the keys to the role's variables; and where the role needs them
``keys(variables)`` (more keys that matter), ``held(variables)`` (keys that would hold several variables), ``problems(variables)`` and
``names(variables, config, machine)`` (what the table and the templates have beside the variables). All is pure, and needs the standard
library alone.
"""

from __future__ import annotations

from types import ModuleType
from typing import Dict

from . import display, dns_redirect, hostname, resolver, services, timezone, uplink, vm_config, xkb

ROLES: Dict[str, ModuleType] = {
    "display": display, "dns_redirect": dns_redirect, "hostname": hostname, "resolver": resolver, "services": services,
    "timezone": timezone, "uplink": uplink, "vm_config": vm_config, "xkb": xkb,
}
"""The module of each role that renders files."""
