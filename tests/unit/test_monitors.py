# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Monitors: what is refused, the layout, the size of the screen and its memory."""

from __future__ import annotations

import pytest
from ansible_collections.qubes.vmconfig.plugins.module_utils._formats import display, monitors

SMALL = {"width": 640, "height": 480}

REFUSED = [
    ([], "there are 0 monitors; expected 1 to 16"),
    ([{**SMALL, "x": 640 * number} for number in range(17)], "there are 17 monitors"),
    ("1920x1080", "the monitors are '1920x1080'; expected a list"),
    (None, "the monitors are null"),
    ([SMALL, "640x480"], "expected a list of dictionaries"),
    ([{}], "monitor 0: width is null; expected a number from 1 to 32767"),
    ([{**SMALL, "width": 0}], "monitor 0: width is 0; expected"),
    ([{**SMALL, "width": 32768}], "width is 32768"),
    ([{**SMALL, "height": -1}], "height is -1"),
    ([{**SMALL, "height": 480.5}], "height is 480.5"),
    ([{**SMALL, "height": True}], "height is true"),
    ([{**SMALL, "x": -1}], "x is -1; expected a number from 0 to 32767"),
    ([{**SMALL, "y": "1; reboot"}], "y is '1; reboot'"),
    ([{**SMALL, "y": "\u202e1"}], "y is '\\u202e1'"),
    ([{**SMALL, "width_mm": 300}], "width_mm and height_mm go together"),
    ([{**SMALL, "width_mm": -3, "height_mm": 200}], "width_mm is -3"),
    ([{**SMALL, "w": 3}], "'w' is none of width, height"),
    ([{**SMALL, "output": 'HDMI"'}], "output is 'HDMI\"'; expected a name"),
    ([SMALL, {**SMALL, "x": 639, "y": 479}], "monitors 0 and 1 overlap"),
    ([SMALL, {**SMALL, "x": 640}, SMALL], "monitors 0 and 2 overlap"),
    ([{"width": 100, "height": 100}, {"width": 10, "height": 10, "x": 45, "y": 45}], "monitors 0 and 1 overlap"),
    ([{**SMALL, "output": "DP-1"}, {**SMALL, "x": 640, "output": "DP-1"}], "monitors 0 and 1 have one output, DP-1"),
    ([{**SMALL, "x": 32700}], "the screen is 33340 by 480 pixels"),
]


@pytest.mark.parametrize("given, says", REFUSED)
def test_refused(given, says):
    told = "; ".join(monitors.problems(given))
    assert says in told
    assert told.isascii() and told.isprintable()


def test_all_problems_are_told_at_once():
    assert len(monitors.problems([{"width": 0, "height": 0}, {**SMALL, "x": -1}])) == 3


@pytest.mark.parametrize("given, layout, size", [
    ([SMALL], "640 480 0 0\n", (640, 480)),
    ([{"width": "640", "height": "480"}], "640 480 0 0\n", (640, 480)),
    ([SMALL, {**SMALL, "x": 640, "width_mm": 0, "height_mm": None}], "640 480 0 0\n640 480 640 0\n", (1280, 480)),
    ([{**SMALL, "y": 1080, "width_mm": 300, "height_mm": 200}, {"width": 1920, "height": 1080, "output": "DP-1"}],
     "640 480 0 1080 300 200\n1920 1080 0 0\n", (1920, 1560)),
    ([{"width": 32767, "height": 1}], "32767 1 0 0\n", (32767, 1)),
])
def test_good(given, layout, size):
    assert monitors.problems(given) == []
    found = monitors.monitors(given)
    assert monitors.layout(found) == layout
    assert monitors.screen(found) == size
    assert monitors.monitors(monitors.as_dicts(found)) == found


def test_a_line():
    assert monitors.parse("1920x1080+0+0  2560x1440+1920+0/600x340") == [
        {"width": 1920, "height": 1080, "x": 0, "y": 0}, {"width": 2560, "height": 1440, "x": 1920, "y": 0, "width_mm": 600, "height_mm": 340}]
    for bad in ("1920x1080", "1920x1080+0", "1920x1080+0+0,", "1920x1080+0+0/600", "1920 1080 0 0", '1920x1080+0+0"'):
        assert monitors.parse(bad) == bad


@pytest.mark.parametrize("width, height, minimum, overhead, memory", [
    (1920, 1080, None, 0, 8101),  # width * height * 4 / 1024 + 1, as in the GUI protocol
    (1920, 1080, None, None, 16201),
    (1366, 768, None, 100, 4199),
    (1920, 1080, 48600, 0, 48600),
    (1920, 1080, 100, 0, 8101),
])
def test_memory(width, height, minimum, overhead, memory):
    assert monitors.memory(monitors.Screen(width, height), minimum, overhead) == memory


def test_what_the_keys_say():
    values = display.wanted({"vm_config": {"monitors": "1920x1080+0+0"}, "gui": {"videoram_min": 48600, "videoram_overhead": 0}})
    assert display.problems(values) == ""
    file, = display.files(values, "Debian", None)
    assert (file.dest, file.protected_by) == ("/etc/X11/xorg.conf.d/20-display.conf",) * 2
    assert "\tVideoRam 48600\n" in file.text
    assert display.problems(display.wanted({})) == ""


@pytest.mark.parametrize("values, says", [
    ({"monitors": "none"}, "vm-config/monitors or display_monitors: the monitors are 'none'"),
    ({"driver": 'dummy" x'}, "display_driver"),
    ({"depth": 25}, "display_depth is none of 16, 24, 30"),
    ({"memory_min": "-1"}, "display_memory_min is no number"),
    ({"memory_overhead": "1; x"}, "display_memory_overhead is no number"),
    ({"monitors": "1x1+0+0", "driver": "modesetting"}, "needs its output"),
])
def test_variables_that_are_refused(values, says):
    told = display.problems({**display.wanted({}), **values})
    assert says in told
    assert len(told.splitlines()) == 1


def test_nothing_ends_the_quotes():
    text = display.display_conf({"monitors": [{**SMALL, "output": "HDMI-1"}], "driver": "modesetting", "depth": 24, "memory_min": 0, "memory_overhead": ""})
    assert all(line.count('"') in (0, 2, 4) for line in text.splitlines())
    assert "VideoRam" not in text and "Modeline" not in text
