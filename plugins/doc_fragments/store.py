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
      - V(auto) is the machine's own live store, QubesDB before XenStore. Inside a qube that is its own QubesDB or the XenBus
        device, elsewhere the QubesDB sockets of dom0 or the socket of C(xenstored).
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
