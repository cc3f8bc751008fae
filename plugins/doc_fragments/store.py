# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The options that say where keys are."""

    DOCUMENTATION = r"""
options:
  store:
    description:
      - Where the keys are.
      - V(auto) is for V(self), and where no qube is named inside one, the qube's own live store, its QubesDB or else the XenBus
        device. For other qubes it is V(admin) where there is an Admin API that answers, else the live store of dom0, its
        QubesDB sockets or else the socket of C(xenstored).
      - V(admin) is the settings behind the keys, through the Admin API of Qubes R4, in dom0 or in a management qube. What is
        written there lasts, and halted qubes are there too.
      - V(qubesdb) or V(qubesdb:///DIR) is QubesDB, where DIR is the folder of the sockets, C(/var/run/qubes) by default. Needs
        nothing but Python.
      - V(xenstore) or V(xenstore:///PATH) is XenStore, where PATH is a socket or a XenBus device. Needs the Python library C(pyxs).
      - V(file:///PATH) is a JSON or YAML file that maps qubes to keys to text. A YAML file needs PyYAML.
    type: str
    default: auto
  store_timeout:
    description:
      - The longest silence of a store, in seconds. After it the task fails.
    type: float
    default: 10
"""
