# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lays the collection out under build/ and runs groups of tests, the benchmark or the demo on it. See the Makefile.

Unit, functional and integration tests, the demo and the benchmark run on the installed artifact: what is tested is what is shipped.
Sanity and lint need what is not shipped as well, and run on a copy of the sources. The last line counts: N passed, N failed[, N skipped].
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import threading
import time
import traceback
import typing as t

import setup
from collection import LOGS, TREE, environment, lay_out
from groups import GROUPS, LAB, TEST, Group, integration_in_lab
from results import Result, end_commands, summary
from setup import ROOT, Failed, Python, Venv, say

# The closing list names so many of a group's failures; its log has all.
PROBLEMS_SHOWN = 20


class Job(t.NamedTuple):
    """One group to run, on one ansible-core."""

    name: str
    folder: str
    work: t.Callable[[Result], None]


def plan(names: t.Iterable[str], python: Python, core: str, args: t.List[str], suffix: str = "", **more: t.Any) -> t.List[Job]:
    """The jobs of these groups. Each makes its virtual environment ready first, so that one is built while another group runs."""

    def job(name: str, group: Group) -> Job:
        venv = Venv(group.venv, python, core if group.venv == "test" else "")

        def work(result: Result) -> None:
            setup.ready(venv)
            group.function(result, venv, args, **more)

        return Job(name + suffix, group.folder, work)

    return [job(name, GROUPS[name]) for name in names]


def plan_all(python: Python, core: str) -> t.Tuple[t.List[Job], t.List[str]]:
    """Everything: `test` with every Python, galaxy-importer, the oldest and the newest core. Also says what this machine lacks."""
    pythons = setup.find_pythons()
    absent = ["sanity on Python %s" % version for version in setup.TARGET_PYTHONS if version not in pythons]
    jobs = plan([*(name for name in TEST if name not in ("sanity", "fresh-short")), "long", "fresh", "importer"], python, core, [])
    jobs += plan(["fresh"], python, core, [], "-trixie", release="trixie")
    jobs += plan(["sanity"], python, core, [], pythons=list(pythons.values()))
    for other, versions in (setup.OLDEST_CORE, setup.NEWEST_CORE):
        found = next((pythons[version] for version in versions if version in pythons), None)
        if found is None:
            absent.append("ansible-core %s, for want of Python %s" % (other, " or ".join(versions)))
        elif other != core:
            jobs += plan(("unit", "functional", "roles", "waiting", "integration", "sanity"), found, other, [], "-" + other)
    return jobs, absent


def run_jobs(jobs: t.Sequence[Job], absent: t.Sequence[str]) -> int:
    shutil.rmtree(LOGS, ignore_errors=True)
    os.makedirs(LOGS)
    waiting, busy = list(jobs), []
    results: t.List[Result] = []
    changed = threading.Condition()

    def work() -> None:
        """Takes the next job whose folder is free, until none is left."""
        while True:
            with changed:
                changed.wait_for(lambda: not waiting or any(each.folder not in busy for each in waiting))
                job = next((each for each in waiting if each.folder not in busy), None)
                if job is None:
                    return
                waiting.remove(job)
                busy.append(job.folder or job.name)
                say("%s ..." % job.name)
            result = Result(job.name, live=len(jobs) == 1)
            seconds = _run_job(job, result)
            with changed:
                if not result.live and os.path.exists(result.log):
                    with open(result.log, encoding="utf-8", errors="replace") as stream:
                        print(stream.read(), end="")
                say("%s: %s in %d s (%s)" % (job.name, result.summary(), seconds, os.path.relpath(result.log, ROOT)))
                results.append(result)
                busy.remove(job.folder or job.name)
                changed.notify_all()

    # One more than there are processors, because one of the groups mostly waits; no more than three, because others watch the clock.
    workers_wanted = int(os.environ.get("JOBS") or min(3, (os.cpu_count() or 1) + 1))
    workers = [threading.Thread(target=work, daemon=True) for dummy in range(workers_wanted)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    print()
    for reason in absent:
        print("!!! SKIPPED, not on this machine: %s" % reason)
    for result in results:
        for reason, count in result.skips.items():
            print("!!! SKIPPED %s: %d for %s" % (result.name, count, reason))
        for problem in result.problems[:PROBLEMS_SHOWN]:
            print("FAILED %s: %s" % (result.name, problem))
        if len(result.problems) > PROBLEMS_SHOWN:
            print("FAILED %s: and %d more" % (result.name, len(result.problems) - PROBLEMS_SHOWN))
    failed = sum(len(result.problems) for result in results)
    print(summary(sum(result.passed for result in results), failed, sum(result.skipped for result in results) + len(absent)), flush=True)
    return 1 if failed else 0


def _run_job(job: Job, result: Result) -> float:
    start = time.monotonic()
    try:
        job.work(result)
    except Failed as error:
        result.write("%s\n" % error)
        result.count(False, "its setup")
    except Exception:  # pylint: disable=broad-except
        result.write(traceback.format_exc())
        result.count(False, "the tool itself")
    return time.monotonic() - start


def script(venv: Venv, path: str, args: t.List[str]) -> int:
    """Runs one of the project's own scripts in the foreground."""
    env = environment(venv, PYTHONPATH=TREE)
    return subprocess.run([os.path.join(venv.bin, "python"), os.path.join(ROOT, path), *args], cwd=ROOT, env=env, check=False).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs one group of tests, or all.")
    parser.add_argument("what", choices=[*GROUPS, "test", "test-all", "bench", "demo", "build", "integration-in-lab"])
    options, args = parser.parse_known_args()
    if options.what == "integration-in-lab":
        integration_in_lab(args)

    python = setup.this_python()
    core = os.environ.get("CORE") or setup.newest_core(python)
    if options.what in ("demo", "build"):
        if options.what == "demo":
            sys.path.append(os.path.join(ROOT, "tests", "demo"))
            import demo

            print(demo.OPENING, flush=True)
        setup.packages("venv", *(["compiler"] if "xenstore" in args else []))
        venv = Venv("run", python, core)
        setup.ready(venv)
        artifact = lay_out(venv)
        if options.what == "demo":
            return script(venv, "tests/demo/demo.py", args)
        print(os.path.relpath(artifact, ROOT))
        return 0

    if options.what == "test-all":
        os.environ["LAB_LONG"] = "1"
    names = {"test": [*TEST], "test-all": [*TEST, "long", "fresh"]}.get(options.what, [options.what])
    setup.packages(*dict.fromkeys(need for name in names for need in (GROUPS[name].packages if name in GROUPS else LAB)))
    venv = Venv("test", python, core)
    setup.ready(venv)
    lay_out(venv)
    if options.what == "bench":
        return script(venv, "tests/bench/run.py", args)
    jobs, absent = plan_all(python, core) if options.what == "test-all" else (plan(names, python, core, args), [])
    return run_jobs(jobs, absent)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failed, PermissionError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        end_commands()
        sys.exit(130)
