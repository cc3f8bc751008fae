# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The three programs that call a service: what they take their arguments for, and when they call nothing.

Facts: QubesOS/qubes-core-qrexec, agent/qrexec-client-vm.rst (arguments, 125, 126, 128 and more), doc/execution.rst (the command line of a
call, what is executed, 125, 127), the options that qrexec-client's usage names; QubesOS/qubes-core-admin-client, doc/manpages/qvm-run.rst.
"""

from __future__ import annotations

import argparse
import getopt
import re
from typing import List, NamedTuple, NoReturn, Optional

from adminqubes import DOM0, House

REFUSED, USAGE_OF_CLIENT, USAGE_OF_RUN, SHELL = 126, 1, 2, 99
REFUSED_TEXT = b"Request refused\n"


class Problem(NamedTuple):
    """Why nothing is called: the program's exit code, a word for it, and what the program says."""

    status: int
    outcome: str
    text: bytes


class Asked(NamedTuple):
    """A call as the program understood it."""

    program: str
    target: str
    service: str
    user: str = ""
    autostart: bool = True
    passes_io: bool = True
    problem: Optional[Problem] = None


def parse(program: str, arguments: List[str], first: int) -> Asked:
    """`first`: where qrexec-client-vm found its target."""
    if program == "qrexec-client":
        return _client(arguments)
    if program == "qvm-run":
        return _run(arguments)
    target = arguments[first].replace("$", "@")
    return Asked(program, DOM0 if target == "@adminvm" else target, arguments[first + 1])


def problem(asked: Asked, house: House, refused: bool) -> Optional[Problem]:
    """What keeps the call from its service."""
    qube = house.qubes.get(asked.target)
    if asked.program == "qrexec-client":  # asks no policy, and starts nothing: it needs the socket of a qube that runs
        runs = qube and qube.state == "Running"
        return None if runs else Problem(1, "absent", b"connect: No such file or directory\n")
    if asked.program == "qvm-run" and not qube:
        return Problem(USAGE_OF_RUN, "absent", b"qvm-run: error: no such domain\n")
    if asked.program == "qvm-run" and not asked.autostart and qube and qube.state != "Running":
        return Problem(1, "not started", b"")  # with --pass-io it does not say so
    return Problem(REFUSED, "refused", REFUSED_TEXT) if refused or not qube else None


def start(asked: Asked, house: House) -> bool:
    """Starts the target where it is halted, as policy does unless it says otherwise. Returns whether it was."""
    qube = house.qubes[asked.target]
    halted = qube.state == "Halted"
    house.bring(qube, "Running")
    return halted


def _client(arguments: List[str]) -> Asked:
    usage = Problem(USAGE_OF_CLIENT, "usage", b"usage: qrexec-client [options] -d domain_name remote_cmdline\n")
    try:
        options, rest = getopt.getopt(arguments, "hd:l:ec:tTw:W", ["help", "socket-dir="])
    except getopt.GetoptError:
        return Asked("qrexec-client", "", "", problem=usage)
    target = dict(options).get("-d", "")
    if not target or len(rest) != 1 or target in (DOM0, "@adminvm"):
        return Asked("qrexec-client", target, "", problem=usage)
    user, _colon, line = rest[0].partition(":")
    line = line[len("nogui:"):] if line.startswith("nogui:") else line
    found = re.fullmatch(r"QUBESRPC ([^ ]+) ([^ ]+)", line)
    if not found:  # then it is a line for a shell in the qube
        return Asked("qrexec-client", target, line, user, problem=Problem(SHELL, "shell", b""))
    return Asked("qrexec-client", target, found.group(1), user)


class _Usage(Exception):
    pass


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _Usage(message)


def _run(arguments: List[str]) -> Asked:
    parser = _Parser(prog="qvm-run", add_help=False, allow_abbrev=False)
    for names in (("--verbose", "-v"), ("--quiet", "-q"), ("--autostart", "--auto", "-a"), ("--pass-io", "-p"), ("--gui",), ("--no-gui", "--nogui"),
                  ("--no-colour-output", "--no-color-output"), ("--no-colour-stderr", "--no-color-stderr"), ("--filter-escape-chars",),
                  ("--no-filter-escape-chars",), ("--service",), ("--all",)):
        parser.add_argument(*names, action="store_true")
    parser.add_argument("--no-autostart", "--no-auto", "-n", action="store_false", dest="starts")
    for names in (("--user", "-u"), ("--localcmd",), ("--colour-output", "--color-output"), ("--colour-stderr", "--color-stderr"), ("--exclude",)):
        parser.add_argument(*names)
    parser.add_argument("target")
    parser.add_argument("command")
    parser.add_argument("more", nargs=argparse.REMAINDER)
    try:
        found = parser.parse_args(arguments)
    except _Usage as error:
        return Asked("qvm-run", "", "", problem=Problem(USAGE_OF_RUN, "usage", str(error).encode("utf-8", "surrogateescape")))
    shell = None if found.service and not found.localcmd else Problem(SHELL, "shell", b"")
    return Asked("qvm-run", found.target, found.command, found.user or "", found.starts, found.pass_io, shell)
