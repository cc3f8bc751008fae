# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stand-in for the connection of Qubes: what it is told to run it runs on this machine."""

from __future__ import annotations

from ansible.plugins.connection.local import Connection as Local

DOCUMENTATION = """
name: qubes
short_description: Stands for the connection C(qubes) of Qubes OS
description:
  - Imitates the connection C(qubes) of the package qubes-ansible in its name alone. There is one machine in the lab, so everything runs there.
author: qubes.vmconfig contributors
options:
  pipelining:
    description: Send a module through standard input.
    type: bool
    default: true
    vars:
      - name: ansible_pipelining
  become_success_timeout:
    description: As for the connection C(local).
    type: int
    default: 10
  become_strip_preamble:
    description: As for the connection C(local).
    type: bool
    default: true
"""


class Connection(Local):
    """The connection of this file."""

    transport = "qubes"
