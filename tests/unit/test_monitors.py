# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Monitors: what is refused, the layout, the size of the screen and its memory."""

from __future__ import annotations

import math
import re

import pytest
from ansible_collections.qubes.vmconfig.plugins.module_utils import _monitors as monitors
from ansible_collections.qubes.vmconfig.plugins.module_utils._machine import Machine
from ansible_collections.qubes.vmconfig.plugins.module_utils._values import display
from ansible_collections.qubes.vmconfig.plugins.module_utils._values.variables import converted
from hypothesis import given as given_any
from hypothesis import settings
from hypothesis import strategies as st

SMALL = {"width": 640, "height": 480}

REFUSED = [
    ([], "there are 0 monitors; expected 1 to 16"),
    ([{**SMALL, "x": 640 * number} for number in range(17)], "there are 17 monitors"),
    ("1920x1080", "the monitors are '1920x1080'; expected a list"),
    (monitors.parse(" "), "the monitors are ' '; expected a list"),
    (monitors.parse("\t\n"), "the monitors are '\\t\\n'; expected a list"),
    (monitors.parse("9" * 5000 + "x1080+0+0"), "expected a list of dictionaries with width, height, x and y, or a line"),
    (monitors.parse("1920x1080+0+0/600x" + "9" * 5000), "expected a list of dictionaries"),
    (monitors.parse("999999x1+0+0"), "monitor 0: width is 999999; expected a number from 1 to 32767"),
    ([{**SMALL, "width": 10 ** 5000}], "monitor 0: width is a number of 16610 bits; expected"),
    ([{**SMALL, "x": -10 ** 5000}], "monitor 0: x is a number of 16610 bits; expected"),
    ([{**SMALL, "width": "9" * 5000}], "monitor 0: width is '999"),
    ([{**SMALL, "width_mm": math.nan, "height_mm": math.inf}], "width_mm is nan; expected a number"),
    ([{**SMALL, "output": 10 ** 5000}], "output is a number of 16610 bits; expected a name"),
    ([{**SMALL, "output": ["HDMI-1"]}], "output is a list; expected a name"),
    ([{**SMALL, "y": {"z": 1}}], "y is a mapping; expected a number"),
    ([{**SMALL, 10 ** 5000: 1}], "a number of 16610 bits is none of width, height"),
    (10 ** 5000, "the monitors are a number of 16610 bits; expected a list"),
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


# Not named by what is given: of a number of 5,000 digits pytest makes no name.
@pytest.mark.parametrize("given, says", REFUSED, ids=[says for dummy, says in REFUSED])
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
    values = display.values({"vm_config": {"monitors": "1920x1080+0+0"}, "gui": {"videoram_min": 48600, "videoram_overhead": 0}})
    assert display.problems(values) == []
    assert display.names(values, {}, Machine())["memory"] == 48600
    assert display.problems(display.values({})) == []


@pytest.mark.parametrize("values, says", [
    ({"monitors": "none"}, "vm-config/monitors or display_monitors: the monitors are 'none'"),
    ({"driver": 'dummy" x'}, "display_driver"),
    ({"depth": 25}, "display_depth is none of 16, 24, 30"),
    ({"memory_min": -1}, "display_memory_min is no number"),
    ({"memory_overhead": 2**31 + 1}, "display_memory_overhead is no number"),
    ({"monitors": "1x1+0+0", "driver": "modesetting"}, "needs its output"),
])
def test_variables_that_are_refused(values, says):
    told, = display.problems({**display.values({}), **values})
    assert says in told


@pytest.mark.parametrize("text", [" ", "\n", "9" * 5000 + "x1080+0+0", "1x1+0+0 " * 20000, "1920x1080+0+0/600"])
def test_a_key_that_is_no_line_of_monitors_is_one_error(text):
    told, = display.problems(display.values({"vm_config": {"monitors": text}}))
    assert told.startswith("vm-config/monitors or display_monitors: ") and len(told) < 400


def test_what_has_no_end_is_told_in_part():
    told = monitors.problems([{**SMALL, **{"key%d" % number: 1 for number in range(5000)}}] * 16)
    assert len(told) == 21 and told[-1] == "and 79980 more"


# Made when it is asked for: Python does not write such a number down, and so hypothesis cannot either.
HUGE = st.builds(lambda sign: sign * 10 ** 5000, st.sampled_from([1, -1]))
NUMBERS = st.one_of(st.integers(), st.integers(0, 4000), HUGE, st.sampled_from(["9" * 5000, "640", True, 0, None]), st.floats())
ANYTHING = st.recursive(st.one_of(NUMBERS, st.text(max_size=20)), lambda inner: st.one_of(
    st.lists(inner, max_size=3), st.dictionaries(st.one_of(st.text(max_size=5), st.just("output"), HUGE), inner, max_size=3)), max_leaves=6)
MONITOR = st.dictionaries(st.sampled_from(["width", "height", "x", "y", "width_mm", "height_mm", "output"]), st.one_of(NUMBERS, ANYTHING), max_size=7)
SIZED = st.fixed_dictionaries({name: st.one_of(st.integers(0, 40000), st.integers(0, 40000).map(str)) for name in ("width", "height", "x", "y")})
LINE = st.lists(st.tuples(*[st.integers(0, 10 ** 6)] * 6, st.booleans()), max_size=18).map(
    lambda found: " ".join(["%dx%d+%d+%d" % each[:4] + ("/%dx%d" % each[4:6] if each[6] else "") for each in found]))
GIVEN = st.one_of(st.text(max_size=100), st.text("0123456789x+/ \n", max_size=60), LINE, st.lists(MONITOR, max_size=18), st.lists(SIZED, max_size=4), ANYTHING)


@settings(max_examples=1000, deadline=None)
@given_any(values=st.fixed_dictionaries({
    "monitors": GIVEN, "driver": st.one_of(st.just("dummy"), st.just("modesetting"), ANYTHING), "depth": st.one_of(st.just(24), st.just("30"), ANYTHING),
    "memory_min": st.one_of(st.just(""), NUMBERS, ANYTHING), "memory_overhead": st.one_of(st.just(""), NUMBERS, ANYTHING)}))
def test_any_input_is_refused_in_words_or_makes_a_screen(values):
    found, unfit = converted("display", display.VARIABLES, values)
    variables = {**display.values({}), **found}
    told = [] if unfit else display.problems(variables)
    assert all(line.isascii() and line.isprintable() for line in told) and sum(map(len, told)) < 20000
    if not told and not unfit:
        names = display.names(variables, {}, Machine())
        assert len(names["monitors"]) in range(17) and all(re.fullmatch("[A-Za-z0-9_.-]+", each["output"] + each["mode"]) for each in names["monitors"])
        assert max(names["screen"].values()) <= monitors.LARGEST


@settings(max_examples=500, deadline=None)
@given_any(given=GIVEN)
def test_any_monitors_have_problems_or_a_screen(given):
    parsed = monitors.parse(given) if isinstance(given, str) else given
    told = monitors.problems(parsed)
    assert all(sentence.isascii() and sentence.isprintable() for sentence in told)
    if not told:
        found = monitors.monitors(parsed)
        assert max(monitors.screen(found)) <= monitors.LARGEST and monitors.monitors(monitors.as_dicts(found)) == found
        assert monitors.layout(found).count("\n") == len(found)
