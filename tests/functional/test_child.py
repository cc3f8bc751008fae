# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Running a program: what it is given, how much of it is kept, and that nothing of it is left when it is over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from ansible_collections.qubes.vmconfig.plugins.module_utils import _child
from harness import within


def shell(line, payload=b"", timeout=10.0, most=65536):
    return _child.run(["/bin/sh", "-c", line], payload, timeout, most)


def alive(path):
    """Whether the process runs whose number is in a file."""
    for _try in range(100):
        if path.exists() and path.read_text().endswith("\n"):
            break
        time.sleep(0.01)
    with open("/proc/%d/stat" % int(path.read_text()), encoding="ascii") as stream:
        return stream.read().split(") ")[1][0] != "Z"


def gone(path):
    """It may take a moment until a process that was ended is no more."""
    for _try in range(100):
        try:
            if not alive(path):
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.01)
    return False


def test_what_goes_in_and_what_comes_out():
    everything = bytes(range(256)) * 5000
    ended = _child.run(["/bin/sh", "-c", "cat; echo no >&2; exit 7"], everything, 10.0, 2 * len(everything))
    assert ended == (7, (everything, len(everything)), (b"no\n", 3))
    assert not ended.output.cut


def test_arguments_are_no_line_of_a_shell():
    arguments = ["a b", "'\"", "x;y", "$(id)", "--option", "two\nlines", os.fsdecode(b"\xff\x80"), ""]
    ended = _child.run(["/usr/bin/printf", "%s\\0", *arguments], b"", 10.0, 65536)
    assert ended.output.data == b"".join(os.fsencode(each) + b"\0" for each in arguments)


def test_no_more_is_kept_than_was_agreed_on():
    ended = shell("head -c 10000000 /dev/zero; head -c 3000 /dev/zero >&2", most=1000)
    assert (len(ended.output.data), ended.output.size, ended.output.cut) == (1000, 10000000, True)
    assert (len(ended.told.data), ended.told.size) == (1000, 3000)
    assert shell("echo", most=0).output == (b"", 1)


def test_a_program_that_does_not_read():
    assert shell("exec <&-; echo fine", payload=b"x" * 10 ** 6).output.data == b"fine\n"
    assert shell("exit 3", payload=b"x" * 10 ** 6).status == 3


def test_a_program_that_reads_after_it_has_said_all(tmp_path):
    shell("exec >&- 2>&-; sleep 0.2; cat > %s" % (tmp_path / "read"), payload=b"x" * 10 ** 6)
    assert (tmp_path / "read").read_bytes() == b"x" * 10 ** 6


def test_input_that_a_child_in_the_background_keeps_open_and_does_not_read(tmp_path):
    with within(2.0):
        assert shell("sleep 60 <&0 & echo $! > %s; exit 4" % (tmp_path / "pid"), payload=b"x" * 10 ** 6, timeout=30.0).status == 4
    assert gone(tmp_path / "pid")


def test_a_signal():
    assert shell("kill -TERM $$").status == -signal.SIGTERM


@pytest.mark.parametrize("line", [
    "sleep 60 & echo $! > PID; wait",
    "sleep 60 & echo $! > PID; while :; do echo y; done",
    "trap '' TERM HUP INT; sleep 60 & echo $! > PID; exec >&- 2>&-; wait",
    "(trap '' TERM; while :; do sleep 1; done) & echo $! > PID; wait",
], ids=["silent", "endless", "without outputs", "stubborn"])
def test_nothing_is_left_at_the_timeout(tmp_path, line):
    with within(2.5), pytest.raises(_child.TimedOut):
        shell(line.replace("PID", str(tmp_path / "pid")), timeout=0.5)
    assert gone(tmp_path / "pid")


def test_what_outlives_its_program_holds_up_nobody(tmp_path):
    """A child in the background has the outputs open, and would keep them for a minute."""
    with within(2.0):
        ended = shell("sleep 60 & echo $! > %s; echo done" % (tmp_path / "pid"), timeout=30.0)
    assert (ended.status, ended.output.data) == (0, b"done\n")
    assert gone(tmp_path / "pid")


