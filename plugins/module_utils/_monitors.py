# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""Monitors side by side: checked, and as Qubes writes them down."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

from ._values.variables import shown

MOST = 16
"""Monitors, as many as the screen of Xorg's dummy driver has outputs."""

LARGEST = 32767
"""Pixels of an X screen in either direction, and millimetres."""

_NUMBERS = ("width", "height", "x", "y", "width_mm", "height_mm")
# As the interface has it.
_MOST_KIB = 2**31
# Of a list that is wrong all over; more help nobody.
_MOST_PROBLEMS = 20
_OUTPUT = r"[A-Za-z][A-Za-z0-9_.-]{0,30}"
_GEOMETRY = re.compile(r"([0-9]{1,9})x([0-9]{1,9})\+([0-9]{1,9})\+([0-9]{1,9})(?:/([0-9]{1,9})x([0-9]{1,9}))?")


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


def parse(text: str) -> Any:
    """The dictionaries that a line stands for, such as ``1920x1080+0+0 2560x1440+1920+0/600x340``; anything else stays as it is."""
    found = [_GEOMETRY.fullmatch(word) for word in text.split()]
    if not found or not all(found):
        return text
    return [{name: int(number) for name, number in zip(_NUMBERS, each.groups()) if number is not None} for each in found if each]


def problems(given: Any) -> List[str]:
    """All that is wrong with monitors that were given as dictionaries, in ASCII."""
    if not isinstance(given, (list, tuple)) or not all(isinstance(each, Mapping) for each in given):
        return ["the monitors are %s; expected a list of dictionaries with width, height, x and y, or a line such as 1920x1080+0+0 1280x1024+1920+0" %
                _shown(given)]
    if not given or len(given) > MOST:
        return ["there are %d monitors; expected 1 to %d" % (len(given), MOST)]
    found = ["monitor %d: %s" % (number, problem) for number, each in enumerate(given) for problem in _problems(each)]
    if len(found) > _MOST_PROBLEMS:
        found[_MOST_PROBLEMS:] = ["and %d more" % (len(found) - _MOST_PROBLEMS)]
    return found or _clashes(monitors(given))


def monitors(given: Sequence[Mapping[str, Any]]) -> List[Monitor]:
    """The monitors of dictionaries that have no problems."""
    return [Monitor(*(_number(each.get(name) or 0) or 0 for name in _NUMBERS), output=str(each.get("output") or "")) for each in given]


def as_dicts(found: Sequence[Monitor]) -> List[Dict[str, Any]]:
    """What ``monitors`` takes."""
    return [{name: value for name, value in each._asdict().items() if name in ("x", "y") or value} for each in found]


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


def kib(value: Any) -> Optional[int]:
    """A number of KiB, of which templates may have made text; None of anything else."""
    if isinstance(value, str) and re.fullmatch("[0-9]{1,10}", value):
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_KIB else None


def _problems(each: Mapping[str, Any]) -> List[str]:
    unknown = [key for key in each if key not in _NUMBERS and key != "output"]
    found = ["%s is none of %s, output" % (_shown(key), ", ".join(_NUMBERS)) for key in unknown]
    for name in _NUMBERS:
        least = 0 if name in ("x", "y") else 1
        optional = name.endswith("_mm") and each.get(name) in (None, 0)
        number = _number(each.get(name, 0 if least == 0 else None))
        if not optional and (number is None or not least <= number <= LARGEST):
            found.append("%s is %s; expected a number from %d to %d" % (name, _shown(each.get(name)), least, LARGEST))
    if bool(each.get("width_mm")) != bool(each.get("height_mm")):
        found.append("width_mm and height_mm go together")
    output = each.get("output") or "none"
    if not isinstance(output, str) or not re.fullmatch(_OUTPUT, output):
        found.append("output is %s; expected a name, such as HDMI-1" % _shown(each["output"]))
    return found


def _shown(value: Any) -> str:
    return ascii(value[:100]) if isinstance(value, str) else shown(value)


def _number(value: Any) -> Optional[int]:
    """Templates make text of a number."""
    if isinstance(value, str) and re.fullmatch("[0-9]{1,6}", value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _clashes(found: Sequence[Monitor]) -> List[str]:
    clashes = []
    for number, monitor in enumerate(found):
        for other, earlier in enumerate(found[:number]):
            if _overlap(monitor, earlier):
                clashes.append("monitors %d and %d overlap" % (other, number))
            if monitor.output and monitor.output == earlier.output:
                clashes.append("monitors %d and %d have one output, %s" % (other, number, monitor.output))
    size = screen(found)
    if max(size) > LARGEST:
        clashes.append("the screen is %d by %d pixels, and %d are the most in either direction" % (size.width, size.height, LARGEST))
    return clashes


def _overlap(one: Monitor, other: Monitor) -> bool:
    return (one.x < other.x + other.width and other.x < one.x + one.width
            and one.y < other.y + other.height and other.y < one.y + one.height)
