# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""What the formatters of all roles share."""

from __future__ import annotations

from typing import Callable, NamedTuple

from .._filespec import File, Read

__all__ = ["MANAGED", "File", "Machine", "Read", "machine"]

MANAGED = "# Ansible managed\n"
"""What Ansible's ``ansible_managed`` is by default: a file written at boot starts as the roles start it."""


class Machine(NamedTuple):
    """What is on the machine, and so decides which files count."""

    resolved: bool = False
    network_manager: bool = False
    networkd: bool = False
    ifupdown: bool = False
    # /etc/sysconfig is a directory.
    sysconfig: bool = False


def machine(exists: Callable[[str], bool]) -> Machine:
    """What ``exists`` says is there, of files by their paths."""
    def any_of(*paths: str) -> bool:
        return any(exists(path) for path in paths)

    units = "/etc/systemd/system/"
    return Machine(
        # Enabling it makes the first link, and one of the others.
        resolved=any_of(units + "dbus-org.freedesktop.resolve1.service", *[
            "%s%s.target.wants/systemd-resolved.service" % (units, target) for target in ("sysinit", "multi-user")]),
        network_manager=any_of("/usr/sbin/NetworkManager", "/usr/bin/NetworkManager"),
        networkd=exists(units + "multi-user.target.wants/systemd-networkd.service"),
        ifupdown=exists("/sbin/ifup"),
        sysconfig=exists("/etc/sysconfig/."),
    )
