# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the groups of tests came to: counts, outputs, and the commands that make them."""

from __future__ import annotations

import collections
import contextlib
import os
import signal
import subprocess
import time
import typing as t
import xml.etree.ElementTree as ET

from collection import LOGS

# Much longer than any group takes: a test that hangs becomes a failure, with the output up to there.
GROUP_TIMEOUT = 1800


class Result:
    """The counts of one group, and its output: shown line by line when it runs alone, else whole when it ends."""

    def __init__(self, name: str, live: bool) -> None:
        self.name, self.live = name, live
        self.passed = 0
        # Why, and how many for that.
        self.skips: t.Counter[str] = collections.Counter()
        self.problems: t.List[str] = []
        self.log = os.path.join(LOGS, name + ".log")

    def count(self, ok: bool, what: str) -> None:
        if ok:
            self.passed += 1
        else:
            self.problems.append(what)

    def write(self, text: str) -> None:
        with open(self.log, "a", encoding="utf-8") as stream:
            stream.write(text)
        self.show(text)

    def show(self, text: str) -> None:
        if self.live:
            print(text, end="", flush=True)

    def summary(self) -> str:
        return summary(self.passed, len(self.problems), self.skipped)

    @property
    def skipped(self) -> int:
        return sum(self.skips.values())


def summary(passed: int, failed: int, skipped: int) -> str:
    return "%d passed, %d failed" % (passed, failed) + (", %d skipped" % skipped if skipped else "")


def count_junit(result: Result, path: str, code: int) -> None:
    """Adds up a pytest run. One that ends badly without a failing test, or runs none, is a failure too."""
    cases = list(ET.parse(path).iter("testcase")) if os.path.exists(path) else []
    problems = len(result.problems)
    for case in cases:
        skipped = case.find("skipped")
        if skipped is not None:
            result.skips[skipped.get("message") or "without a reason"] += 1
        else:
            result.count(case.find("failure") is None and case.find("error") is None, "%s::%s" % (case.get("classname"), case.get("name")))
    if not cases or code and len(result.problems) == problems:
        result.count(False, "pytest ended with %d after %d tests" % (code, len(cases)))


# -- commands --

RUNNING: t.Set[subprocess.Popen[bytes]] = set()


def run(result: Result, command: t.Sequence[str], cwd: str, env: t.Mapping[str, str], timeout: float = GROUP_TIMEOUT) -> t.Tuple[int, str]:
    """Runs a command, with its output going to the result. Returns its exit code and the output."""
    # Into the log and not through a pipe, which a daemon that a test left behind would keep open.
    with open(result.log, "ab") as sink, open(result.log, "rb") as source:
        source.seek(0, os.SEEK_END)
        process = subprocess.Popen(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT, start_new_session=True)
        RUNNING.add(process)
        deadline = time.monotonic() + timeout
        output, ended = "", False
        while not ended:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.2)
                ended = True
            if time.monotonic() > deadline:
                _kill(process)
            text = source.read().decode(errors="replace")
            output += text
            result.show(text)
        RUNNING.discard(process)
        _kill(process)
    if process.returncode < 0:
        result.write("ended by signal %d; a group may take %d s\n" % (-process.returncode, timeout))
    return process.returncode, output


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and all that it started, as far as they did not go into a session of their own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def end_commands() -> None:
    """Ends all that run."""
    for process in list(RUNNING):
        _kill(process)
