# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The modules of all roles, and the texts of the files that they render.

The roles' templates get them through the filter ``rendered``, a renderer at boot calls ``files`` of each module. Both go by its
``VARIABLES``, what ``wanted`` makes of the keys, and where the module has them ``keys``, ``held``, ``complete`` and ``problems``;
see ``_wanted``. So all is pure, needs the standard library alone, and knows nothing of Ansible.
"""

from __future__ import annotations

from types import ModuleType
from typing import Callable, Dict

from . import display, dns_redirect, interface, resolver, services, timezone, uplink, vm_config, xkb

ROLES: Dict[str, ModuleType] = {
    "display": display, "dns_redirect": dns_redirect, "resolver": resolver, "services": services, "timezone": timezone,
    "uplink": uplink, "vm_config": vm_config, "xkb": xkb,
}
"""The module of each role that renders files."""

TEXTS: Dict[str, Callable[..., str]] = {name: text for module in [*ROLES.values(), interface] for name, text in module.TEXTS.items()}
"""Every text by the name under which the filter finds it."""
