# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""Monitors side by side: checked, and as Qubes writes them down. Pure."""

from __future__ import annotations

import re
from typing import Any, List, Mapping, NamedTuple, Optional, Sequence

from ._errors import Refused
from ._text import show

MOST = 16
"""Monitors, as many as the screen of Xorg's dummy driver has outputs."""

LARGEST = 32767
"""Pixels of an X screen in either direction, and millimetres."""

_NUMBERS = ("width", "height", "x", "y", "width_mm", "height_mm")
_OUTPUT = r"[A-Za-z][A-Za-z0-9_.-]{0,30}"


class Monitor(NamedTuple):
    """One monitor in pixels; its size in millimetres is 0 where it was not given, its output the driver's name for it."""

    width: int
    height: int
    x: int
    y: int
    width_mm: int = 0
    height_mm: int = 0
    output: str = ""

    @property
    def line(self) -> str:
        """As ``qubes.SetMonitorLayout`` takes it."""
        millimetres = " %d %d" % (self.width_mm, self.height_mm) if self.width_mm else ""
        return "%d %d %d %d%s" % (self.width, self.height, self.x, self.y, millimetres)


class Screen(NamedTuple):
    """What all monitors are on, from the origin on."""

    width: int
    height: int


def monitors(given: Any) -> List[Monitor]:
    """The monitors that were given as dictionaries; ``Refused`` with all that is wrong with them."""
    if not isinstance(given, (list, tuple)) or not all(isinstance(each, Mapping) for each in given):
        raise Refused("the monitors are %s; expected a list of dictionaries with width, height, x and y" % show(given))
    problems: List[str] = []
    found: List[Monitor] = []
    for number, each in enumerate(given):
        wrong = _problems(each)
        problems += ["monitor %d: %s" % (number, problem) for problem in wrong]
        if not wrong:
            found.append(_monitor(each))
    if not given or len(given) > MOST:
        problems.append("there are %d monitors; expected 1 to %d" % (len(given), MOST))
    if not problems:
        problems = _clashes(found)
    if problems:
        raise Refused("; ".join(problems))
    return found


def layout(found: Sequence[Monitor]) -> str:
    """The standard input of ``qubes.SetMonitorLayout``."""
    return "".join(monitor.line + "\n" for monitor in found)


def screen(found: Sequence[Monitor]) -> Screen:
    """The smallest screen that has all of them on it."""
    return Screen(max(monitor.x + monitor.width for monitor in found), max(monitor.y + monitor.height for monitor in found))


def memory(size: Screen, minimum: Optional[int] = None, overhead: Optional[int] = None) -> int:
    """The video memory in KiB: what the GUI protocol computes for a screen, room for more, and never less than the minimum.

    Without an overhead there is room for another monitor of 1920 by 1080, as in the VMs of Qubes.
    """
    needed = size.width * size.height * 4 // 1024 + 1
    return max(needed + (1920 * 1080 * 4 // 1024 if overhead is None else overhead), minimum or 0)


def _problems(each: Mapping[str, Any]) -> List[str]:
    unknown = [key for key in each if key not in _NUMBERS and key != "output"]
    problems = ["%s is none of %s, output" % (show(key), ", ".join(_NUMBERS)) for key in unknown]
    for name in _NUMBERS:
        least = 0 if name in ("x", "y") else 1
        optional = name.endswith("_mm") and each.get(name) in (None, 0)
        number = _number(each.get(name, 0 if least == 0 else None))
        if not optional and (number is None or not least <= number <= LARGEST):
            problems.append("%s is %s; expected a number from %d to %d" % (name, show(each.get(name)), least, LARGEST))
    if bool(each.get("width_mm")) != bool(each.get("height_mm")):
        problems.append("width_mm and height_mm go together")
    if not re.fullmatch(_OUTPUT, str(each.get("output") or "none")):
        problems.append("output is %s; expected a name, such as HDMI-1" % show(each["output"]))
    return problems


def _number(value: Any) -> Optional[int]:
    """Templates make text of a number."""
    if isinstance(value, str) and re.fullmatch("[0-9]{1,6}", value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _monitor(each: Mapping[str, Any]) -> Monitor:
    return Monitor(*(_number(each.get(name) or 0) or 0 for name in _NUMBERS), output=str(each.get("output") or ""))


def _clashes(found: Sequence[Monitor]) -> List[str]:
    problems = []
    for number, monitor in enumerate(found):
        for other, earlier in enumerate(found[:number]):
            if _overlap(monitor, earlier):
                problems.append("monitors %d and %d overlap" % (other, number))
            if monitor.output and monitor.output == earlier.output:
                problems.append("monitors %d and %d have one output, %s" % (other, number, monitor.output))
    size = screen(found)
    if max(size) > LARGEST:
        problems.append("the screen is %d by %d pixels, and %d are the most in either direction" % (size.width, size.height, LARGEST))
    return problems


def _overlap(one: Monitor, other: Monitor) -> bool:
    return (one.x < other.x + other.width and other.x < one.x + one.width
            and one.y < other.y + other.height and other.y < one.y + one.height)
