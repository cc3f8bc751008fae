# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""Renders at each start what the roles render: ``python3 -I FOLDER``, where a role has copied this and what it needs.

FOLDER/parts/ROLE.json says what is rendered: the ``family`` of systems, whether to ``take_over`` what the stock agent writes,
and the ``variables`` of the role that the user set. A value that is refused leaves the files of its role as they are; the other
roles go on, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from typing import Any, Dict, List, Mapping, NamedTuple, Sequence, Tuple

from . import _inspect, _zoneinfo
from ._errors import Refused, VmconfigError
from ._files import read_file
from ._formats.base import machine
from ._formats.every import ROLES
from ._machine import AGENT, kept
from ._placing import Place, Unplaced
from ._stores.opening import open_store
from ._text import escape, show
from ._wanted import wanted
from ._xkb.keyboard import settle

TIMEOUT = 30.0
LIMIT = 120
"""Seconds for all of it: what comes after it at a start waits for it."""
_LARGEST = 1 << 22


class Part(NamedTuple):
    """One role, as it was set up."""

    role: str
    family: str
    take_over: bool
    variables: Dict[str, Any]


class _Late(BaseException):
    """It took too long. What is passed over when a single role fails is not this."""


def main(arguments: Sequence[str]) -> int:
    """Renders all parts, and says on standard error what is wrong, a line each."""
    parser = argparse.ArgumentParser(prog="qubes-vmconfig", description="Renders files from the keys that this qube sees.")
    parser.add_argument("--root", default="/", help="render below this folder")
    parser.add_argument("--store", default="auto", help="where the keys are, as the collection's option store")
    parser.add_argument("folder", help="where the parts are")
    options = parser.parse_args(arguments)
    problems: List[str] = []
    before = signal.signal(signal.SIGALRM, _late)
    signal.alarm(LIMIT)
    try:
        _render(_parts(options.folder), options.root, options.store, problems)
    except VmconfigError as error:
        problems.append(str(error))
    except _Late:
        problems.append("it took longer than %d seconds and was ended; what was not yet written is as it was" % LIMIT)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    for problem in problems:
        sys.stderr.write("qubes-vmconfig: %s\n" % escape(problem))
    return 1 if problems else 0


def _late(*_signal: object) -> None:
    raise _Late()


def _parts(folder: str) -> List[Part]:
    parts = os.path.join(folder, "parts")
    found = []
    for name in sorted(os.listdir(parts)) if os.path.isdir(parts) else []:
        role, suffix = os.path.splitext(name)
        if suffix == ".json" and role in ROLES:
            found.append(_part(role, os.path.join(parts, name)))
    return found


def _part(role: str, path: str) -> Part:
    try:
        # Ansible takes what begins like JSON for more than text, so a comment comes first.
        lines = read_file(path, _LARGEST).decode("utf-8").split("\n")
        settings = json.loads("\n".join([line for line in lines if not line.startswith("#")]))
        return Part(role, settings["family"], settings["take_over"], dict(settings["variables"]))
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise VmconfigError("%s is not as the role %s wrote it: %s. Run the role again" % (path, role, reason)) from error


def _render(parts: Sequence[Part], root: str, url: str, problems: List[str]) -> None:
    """Renders the parts, and adds to the problems what is wrong."""
    if not parts:
        return
    found = _read(url)
    with Place(root) as place:
        for part in parts:
            try:
                problems += _render_one(place, part, root, found)
            except Unplaced as error:
                problems.append("%s: %s" % (part.role, error))
            except Exception as error:  # pylint: disable=broad-except
                # Whatever it is, no other part is to suffer from it.
                problems.append("%s: %s: %s" % (part.role, type(error).__name__, show(str(error))))


def _render_one(place: Place, part: Part, root: str, found: Mapping[str, Any]) -> List[str]:
    role = wanted(part.role, found, part.variables)
    values: Mapping[str, Any] = role.variables
    refused = ["%s: %s" % (part.role, refusal) for refusal in role.refusals] or _unfit(part, values, root)
    if part.role == "xkb" and not refused:
        values, refused = _keyboard(values)
    if not refused:
        _write(place, part, values, found["config"])
    return refused


def _read(url: str) -> Dict[str, Any]:
    store = open_store(url, TIMEOUT, [_inspect.SELF])
    try:
        selection = _inspect.selected([])
        return _inspect.report(_inspect.read(store, [_inspect.SELF], selection)[_inspect.SELF], selection, False)
    finally:
        store.close()


# -- what must not be written --


def _unfit(part: Part, values: Mapping[str, Any], root: str) -> List[str]:
    """Why the part must not be rendered on this machine."""
    if part.role == "timezone" and values["zone"]:
        objection = _zoneinfo.objection(root, values["zone"], part.family)
        return ["timezone: the value %s is refused: %s" % (show(values["zone"]), objection)] if objection else []
    return []


def _keyboard(values: Mapping[str, Any]) -> Tuple[Dict[str, Any], List[str]]:
    """What the keyboard comes to here, and why it must not be rendered."""
    try:
        settled = settle(values)
    except Refused as error:
        return dict(values), ["xkb: %s" % error]
    for note in settled.notes:
        sys.stderr.write("qubes-vmconfig: xkb: %s\n" % escape(note))
    refused = ["xkb: the value %s is refused: %s" % (show(values["keymap"] or values["layout"]), settled.refusal)] if settled.refusal else []
    return {**settled.names, "keymap": settled.keymap}, refused


# -- writing --


def _write(place: Place, part: Part, values: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    protected = place.protected()
    has_agent = place.exists(AGENT)
    for file in ROLES[part.role].files(values, part.family, machine(place.exists)):
        # Who protects /etc/localtime means the zone, which the agent knows by the name of the other file.
        if file.dest in protected or file.protected_by in protected or part.role == "timezone" and "/etc/localtime" in protected:
            continue
        if has_agent and file.agent:
            if not part.take_over:
                continue
            place.protect(file.protected_by or file.dest, kept(config))
        place.put(file._replace(text=file.made(place.read), made=None) if file.made else file)