@pytest.mark.parametrize("line, output", [
    ("while :; do echo y; done & echo $! > PID; sleep 0.3; exit 3", b"y\n"),
    ("echo mine; while :; do echo y; done >&2 & echo $! > PID; exit 3", b"mine\n"),
], ids=["output", "errors"])
def test_what_goes_on_writing_when_its_program_has_ended_is_ended(tmp_path, line, output):
    with within(3.0):
        ended = shell(line.replace("PID", str(tmp_path / "pid")), timeout=30.0)
    assert ended.status == 3
    assert ended.output.data.startswith(output)
    assert gone(tmp_path / "pid")


def test_a_daemon_that_goes_on_writing_holds_up_nobody_and_lives(tmp_path):
    line = """setsid sh -c 'trap "" PIPE; echo $$ > PID; while :; do echo y; sleep 0.01; done' & while [ ! -s PID ]; do :; done"""
    with within(3.0):
        assert shell(line.replace("PID", str(tmp_path / "pid")), timeout=30.0).status == 0
    assert alive(tmp_path / "pid")
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_a_daemon_that_it_starts_holds_up_nobody_and_lives(tmp_path):
    """A service may be there to start one, so what has a session of its own is left alone, as the documentation says."""
    with within(3.0):
        ended = shell("setsid sleep 60 & echo $! > %s; while ! grep -q sleep /proc/$!/comm; do :; done; echo done" % (tmp_path / "pid"), timeout=30.0)
    assert ended.output.data == b"done\n"
    assert alive(tmp_path / "pid")
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_where_it_runs(tmp_path):
    assert _child.run(["/bin/pwd"], folder=str(tmp_path)).output.data == os.fsencode(tmp_path) + b"\n"
    with pytest.raises(_child.NotRun, match="/bin/pwd cannot be run: No such file or directory"):
        _child.run(["/bin/pwd"], folder=str(tmp_path / "nowhere"))


@pytest.mark.parametrize("command, says", [
    (["/nowhere/program"], "/nowhere/program cannot be run: No such file or directory"),
    (["/etc/passwd"], "/etc/passwd cannot be run: Permission denied"),
    (["/bin/echo", "a\0b"], "cannot be run: embedded null byte"),
])
def test_not_run(command, says):
    with pytest.raises(_child.NotRun) as caught:
        _child.run(command, b"", 1.0, 10)
    assert says in str(caught.value)


THREADS = """
import signal, sys, threading, time
from ansible_collections.qubes.vmconfig.plugins.module_utils import _child
def work():
    try:
        _child.run(["/bin/sh", "-c", "sleep 60 & echo $! > %s; wait"], b"", 60.0, 10)
    except _child.Interrupted:
        print("interrupted", flush=True)
thread = threading.Thread(target=work)
thread.start()
time.sleep(0.3)
_child.end_all()
thread.join()
try:
    _child.run(["/bin/true"], b"", 1.0, 10)
except _child.Interrupted:
    print("no more", flush=True)
"""


def test_all_are_ended_together(tmp_path):
    with within(5.0):
        done = subprocess.run([sys.executable, "-c", THREADS % (tmp_path / "pid")], stdout=subprocess.PIPE, check=True, timeout=20)
    assert done.stdout == b"interrupted\nno more\n"
    assert gone(tmp_path / "pid")


MEMORY = """
import sys, tracemalloc
from ansible_collections.qubes.vmconfig.plugins.module_utils import _child
from ansible_collections.qubes.vmconfig.plugins.module_utils._rpc.shown import text_of
line, most = sys.argv[1], int(sys.argv[2])
_child.run(["/bin/sh", "-c", "echo"], b"", 10.0, most)
tracemalloc.start()
ended = _child.run(["/bin/sh", "-c", line], b"", 10.0, most)
print(tracemalloc.get_traced_memory()[1], ended.output.size)
"""


def test_output_costs_no_more_memory_than_its_limit():
    most = 65536
    costs = {}
    for size in (most, 10 ** 7):
        line = "head -c %d /dev/urandom" % size
        done = subprocess.run([sys.executable, "-c", MEMORY, line, str(most)], stdout=subprocess.PIPE, check=True, timeout=60)
        costs[size], came = map(int, done.stdout.split())
        assert came == size
    print("peak of Python's memory in bytes, by the bytes that came:", costs)
    # What is kept, with some room to grow, and a piece that is read.
    assert costs[10 ** 7] < 1.25 * most + 2 * _child.CHUNK
    assert costs[10 ** 7] - costs[most] < most
