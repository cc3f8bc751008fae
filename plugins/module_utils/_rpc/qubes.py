# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""What is known of qubes before they are called: whether they run, and which of their runs it is. Asked through the Admin API."""

from __future__ import annotations

import re
from typing import Optional

from .._errors import StoreError
from .._stores import adminapi
from .._stores.adminapi import Answered, CallFailed, Client, Denied, TimedOut

RUNNING, HALTED = "Running", "Halted"

DOM0 = frozenset(["dom0", "@adminvm", "$adminvm"])
"""Always there, and started by nobody."""

_LINE = re.compile(rb"\S+ class=\S+ state=(\w+)(?: .*)?\n?")
_XID = re.compile(rb"default=\w+ type=\w+ ([1-9][0-9]*)")


class Unknown(Exception):
    """It cannot be told; the text is why."""


class Qubes:
    """Qubes as the Admin API tells of them; several threads may ask at once."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout

    def state(self, qube: str) -> str:
        """Its state, of which Running alone can be called."""
        if qube in DOM0:
            return RUNNING
        if qube.startswith(("@", "$")):
            raise Unknown("where a call to %s goes, and what is started for it, only dom0's policy knows" % qube)
        found = _LINE.fullmatch(self._ask(qube, "admin.vm.List"))
        if found is None:
            raise Unknown("the Admin API's answer is no line of a qube")
        return found.group(1).decode("ascii")

    def start(self, qube: str, timeout: float) -> None:
        """Starts it; that somebody else has is as good."""
        try:
            self._api(timeout).call(qube, "admin.vm.Start")
        except Answered as error:
            if error.kind != "QubesVMNotHaltedError":
                raise Unknown("it cannot be started: %s" % error) from None
        except CallFailed as error:
            raise Unknown("it cannot be started: %s" % error) from None

    def run_of(self, qube: str) -> Optional[str]:
        """What tells this run of the qube from its others: Xen's number of it. None where nobody tells."""
        try:
            found = _XID.fullmatch(self._ask(qube, "admin.vm.property.Get", "xid"))
        except Unknown:
            return None
        return found.group(1).decode("ascii") if found else None

    def _ask(self, qube: str, method: str, argument: str = "") -> bytes:
        try:
            return self._api(self._timeout).call(qube, method, argument)
        except Denied as error:
            raise Unknown(str(error)) from None
        except TimedOut:
            raise Unknown("%s: no answer in time" % method) from None
        except CallFailed as error:
            raise Unknown("%s: %s" % (method, error)) from None

    def _api(self, timeout: float) -> Client:
        try:
            return adminapi.client("the Admin API", timeout)
        except StoreError as error:
            raise Unknown(str(error)) from None
