# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""What is installed to render at each start: where it is, and what the play says to it."""

from __future__ import annotations

import json
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

from ..module_utils._filespec import File

HOOK_BELOW, UNIT_BELOW = "/rw/config/qubes-vmconfig", "/usr/lib/qubes-vmconfig"
UNIT = "/etc/systemd/system/qubes-vmconfig.service"
ENABLED = "/etc/systemd/system/sysinit.target.wants/qubes-vmconfig.service"
HOOK = "/rw/config/rc.local.d/qubes-vmconfig.rc"
_FORMAT = 1


class Part(NamedTuple):
    """What a play said of one role: its family of systems, whether to take over what the agent writes, the variables that were given, the head of
    files, the user's own templates; and the play, if the role is one of its ``roles``."""

    family: str
    take_over: bool
    variables: Mapping[str, Any]
    managed: str
    templates: Mapping[str, str]
    play: Optional[str] = None


def below(hook: bool) -> str:
    """The folder of the renderer, and of what the play said."""
    return HOOK_BELOW if hook else UNIT_BELOW


def said_at(hook: bool) -> str:
    """The file of what the play said."""
    return below(hook) + "/play.json"


def renderer_at(hook: bool) -> str:
    """The file that renders."""
    return below(hook) + "/renderer.pyz"


def installed_at(hook: bool) -> List[str]:
    """All files that are installed, and what tells of those of an older release."""
    return [said_at(hook), renderer_at(hook), *([HOOK] if hook else [UNIT, ENABLED]), below(hook) + "/__main__.py"]


def parsed(text: str) -> Dict[str, Dict[str, Any]]:
    """What was said, by the role. ``ValueError`` where it cannot be read."""
    try:
        found = json.loads(text)
        if found["format"] == _FORMAT and all({*Part._fields} <= set(part) for part in found["roles"].values()):
            return dict(found["roles"])
    except (AttributeError, KeyError, TypeError, RecursionError):
        pass
    raise ValueError("it is of another form")


def document(parts: Mapping[str, Mapping[str, Any]]) -> str:
    """The file, the same for the same parts."""
    return json.dumps({"format": _FORMAT, "roles": parts}, indent=1, sort_keys=True) + "\n"


def files(hook: bool, parts: Mapping[str, Mapping[str, Any]], renderer: bytes, starter: str, older: bool) -> List[File]:
    """What is to be there so that these parts are rendered at each start."""
    found = [File(renderer_at(hook), data=renderer), File(said_at(hook), document(parts), mode="0600")]
    found += [File(HOOK, starter, mode="0755")] if hook else [File(UNIT, starter), File(ENABLED, link=UNIT)]
    return found + [File("%s/%s" % (below(hook), name), absent=True, tree=True) for name in ("__main__.py", "parts", "vmconfig") if older]


def nothing(hook: bool) -> List[File]:
    """What is to be there so that nothing is rendered at a start."""
    gone: Sequence[str] = [HOOK] if hook else [ENABLED, UNIT]
    return [*[File(path, absent=True) for path in gone], File(below(hook), absent=True, tree=True)]
