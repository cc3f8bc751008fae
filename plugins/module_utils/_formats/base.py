# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""What the formatters of all roles share."""

from __future__ import annotations

from typing import NamedTuple, Optional

MANAGED = "# Ansible managed\n"
"""What Ansible's ``ansible_managed`` is by default: a file written at boot starts as the roles start it."""


class File(NamedTuple):
    """A file, or a symbolic link, that a role wants. ``agent`` where the stock agent writes it too, ``absent`` where there should be none.

    An empty owner or group is whoever writes the file.
    """

    dest: str
    text: Optional[str] = None
    link: Optional[str] = None
    mode: str = "0644"
    protected_by: Optional[str] = None
    agent: bool = False
    owner: str = ""
    group: str = ""
    absent: bool = False


class Machine(NamedTuple):
    """What configures the network of the machine, and so decides which files count."""

    resolved: bool = False
    network_manager: bool = False
    networkd: bool = False
    ifupdown: bool = False
