# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""Where what a qube sees is not what is set for it, and why. Pure: both sides are what ``keys_info`` returns, with ``raw``."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional

from . import _interface
from ._settings import ALWAYS, Computed, Removal
from ._text import show

_OF_NETVM = ("qubes-ip", "qubes-netmask", "qubes-gateway")
_PROOF_OF_NETVM = "qubes-mac"
STALE = "its netvm is gone, and the key is stale"


def drift(settings: Mapping[str, Any], seen: Mapping[str, Any]) -> List[Dict[str, Optional[str]]]:
    """For each key that differs its name, what is ``seen`` and what ``should`` be (shown, None for not there), and the reason."""
    found = []
    for key in sorted({*settings["raw"], *settings.get("untold", ()), *seen["raw"]}):
        if key in settings["denied"] or key in seen["denied"]:
            continue
        reason = _reason(key, settings, seen["raw"])
        if reason:
            found.append({"key": key, "seen": _shown(seen["raw"], key), "should": _shown(settings["raw"], key), "reason": reason})
    return found


def _shown(raw: Mapping[str, Any], key: str) -> Optional[str]:
    if key not in raw:
        return None
    return show(raw[key]) if isinstance(raw[key], str) else "bytes that are not UTF-8"


def _reason(key: str, settings: Mapping[str, Any], seen: Mapping[str, Any]) -> str:
    """Why the key differs; empty where it does not, or where that is not known."""
    setting = _interface.setting(key)
    told, untold = settings["raw"], settings.get("untold", ())
    if not _interface.find(key):
        return "it has no setting, and the interface does not have it: it was written by hand"
    if isinstance(setting, Computed):
        return _of_computed(setting, key in seen, key in untold)
    if key in _OF_NETVM and _PROOF_OF_NETVM not in untold:
        return STALE if key in seen else ""
    if isinstance(setting, Removal):
        return "" if (key in untold) == (key in seen) else _changed(setting)
    if told.get(key) == seen.get(key) or key not in seen and key in settings.get("defaults", ()):
        return ""
    return _changed(setting)


def _of_computed(setting: Computed, is_seen: bool, is_set: bool) -> str:
    if not is_seen or is_set or setting.given in ("", ALWAYS):
        return ""
    return STALE if setting is _interface.NETVM else "it serves no network any more, and the key is stale"


def _changed(setting: Any) -> str:
    if setting.pushed:
        return "it was written by hand, or by the qube itself: the %s takes effect at once" % setting.kind
    return "the %s takes effect when the qube restarts, or it was written by hand" % setting.kind
