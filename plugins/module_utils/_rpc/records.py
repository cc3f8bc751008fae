# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""What a qube was last told and cannot be asked for: its monitors, its GUI mode.

A file for each qube, in a folder that is lost when this machine restarts, as the qubes' own settings are then. It belongs to one run of
the qube: a qube that was restarted has forgotten, and so has the record of it.
"""

from __future__ import annotations

import json
import os
import stat
from typing import Dict, Optional

from .._errors import Refused
from .._files import read_file, replace_file
from .._text import escape

LARGEST = 65536


def folder(given: Optional[str]) -> Optional[str]:
    """Where the records are: as given, else where only this user may write and a restart forgets; None where there is no such place."""
    if given:
        return given
    if os.geteuid() == 0:
        return "/run/qubes-vmconfig"
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return os.path.join(runtime, "qubes-vmconfig") if runtime else None


class Records:
    """The records of a folder."""

    def __init__(self, path: str) -> None:
        self._path = path

    def read(self, qube: str, run: Optional[str]) -> Dict[str, str]:
        """What this run of the qube was told; nothing where that is not known. ``Refused`` for a folder that others may write to."""
        if not self._is_ours() or run is None:
            return {}
        try:
            found = json.loads(read_file(self._file(qube), LARGEST).decode("utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        if not isinstance(found, dict) or found.get("run") != run or not isinstance(found.get("told"), dict):
            return {}
        return {name: text for name, text in found["told"].items() if isinstance(text, str)}

    def write(self, qube: str, run: Optional[str], told: Dict[str, str]) -> None:
        """Keeps what the run was told; without a run there is nothing to keep it for. ``OSError`` says why it could not be kept."""
        if run is None or not told:
            return self.forget(qube)
        os.makedirs(self._path, mode=0o700, exist_ok=True)
        self._is_ours()
        replace_file(self._file(qube), json.dumps({"run": run, "told": told}).encode("utf-8"))

    def forget(self, qube: str) -> None:
        try:
            os.unlink(self._file(qube))
        except FileNotFoundError:
            pass

    def _file(self, qube: str) -> str:
        return os.path.join(self._path, qube + ".json")

    def _is_ours(self) -> bool:
        """Whether the folder is there. Who else may write to it could say that a qube was told what it was not."""
        try:
            status = os.lstat(self._path)
        except OSError:
            return False
        if not stat.S_ISDIR(status.st_mode) or status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o022:
            raise Refused("state_dir %s: expected a folder that belongs to this user, and that nobody else may write to" % escape(self._path))
        return True
