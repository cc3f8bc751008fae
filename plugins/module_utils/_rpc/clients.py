# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The programs that call a service: their arguments, and what their exit codes tell. Pure, but for where they are.

``qrexec-client`` is dom0's: it asks no policy and starts no qube. ``qvm-run`` is an admin qube's and works through the other two.
``qrexec-client-vm`` is every qube's; dom0's policy decides where its call goes, and may start a qube for it.
"""

from __future__ import annotations

import os
import shutil
from typing import List, NamedTuple, Optional, Tuple

from .._errors import Refused

QREXEC_CLIENT, QVM_RUN, QREXEC_CLIENT_VM = "qrexec-client", "qvm-run", "qrexec-client-vm"
NAMES = (QREXEC_CLIENT, QVM_RUN, QREXEC_CLIENT_VM)
"""Dom0 has the first two, and an admin qube the last two, so the first that is there is the machine's own."""

ELSEWHERE = "/usr/lib/qubes"
"""Where dom0's is, before Qubes R4.1 there alone."""

REFUSED, NOT_RUN, FAILED = "refused", "not_run", "failed"
"""Kinds of failure that an exit code can mean."""

_NOT_RUN = {
    125: "qrexec could not carry it out", 126: "the qube could not execute the service", 127: "the qube does not have this service",
}


class Client(NamedTuple):
    """A program, by its name and where it is."""

    name: str
    path: str

    @property
    def starts_qubes(self) -> bool:
        """Whether a call may start a halted qube by itself."""
        return self.name != QREXEC_CLIENT

    def command(self, qube: str, service: str, user: Optional[str] = None, autostart: bool = False) -> List[str]:
        """The program and its arguments. Names were checked: none begins with a dash, and none has a space."""
        if self.name == QREXEC_CLIENT:
            return [self.path, "-d", qube, "%s:QUBESRPC %s dom0" % (user or "DEFAULT", service)]
        if self.name == QVM_RUN:
            options = ["--pass-io", "--no-gui", *([] if autostart else ["--no-autostart"]), *(["--user=" + user] if user else [])]
            return [self.path, *options, "--service", qube, service]
        return [self.path, qube, service]

    def meaning(self, status: int) -> Tuple[str, str]:
        """The kind of a failure, and what of it this program's exit code tells."""
        if status == 126 and self.name != QREXEC_CLIENT:
            return REFUSED, "qrexec's policy in dom0 refuses the call (126), unless the service itself ended so"
        if status in _NOT_RUN:
            return NOT_RUN, "%s (%d), unless the service itself ended so" % (_NOT_RUN[status], status)
        if status < 0:
            return FAILED, "%s was ended by signal %d" % (self.name, -status)
        own = {QREXEC_CLIENT: 1, QVM_RUN: 255}.get(self.name)
        doubt = ", which may also be %s's own error" % self.name if status == own else ""
        signalled = ", or was ended by signal %d" % (status - 128) if 128 < status < 160 else ""
        return FAILED, "the service ended with %d%s%s" % (status, signalled, doubt)


def find(name: str, user: Optional[str]) -> Client:
    """The client that was asked for, or with ``auto`` this machine's; ``Refused`` where there is none, or it cannot do what is asked."""
    path = os.environ.get("PATH", os.defpath) + os.pathsep + ELSEWHERE
    for each in NAMES if name == "auto" else (name,):
        found = shutil.which(each, path=path)
        if found is None:
            continue
        if user and each == QREXEC_CLIENT_VM:
            raise Refused("user: a call from a qube cannot choose the user; dom0's policy does (user=)")
        return Client(each, found)
    raise Refused("there is no %s on PATH or in %s" % (" and no ".join(NAMES if name == "auto" else (name,)), ELSEWHERE))
