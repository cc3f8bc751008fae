# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for dom0's package of this name, as far as its call goes: it asks the lab's qubesd, by way of the lab's client."""

from __future__ import annotations

import subprocess

from . import exc


class Qubes:
    """What the real one is for: qubesd's calls."""

    def qubesd_call(self, dest, method, arg=None, payload=None):
        """The value's bytes; an exception of qubesd's name, or QubesDaemonAccessError where there was no answer."""
        service = method if arg is None else "%s+%s" % (method, arg)
        answer = subprocess.run(["qrexec-client-vm", dest, service], input=payload or b"", stdout=subprocess.PIPE, check=False).stdout
        if answer.startswith(b"0\0"):
            return answer[2:]
        if not answer:
            raise exc.named("QubesDaemonAccessError")("Got empty response from qubesd.")
        _tag, kind, _traceback, template, *fields = answer.split(b"\0")[:-1]
        raise exc.named(kind.decode())(template.decode() % tuple(field.decode() for field in fields))
