# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""What a qube may be called in a task, before any store is asked about it."""

from __future__ import annotations

from ._errors import Refused
from ._text import escape, show

_LONGEST = 255
_DOMIDS = 2**32


def qube_name(given: object) -> str:
    """The name as text. ``Refused`` for what names no one qube: nothing, blanks, a path, all of them."""
    if isinstance(given, int) and not isinstance(given, bool) and 0 <= given < _DOMIDS:
        return str(given)
    if not isinstance(given, str):
        raise Refused("qube %s: expected a name as text, in quotes, a domid or self" % show(given))
    if not given.strip():
        raise Refused("qube %s: the name is empty; expected a name, a domid or self. Where a variable gives it, look at that" % show(given))
    if given == "*":
        raise Refused("qube '*': expected one qube's name; globs are not taken here")
    if given != given.strip() or "/" in given or escape(given) != given or len(given) > _LONGEST:
        raise Refused("qube %s: no qube has such a name; expected one without blanks around it, slashes and control characters, of at most %d "
                      "characters" % (show(given), _LONGEST))
    return given
