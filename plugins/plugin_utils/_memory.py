# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""What the tasks of one play remember for the tasks after them.

It is kept in the temporary directory that ansible-core makes for each run, for its user alone, and removes at the end. So what a qube said
is neither a variable nor a fact: nothing templates it, no cache keeps it, and a task that is skipped or fails takes nothing of it away.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from typing import Any, Dict, Optional

from ansible import constants

_FOLDER = "qubes.vmconfig"


class Memory:
    """What is known in a play, by what it is of. Without the name of a play nothing is remembered."""

    def __init__(self, play: str) -> None:
        self._play = play
        self._folder = os.path.join(constants.DEFAULT_LOCAL_TMP, _FOLDER)

    def get(self, *of: str) -> Optional[Dict[str, Any]]:
        """What was put, None where nothing was."""
        try:
            with open(self._path(of), encoding="utf-8") as stream:
                return json.load(stream)
        except FileNotFoundError:
            return None

    def put(self, value: Dict[str, Any], *of: str) -> None:
        """Remembers a value that JSON has a form for."""
        if not self._play:
            return
        os.makedirs(self._folder, 0o700, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=self._folder)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump(value, stream)
        os.replace(temporary, self._path(of))

    def _path(self, of: Any) -> str:
        digest = hashlib.sha256("\0".join([self._play, *of]).encode("utf-8", "surrogatepass")).hexdigest()
        return os.path.join(self._folder, digest)
