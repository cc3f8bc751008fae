# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""What a qube wrote, as a terminal may show it."""

from __future__ import annotations

import codecs

from .. import _child
from .._child import Output
from .._text import escape_lines

_PIECE = 65536


def text_of(output: Output, most: int) -> str:
    """The output with its lines and tabs, all else that a terminal would act on escaped, and a note where it was cut.

    What is escaped is longer, so the text is cut at ``most`` characters too. The output's data is used up: with the text it would
    take twice the memory. ``Interrupted`` where this process is about to end.
    """
    cut = "... (cut: %d bytes, of which these are the first %d)" % (output.size, len(output.data)) if output.cut else ""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    data = output.data if isinstance(output.data, bytearray) else bytearray(output.data)
    shown = []
    left = most
    taken = 0
    while data and left >= 0:
        _child.refuse_to_go_on_when_ending()
        piece = bytes(data[:_PIECE])
        # From the front of a bytearray that costs nothing.
        del data[:_PIECE]
        shown.append(escape_lines(decoder.decode(piece, not data)))
        taken += len(piece)
        left -= len(shown[-1])
    if left < 0:
        shown[-1] = shown[-1][:left]
        cut = "... (cut: %d bytes, of which these are the first, %d characters when escaped)" % (output.size, most)
    data.clear()
    return "".join([*shown, cut])
