# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""Whether a file has to be written, by what was seen of it: so the host is reached only where something differs."""

from __future__ import annotations

import base64
import hashlib
import os
from typing import Any, Dict, Mapping, Tuple

from ..module_utils._filespec import File


def differs(file: File, place: Mapping[str, Any], take_over: bool) -> bool:
    """Whether the file is not as it should be, or nobody has looked at it. What its owner protects is left alone, so it does not."""
    if is_protected(file, place):
        return False
    known = file.dest in place["asked"] or os.path.dirname(file.dest) + "/*" in place["asked"]
    if not known or file.dest in place["unknown"] or file.owner or file.group:
        return True
    # What the agent writes too, it is told of, or no longer.
    if file.agent and place["agent"] and (_protecting(file)[0] in place["taken"]) != take_over:
        return True
    state = place["states"].get(file.dest, {"kind": ""})
    return any(state[name] != value for name, value in expected(file).items())


def is_protected(file: File, place: Mapping[str, Any]) -> bool:
    """Whether the owner of the machine protects it."""
    return not set(place["protected"]).isdisjoint([file.dest, *_protecting(file)])


def expected(file: File) -> Dict[str, str]:
    """What ``place_info`` would say of the file, as far as the file says it."""
    if file.absent:
        return {"kind": ""}
    if file.link is not None:
        return {"kind": "link", "target": file.link}
    return {"kind": "file", "sha256": hashlib.sha256(file.content).hexdigest(), "mode": file.mode.zfill(4)}


def entry(file: File) -> Dict[str, Any]:
    """The file as the module takes it."""
    found: Dict[str, Any] = {"dest": file.dest, "mode": file.mode, "agent": file.agent, "owner": file.owner or None, "group": file.group or None,
                             "protected_by": list(_protecting(file)), "recurse": file.tree}
    if file.absent:
        return {**found, "absent": True}
    if file.link is not None:
        return {**found, "link": file.link}
    return {**found, **({"content": file.text or ""} if file.data is None else {"content_base64": base64.b64encode(file.data).decode("ascii")})}


def _protecting(file: File) -> Tuple[str, ...]:
    names = file.protected_by or file.dest
    return (names,) if isinstance(names, str) else tuple(names)
