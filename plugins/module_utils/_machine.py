# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""What kind of place a machine is, from what is on it and from the keys of the qube."""

from __future__ import annotations

import re
from typing import Any, Mapping

from ._tree import Tree

AGENT = "/usr/lib/qubes/init/functions"
"""What is there where the stock agent is installed."""
FAMILIES = {"Debian": ("debian", "ubuntu"), "RedHat": ("fedora", "rhel", "centos"), "Archlinux": ("arch", "archlinux")}
"""The families of systems, with the names by which os-release(5) knows them."""


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
