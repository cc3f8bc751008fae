# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The screen of a VM that has an X server of its own."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Mapping

from .. import _monitors
from .._machine import Machine
from .._monitors import Monitor, Screen, kib
from .variables import MONITORS, NUMBER, NUMBER_OR_NONE, TEXT, Variable

DUMMY = "dummy"
_DEPTHS = (16, 24, 30)
# The pixel clock of Xorg's dummy driver in kHz, at the most; and pictures in a second.
_FASTEST, _REFRESH = 300000, 60

VARIABLES = {
    "monitors": Variable(MONITORS, ("vm-config/monitors",)),
    "driver": Variable(TEXT),
    "depth": Variable(NUMBER),
    "memory_min": Variable(NUMBER, ("qubes-gui-videoram-min",)),
    "memory_overhead": Variable(NUMBER_OR_NONE, ("qubes-gui-videoram-overhead",)),
}


def values(config: Mapping[str, Any]) -> Dict[str, Any]:
    """The role's variables, from the ``config`` of keys_info."""
    gui = config.get("gui", {})
    return {
        "monitors": config.get("vm_config", {}).get("monitors", []),
        "driver": DUMMY,
        "depth": _DEPTHS[1],
        "memory_min": gui.get("videoram_min", 0),
        "memory_overhead": gui.get("videoram_overhead", ""),
    }


def problems(variables: Mapping[str, Any]) -> List[str]:
    """All that is wrong with the variables."""
    given, driver = _given(variables), variables["driver"]
    found = ["vm-config/monitors or display_monitors: " + problem for problem in _monitors.problems(given)] if given or variables["monitors"] else []
    if given and not found and driver != DUMMY and not all(each.output for each in _monitors.monitors(given)):
        found.append("a monitor of a driver other than dummy needs its output, such as HDMI-1")
    if not re.fullmatch("[a-z0-9_]+", driver):
        found.append("display_driver is not a name of small letters, digits and _")
    if variables["depth"] not in _DEPTHS:
        found.append("display_depth is none of %s" % ", ".join(map(str, _DEPTHS)))
    return found + ["display_%s is no number of KiB" % name for name in ("memory_min", "memory_overhead")
                    if kib(variables[name]) is None and variables[name] != ""]


def _given(variables: Mapping[str, Any]) -> Any:
    return _monitors.parse(variables["monitors"]) if isinstance(variables["monitors"], str) else variables["monitors"]


def names(variables: Mapping[str, Any], config: Mapping[str, Any], machine: Machine) -> Dict[str, Any]:
    """``monitors``: all in pixels, with what sections of xorg.conf(5) say of them. ``screen``: what has them all. ``memory``: for that, in KiB."""
    found = _monitors.monitors(_given(variables)) if variables["monitors"] else []
    if not found:
        return {"monitors": [], "screen": {"width": 0, "height": 0}, "memory": 0}
    size = _monitors.screen(found)
    dummy = variables["driver"] == DUMMY
    return {"monitors": [_named(number, each, size, dummy) for number, each in enumerate(found)], "screen": size._asdict(),
            "memory": _monitors.memory(size, kib(variables["memory_min"]), kib(variables["memory_overhead"]))}


def _named(number: int, monitor: Monitor, size: Screen, dummy: bool) -> Dict[str, Any]:
    """Its ``mode`` is named as the agent names its own, so that it finds this one when ``qubes.SetMonitorLayout`` asks for the size."""
    width, height = monitor.width, monitor.height
    mode = "%s%dx%d" % ("QB" if dummy else "", width, height)
    if dummy:
        # To this driver the first monitor is as large as the screen; so are its pixels then, as they are on the monitor.
        millimetres = [round(monitor.width_mm * size.width / width), round(monitor.height_mm * size.height / height)] if number == 0 else [0, 0]
    else:
        millimetres = [monitor.width_mm, monitor.height_mm]
    return {
        "output": monitor.output or "DUMMY%d" % number, "width": width, "height": height, "x": monitor.x, "y": monitor.y,
        "millimetres": millimetres if monitor.width_mm and any(millimetres) else [], "mode": mode,
        "clock": min(_FASTEST, (width + 3) * (height + 3) * _REFRESH // 1000 + 1) / 1000,
        "horizontal": [width, width + 1, width + 2, width + 3], "vertical": [height, height + 1, height + 2, height + 3],
    }
