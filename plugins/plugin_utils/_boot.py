# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""Renders at each start what the roles render: ``python3 -I renderer.pyz``, which has this, what it needs, and the roles' tables and templates.

Beside it ``play.json`` says what a play said of each role. A value that is refused leaves the files of its role as they are; the other roles go
on, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import zipfile
from typing import Any, Dict, List, Mapping, Sequence

from ..module_utils import _inspect
from ..module_utils._asking import answer, question
from ..module_utils._errors import VmconfigError
from ..module_utils._files import read_file
from ..module_utils._live import hostname
from ..module_utils._machine import AGENT, kept, machine
from ..module_utils._placing import Place, Rules, settle
from ..module_utils._role import names, role
from ..module_utils._stores.opening import open_store
from ..module_utils._text import escape, show
from ._rendering import Table, Templates
from ._starting import parsed

TIMEOUT = 30.0
LIMIT = 120
"""Seconds for all of it: what comes after it at a start waits for it."""
_LARGEST = 1 << 22


class _Late(BaseException):
    """It took too long. What is passed over when a single role fails is not this."""


def main(arguments: Sequence[str]) -> int:
    """Renders all roles, and says on standard error what is wrong, a line each."""
    archive = os.path.abspath(sys.argv[0])
    parser = argparse.ArgumentParser(prog="qubes-vmconfig", description="Renders files from the keys that this qube sees.")
    parser.add_argument("--root", default="/", help="render below this folder")
    parser.add_argument("--store", default="auto", help="where the keys are, as the collection's option store")
    options = parser.parse_args(arguments)
    problems: List[str] = []
    before = signal.signal(signal.SIGALRM, _late)
    signal.alarm(LIMIT)
    try:
        said = _said(os.path.join(os.path.dirname(archive), "play.json"))
        _render_all(said, _stock(archive), options.root, options.store, problems)
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


def _said(path: str) -> Dict[str, Dict[str, Any]]:
    """What the play said, by the role."""
    try:
        return parsed(read_file(path, _LARGEST).decode("utf-8"))
    except (OSError, ValueError) as error:
        raise VmconfigError("%s is not as the roles wrote it: %s. Run them again" % (path, getattr(error, "strerror", None) or error)) from error


def _stock(archive: str) -> Dict[str, Any]:
    """The tables and templates that the archive has."""
    with zipfile.ZipFile(archive) as entries:
        return json.loads(entries.read("roles.json"))


def _render_all(said: Mapping[str, Mapping[str, Any]], stock: Mapping[str, Any], root: str, url: str, problems: List[str]) -> None:
    """Renders the roles, and adds to the problems what is wrong."""
    found = _read(url)
    with Place(root) as place:
        for name in [each for each in stock["tables"] if each in said]:
            try:
                _render(name, said[name], stock, place, found)
            except _Wrong as error:
                problems += ["%s: %s" % (name, sentence) for sentence in error.sentences]
            except VmconfigError as error:
                problems.append("%s: %s" % (name, error))
            except Exception as error:  # pylint: disable=broad-except
                # Whatever it is, no other role is to suffer from it.
                problems.append("%s: %s: %s" % (name, type(error).__name__, show(str(error))))


class _Wrong(Exception):
    """What a role must not render, a sentence for each reason."""

    def __init__(self, sentences: Sequence[str]) -> None:
        super().__init__()
        self.sentences = sentences


def _read(url: str) -> Dict[str, Any]:
    store = open_store(url, TIMEOUT, [_inspect.SELF])
    try:
        selection = _inspect.selected([])
        return _inspect.report(_inspect.read(store, [_inspect.SELF], selection)[_inspect.SELF], selection, False)
    finally:
        store.close()


def _render(name: str, part: Mapping[str, Any], stock: Mapping[str, Any], place: Place, found: Mapping[str, Any]) -> None:
    mine = role(name, found, part["variables"])
    if mine.refusals:
        raise _Wrong(mine.refusals)
    variables = {**mine.variables, **_asked(name, mine.variables, place.root, part["family"])}
    agent = place.exists(AGENT)
    there = machine(place.kind, part["family"], agent, part["take_over"])._replace(starts=True)
    table = Table(name, stock["tables"][name], Templates(stock["templates"], part["templates"]))
    files = table.files(names(name, variables, found["config"], there, part["managed"]))
    settle(place, files, Rules(place.protected(), part["take_over"], agent, kept(found["config"])))
    # The kernel alone can be told without a program, and where the agent no longer does it, nobody else would.
    if name == "hostname" and place.root == "/" and not there.leaves and "/etc/hostname" not in place.protected() and hostname.missing(variables).differing:
        hostname.set_all(variables)


def _asked(name: str, variables: Mapping[str, Any], root: str, family: str) -> Dict[str, Any]:
    """What the machine adds to the variables."""
    asked = question(name, variables, root, family)
    if not asked:
        return {}
    said = answer(name, variables, asked.ask())
    for note in said.notes:
        sys.stderr.write("qubes-vmconfig: %s: %s\n" % (name, escape(note)))
    if said.refusals:
        raise _Wrong(said.refusals)
    return said.names
