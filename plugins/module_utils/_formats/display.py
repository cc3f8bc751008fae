# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The screen of a VM that has an X server of its own."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Mapping

from .. import _monitors as monitors
from .base import MANAGED, File, Machine
from .._monitors import Monitor, Screen, kib
from .variables import MONITORS, NUMBER, NUMBER_OR_NONE, TEXT, Variable

DEST = "/etc/X11/xorg.conf.d/20-display.conf"
DUMMY = "dummy"
DEPTHS = (16, 24, 30)

_FASTEST = 300000
"""The pixel clock of Xorg's dummy driver in kHz, at the most."""

_REFRESH = 60

VARIABLES = {
    "monitors": Variable(MONITORS, ("vm-config/monitors",)),
    "driver": Variable(TEXT),
    "depth": Variable(NUMBER),
    "memory_min": Variable(NUMBER, ("qubes-gui-videoram-min",)),
    "memory_overhead": Variable(NUMBER_OR_NONE, ("qubes-gui-videoram-overhead",)),
}


def wanted(config: Mapping[str, Any]) -> Dict[str, Any]:
    """The role's variables, from the ``config`` of keys_info."""
    gui = config.get("gui", {})
    return {
        "monitors": config.get("vm_config", {}).get("monitors", []),
        "driver": DUMMY,
        "depth": DEPTHS[1],
        "memory_min": gui.get("videoram_min", 0),
        "memory_overhead": gui.get("videoram_overhead", ""),
    }


def problems(values: Mapping[str, Any]) -> str:
    """All that is wrong with the variables, a line each."""
    given, driver, depth = _given(values), values["driver"], values["depth"]
    found = ["vm-config/monitors or display_monitors: " + problem for problem in monitors.problems(given)] if given or values["monitors"] else []
    if given and not found and driver != DUMMY and not all(each.output for each in monitors.monitors(given)):
        found.append("a monitor of a driver other than dummy needs its output, such as HDMI-1")
    if not isinstance(driver, str) or not re.fullmatch("[a-z0-9_]+", driver):
        found.append("display_driver is not a name of small letters, digits and _")
    if not isinstance(depth, (int, str)) or depth not in (*DEPTHS, *map(str, DEPTHS)):
        found.append("display_depth is none of %s" % ", ".join(map(str, DEPTHS)))
    found += ["display_%s is no number of KiB" % name for name in ("memory_min", "memory_overhead") if kib(values[name]) is None and values[name] != ""]
    return "\n".join(found)


def files(values: Mapping[str, Any], family: str, machine: Machine) -> List[File]:
    """What the role writes on such a machine."""
    return [File(DEST, MANAGED + display_conf(values), protected_by=DEST)] if values["monitors"] else []


def display_conf(values: Mapping[str, Any]) -> str:
    """Sections of xorg.conf(5). Only the dummy driver knows no modes of its own, and is told how much memory it has."""
    dummy = values["driver"] == DUMMY
    found = monitors.monitors(_given(values))
    size = monitors.screen(found)
    memory = monitors.memory(size, kib(values["memory_min"]), kib(values["memory_overhead"]))
    outputs = [each.output or "DUMMY%d" % number for number, each in enumerate(found)]
    lines = ['Section "Device"', '\tIdentifier "vmconfig"', '\tDriver "%s"' % values["driver"]]
    lines += ["\tVideoRam %d" % memory] if dummy else []
    lines += ['\tOption "Monitor-%s" "vmconfig-%d"' % (output, number) for number, output in enumerate(outputs)]
    lines.append("EndSection")
    for number, each in enumerate(found):
        lines += _monitor(number, each, size, dummy)
    lines += ['Section "Screen"', '\tIdentifier "vmconfig"', '\tDevice "vmconfig"', "\tDefaultDepth %s" % values["depth"],
              '\tSubSection "Display"', "\t\tDepth %s" % values["depth"], "\t\tVirtual %d %d" % size, "\tEndSubSection", "EndSection"]
    return "\n".join(lines) + "\n"


def _given(values: Mapping[str, Any]) -> Any:
    return monitors.parse(str(values["monitors"])) if isinstance(values["monitors"], str) else values["monitors"]


def _monitor(number: int, monitor: Monitor, size: Screen, dummy: bool) -> List[str]:
    lines = ['Section "Monitor"', '\tIdentifier "vmconfig-%d"' % number]
    if dummy:
        lines += ["\tHorizSync 1-1000", "\tVertRefresh 0.1-1000", "\tModeline %s" % _modeline(monitor)]
        if number == 0 and monitor.width_mm:
            # To this driver the first monitor is as large as the screen; so are its pixels then, as they are on the monitor.
            lines.append("\tDisplaySize %d %d" % (
                round(monitor.width_mm * size.width / monitor.width), round(monitor.height_mm * size.height / monitor.height)))
    elif monitor.width_mm:
        lines.append("\tDisplaySize %d %d" % (monitor.width_mm, monitor.height_mm))
    return [*lines, '\tOption "PreferredMode" "%s"' % (_mode(monitor) if dummy else "%dx%d" % (monitor.width, monitor.height)),
            '\tOption "Position" "%d %d"' % (monitor.x, monitor.y), '\tOption "Enable" "true"', "EndSection"]


def _mode(monitor: Monitor) -> str:
    """As the agent names its own, so that it finds this one when ``qubes.SetMonitorLayout`` asks for the size."""
    return "QB%dx%d" % (monitor.width, monitor.height)


def _modeline(monitor: Monitor) -> str:
    width, height = monitor.width, monitor.height
    clock = min(_FASTEST, (width + 3) * (height + 3) * _REFRESH // 1000 + 1)
    return '"%s" %.3f %d %d %d %d %d %d %d %d' % (
        _mode(monitor), clock / 1000, width, width + 1, width + 2, width + 3, height, height + 1, height + 2, height + 3)


TEXTS = {"20-display.conf": display_conf}
