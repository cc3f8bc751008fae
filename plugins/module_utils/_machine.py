# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""What kind of place a machine is, from what is on it and from the keys of the qube."""

from __future__ import annotations

import re
from typing import Any, Callable, Mapping, NamedTuple

from ._tree import Tree

AGENT = "/usr/lib/qubes/init/functions"
"""What is there where the stock agent is installed."""
FAMILIES = {"Debian": ("debian", "ubuntu"), "RedHat": ("fedora", "rhel", "centos"), "Archlinux": ("arch", "archlinux")}
"""The families of systems, with the names by which os-release(5) knows them."""

_UNITS = "/etc/systemd/system/"
# Enabling systemd-resolved makes the first, and one of the others.
_RESOLVED = (_UNITS + "dbus-org.freedesktop.resolve1.service", _UNITS + "sysinit.target.wants/systemd-resolved.service",
             _UNITS + "multi-user.target.wants/systemd-resolved.service")
_NETWORKD = _UNITS + "multi-user.target.wants/systemd-networkd.service"
_NETWORK_MANAGER = ("/usr/sbin/NetworkManager", "/usr/bin/NetworkManager")
_HOSTNAME = ("/usr/bin/hostname", "/bin/hostname")
_IFUPDOWN, _SYSCONFIG, _SYSTEMD = "/sbin/ifup", "/etc/sysconfig", "/run/systemd/system"
PROBED = (*_RESOLVED, _NETWORKD, *_NETWORK_MANAGER, *_HOSTNAME, _IFUPDOWN, _SYSCONFIG, _SYSTEMD)
"""The paths that tell what is on a machine."""


class Machine(NamedTuple):
    """What is on a machine, and so decides which files count there. Tables and templates of roles have it as ``machine``."""

    # Debian, RedHat or Archlinux; what the system calls itself where it is none of them.
    family: str = ""
    # The stock agent of Qubes is installed; and what it does is left to it.
    agent: bool = False
    leaves: bool = False
    # Which services are enabled, or at least installed, and whether systemd runs.
    network_manager: bool = False
    networkd: bool = False
    resolved: bool = False
    ifupdown: bool = False
    systemd: bool = False
    # /etc/sysconfig is a directory.
    sysconfig: bool = False
    # The program hostname is there.
    hostname: bool = False
    # A unit of systemd renders this role at each start.
    starts: bool = False


def machine(kind: Callable[[str], str], name: str, agent: bool, take_over: bool) -> Machine:
    """The machine of a family with that ``name``, on which ``kind`` tells of PROBED what is there, as ``Tree.kind`` does."""
    def any_of(paths: Any) -> bool:
        return any(kind(path) for path in paths)

    return Machine(
        name, agent, agent and not take_over, any_of(_NETWORK_MANAGER), bool(kind(_NETWORKD)), any_of(_RESOLVED), bool(kind(_IFUPDOWN)),
        kind(_SYSTEMD) == "dir", kind(_SYSCONFIG) == "dir", any_of(_HOSTNAME))


def family(tree: Tree) -> str:
    """The family of systems, as ``ansible_facts.os_family`` names it; for one that is not known what it calls itself, or nothing."""
    lines = re.findall(r"(?m)^ID(?:_LIKE)?=(.*)$", tree.read("/etc/os-release"))
    names = re.findall(r"[a-z][a-z0-9._-]+", " ".join(lines))
    known = [each for each, own in FAMILIES.items() if set(own).intersection(names)]
    return (known + names + [""])[0]


def is_template(config: Mapping[str, Any]) -> bool:
    """Whether other qubes are based on the one with these keys."""
    return "Template" in "%s %s" % (config.get("type", ""), config.get("vm_type", ""))


def is_volatile(config: Mapping[str, Any]) -> bool:
    """Whether /etc is lost at shutdown. R2 does not say what survives a restart, but what may be updated does."""
    return config.get("persistence", "full" if config.get("updateable", True) else "rw-only") != "full"


def kept(config: Mapping[str, Any]) -> str:
    """The folder below which the agent is told of files, so that it is told at the next start too."""
    return "/rw/config" if is_volatile(config) else "/etc/qubes"
