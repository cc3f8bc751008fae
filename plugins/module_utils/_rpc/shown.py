# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""What a qube wrote, as a terminal may show it."""

from __future__ import annotations

from .._child import Output
from .._text import escape

_PIECE = 4096


def text_of(output: Output) -> str:
    """The output with its lines and tabs, all else that a terminal would act on escaped, and a note where it was cut."""
    text = output.data.decode("utf-8", "surrogateescape")
    shown = "\n".join("\t".join(map(_escaped, line.split("\t"))) for line in text.split("\n"))
    return shown + "... (cut: %d bytes, of which these are the first %d)" % (output.size, len(output.data)) if output.cut else shown


def _escaped(text: str) -> str:
    """In pieces, for each character that is escaped costs an object meanwhile."""
    return "".join([escape(text[begin:begin + _PIECE]) for begin in range(0, len(text), _PIECE)])
