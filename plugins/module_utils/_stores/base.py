# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The interface that all stores have. What a store cannot do, its class says."""

from __future__ import annotations

from typing import Callable, Dict, List, Mapping, Optional

from .._interface import PERSISTENT, Row, Selection
from .._plan import Change, Snapshot

Replan = Callable[[Snapshot], List[Change]]


class Store:
    """A place that holds keys of qubes.

    A store is made without touching anything; the first operation opens it. Every operation ends within ``timeout``
    seconds of silence, and raises ``StoreError`` with a whole message for whatever goes wrong.
    """

    kind = ""
    permissions = False
    """Whether each key has permissions for the qube."""

    most_changes = 0
    """Changes to one qube at once at the most; 0 is any number."""

    def __init__(self, url: str, timeout: float) -> None:
        self.url = url
        self.timeout = timeout

    def limit(self, key: str, value: Optional[bytes]) -> str:
        """What this store has against such a key and value, or the empty text. Touches nothing."""
        return ""

    def lasts(self, row: Optional[Row]) -> str:
        """How long a write of this row lasts here."""
        return PERSISTENT

    def qubes(self) -> List[str]:
        """The names of all qubes that are here."""
        raise NotImplementedError

    def scope(self) -> List[str]:
        """The qubes that a task means when it names none."""
        return self.qubes()

    def missing(self, qubes: List[str]) -> List[str]:
        """Those of the names that are not here."""
        raise NotImplementedError

    def read(self, wanted: Mapping[str, Selection], access: bool = False) -> Dict[str, Snapshot]:
        """What each of these qubes holds; ``QubeMissing`` when one is not here."""
        raise NotImplementedError

    def update(self, qube: str, selection: Selection, replan: Replan, access: bool = False) -> List[Change]:
        """Reads again what is selected, asks ``replan`` what to change, and does that: all or nothing.

        Returns the changes that were made.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Lets go of what the store holds open. It opens again when it is used again."""
