# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The host name that the kernel has."""

from __future__ import annotations

import socket
from typing import Any, Dict, List, Mapping, NamedTuple

from .._errors import VmconfigError
from .._text import escape

SETTING = "kernel.hostname"


class Missing(NamedTuple):
    """What differs, by the name that an audit lists, and what ``--diff`` shows of it."""

    differing: List[str]
    diff: Dict[str, str]


def missing(variables: Mapping[str, Any]) -> Missing:
    """What is not as the variables of the role say."""
    before, after = socket.gethostname(), variables["name"]
    if not after or before == after:
        return Missing([], {})
    return Missing([SETTING], {"before_header": SETTING, "after_header": SETTING, "before": escape(before) + "\n", "after": after + "\n"})


def set_all(variables: Mapping[str, Any]) -> None:
    """Tells the kernel."""
    try:
        socket.sethostname(variables["name"])
    except OSError as error:
        raise VmconfigError("the kernel does not take %s = %s: %s" % (SETTING, variables["name"], error.strerror)) from None
