# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""A file as a role wants it to be."""

from __future__ import annotations

from typing import NamedTuple, Optional, Tuple, Union


class File(NamedTuple):
    """A file, or a symbolic link, that a role wants. ``agent`` where the stock agent writes it too, ``absent`` where there should be none.

    An empty owner or group is whoever writes the file.
    """

    dest: str
    text: Optional[str] = None
    link: Optional[str] = None
    mode: str = "0644"
    # The names that protect it, that by which the stock agent knows it first; without one it is dest.
    protected_by: Union[str, Tuple[str, ...], None] = None
    agent: bool = False
    owner: str = ""
    group: str = ""
    absent: bool = False
    # With absent, a folder goes too, and all that is in it.
    tree: bool = False
    # In place of text, what is none.
    data: Optional[bytes] = None

    @property
    def content(self) -> bytes:
        """What a regular file holds."""
        return self.data if self.data is not None else (self.text or "").encode("utf-8", "surrogateescape")
