# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lays the collection out under build/ and runs groups of tests, the benchmark or the demo on it. See the Makefile.

Unit, functional and integration tests, the demo and the benchmark run on the installed artifact: what is tested is what is shipped.
Sanity and lint need what is not shipped as well, and run on a copy of the sources. The last line counts: N passed, N failed[, N skipped].
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
import typing as t
import xml.etree.ElementTree as ET

import setup
from setup import CACHE, ROOT, Failed, Python, Venv, say

BUILD = os.path.join(ROOT, "build")
LOGS = os.path.join(BUILD, "log")
HOME = os.path.join(CACHE, "home")
SOURCES, TREE, FRESH = (os.path.join(BUILD, name) for name in ("src", "tree", "fresh"))
COLLECTION = os.path.join("ansible_collections", "qubes", "vmconfig")

# Much longer than any group takes: a test that hangs becomes a failure, with the output up to there.
GROUP_TIMEOUT = 1800
# All that is done on fresh machines one after the other: four demos, and each example and role, each with what it has to fetch.
FRESH_TIMEOUT = 3600
# The closing list names so many of a group's failures; its log has all.
PROBLEMS_SHOWN = 20
# Functional tests that mostly wait for a time to be over, and so cost those beside them little.
WAITING = ["tests/functional/test_%s.py" % name for name in ("faults", "qubesdb", "waiting")]
# Those of `make test-all`. A short form of them is test_roles.py: an audit with all roles on a machine of its own, and refused values.
LONG_TARGETS = ["playbooks", "role_display", "role_dns_redirect", "role_uplink", "running_system"]
# Those that run roles, and playbooks and commands that a user finds. They take about as long as all others together.
ROLES = ["tests/functional/test_%s.py" % name for name in (
    "agent", "audit", "backends", "boot", "debian", "documentation", "examples", "keyboard", "keymaps", "network", "placing", "programs",
    "resolvers", "roles", "said", "strategy", "trust", "writing")]
FUNCTIONAL = ["tests/functional", "tests/lab", *("--ignore=" + path for path in WAITING)]
# ansible-test only warns when it skips these, for want of a tool.
SANITY_MUST_RUN = {"pep8", "pylint", "shellcheck", "validate-modules", "yamllint"}


# -- results --


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


# -- the collection --


def lay_out(venv: Venv) -> str:
    """Copies the sources, builds the artifact and installs it. Returns the artifact's path."""
    _make_home()
    sources = os.path.join(SOURCES, COLLECTION)
    for folder in (SOURCES, TREE):
        shutil.rmtree(folder, ignore_errors=True)
    for name in _source_files():
        target = os.path.join(sources, name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy2(os.path.join(ROOT, name), target, follow_symlinks=False)
    for old in glob.glob(os.path.join(BUILD, "qubes-vmconfig-*.tar.gz")):
        os.unlink(old)
    _galaxy(venv, "build", sources, "--output-path", BUILD)
    artifact, = glob.glob(os.path.join(BUILD, "qubes-vmconfig-*.tar.gz"))
    _galaxy(venv, "install", artifact, "--collections-path", TREE, "--offline")
    return artifact


def _source_files() -> t.List[str]:
    """What git tracks or would track; without git, or in a checkout that git does not trust, everything but our own output."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout.decode().split("\0")
        return [name for name in names if os.path.lexists(os.path.join(ROOT, name)) and name]
    except (OSError, subprocess.CalledProcessError):
        found = []
        for folder, folders, names in os.walk(ROOT):
            folders[:] = [name for name in folders if name not in (".git", ".cache", "build", "output", "__pycache__")]
            found += [os.path.relpath(os.path.join(folder, name), ROOT) for name in names]
        return found


def _galaxy(venv: Venv, *args: str) -> None:
    done = subprocess.run(
        [os.path.join(venv.bin, "ansible-galaxy"), "collection", *args],
        env=environment(venv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", check=False,
    )
    if done.returncode:
        raise Failed("ansible-galaxy collection %s failed:\n%s" % (args[0], done.stdout))


def environment(venv: Venv, **more: str) -> t.Dict[str, str]:
    """The caller's environment less all that would change a result, and with a home of our own, so that nothing of the user's is read."""
    ours = ("ANSIBLE_", "GIT_", "PYENV_", "PYTEST_", "PYTHON", "QUBES_", "VIRTUAL_ENV", "XDG_", "XENLAB_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    env.update(
        HOME=HOME,
        PATH=os.pathsep.join((venv.bin, setup.SYSTEM_PATH)),
        LC_ALL="C.UTF-8",
        ANSIBLE_COLLECTIONS_PATH=TREE,
        ANSIBLE_CONFIG=os.path.join(HOME, "ansible.cfg"),
        XENLAB_CACHE=CACHE,
        # Tools that ask git for files would find the checkout, which ignores build/, and quietly look at none.
        GIT_CEILING_DIRECTORIES=BUILD,
    )
    return {**env, **more}


def _make_home() -> None:
    """Our home has an empty configuration, and knows where the user's pip finds packages."""
    os.makedirs(os.path.join(HOME, ".config"), exist_ok=True)
    with open(os.path.join(HOME, "ansible.cfg"), "a", encoding="utf-8"):
        pass
    for name in (".config/pip", ".pip"):
        user, ours = os.path.join(os.path.expanduser("~"), name), os.path.join(HOME, name)
        if os.path.isdir(user) and not os.path.lexists(ours):
            os.symlink(user, ours)


# -- groups: each fills in a result --

# ANSIBLE_TEST_CONTENT_ROOT: ansible-test looks for a .git above it without asking git, finds the checkout's, and tests nothing.


def sanity(result: Result, venv: Venv, args: t.List[str], pythons: t.Collection[Python] = ()) -> None:
    tree = os.path.join(SOURCES, COLLECTION)
    _prepare_ansible_test(venv)
    env = environment(venv, ANSIBLE_TEST_CONTENT_ROOT=tree)
    options = ["--python", venv.python.version]
    if pythons:
        # ansible-test finds interpreters on PATH, by name, and then tests with each.
        env["PATH"] = os.pathsep.join((venv.bin, _link(pythons), setup.SYSTEM_PATH))
        options = []
    reports = os.path.join(tree, "tests", "output", "junit")
    shutil.rmtree(reports, ignore_errors=True)
    code, dummy = run(result, [os.path.join(venv.bin, "ansible-test"), "sanity", "--color", "no", "--truncate", "0", "--junit", *options, *args], tree, env)
    ran = set()
    for path in sorted(glob.glob(os.path.join(reports, "ansible-test-sanity-*.xml"))):
        for case in ET.parse(path).iter("testcase"):
            reason = case.find("skipped")
            if reason is None:
                ran.add(case.get("name"))
                result.count(case.find("failure") is None, "ansible-test sanity --test %s" % case.get("name"))
            elif (reason.text or reason.get("message")) != "No tests applicable.":
                result.skips[reason.text or reason.get("message") or "without a reason"] += 1
    if not args:
        for name in sorted(SANITY_MUST_RUN - ran):
            result.count(False, "ansible-test sanity --test %s did not run" % name)
    if not ran or code and not result.problems:
        result.count(False, "ansible-test sanity ended with %d" % code)


def _prepare_ansible_test(venv: Venv) -> None:
    """Puts our get-pip where this version of ansible-test looks for the one it would download."""
    code = (
        "import types; from ansible_test._internal.python_requirements import get_venv_packages as get;"
        "print(get(types.SimpleNamespace(version='%s'))['pip'])" % venv.python.version
    )
    version = subprocess.run([os.path.join(venv.bin, "python"), "-c", code], env=environment(venv), check=True, stdout=subprocess.PIPE).stdout.decode().strip()
    cache = os.path.join(HOME, ".ansible", "test", "cache")
    os.makedirs(cache, exist_ok=True)
    shutil.copy(os.path.join(ROOT, "tests", "tools", "get_pip.py"), os.path.join(cache, "get_pip_%s.py" % version.replace(".", "_")))


def _link(pythons: t.Collection[Python]) -> str:
    folder = os.path.join(BUILD, "pythons")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    for python in pythons:
        os.symlink(python.path, os.path.join(folder, "python" + python.version))
    return folder


def unit(result: Result, venv: Venv, args: t.List[str]) -> None:
    _pytest(result, venv, args or ["tests/unit"])


def functional(result: Result, venv: Venv, args: t.List[str]) -> None:
    # One after the other: they start daemons, and watch the clock.
    _pytest(result, venv, args or [*FUNCTIONAL, *("--ignore=" + path for path in ROLES), "-m", "not long"])


def roles(result: Result, venv: Venv, args: t.List[str]) -> None:
    _pytest(result, venv, args or [*ROLES, "-m", "not long"])


def long(result: Result, venv: Venv, args: t.List[str]) -> None:
    _pytest(result, venv, args or [*FUNCTIONAL, "-m", "long"])


def waiting(result: Result, venv: Venv, args: t.List[str]) -> None:
    _pytest(result, venv, args or list(WAITING))


def fresh(result: Result, venv: Venv, args: t.List[str], release: str = "") -> None:
    """On machines without anything. They get what is not shipped too, so the tests are those of the sources."""
    sys.path[:0] = [os.path.join(ROOT, "tests", name) for name in ("fresh", "lab")]
    import freshmachine

    release = release or os.environ.get("RELEASE") or "bookworm"
    reason = freshmachine.unavailable(release)
    if reason:
        result.skips["NO FRESH MACHINE of %s: %s" % (release, reason)] += 1
        return
    where = {"FRESH_RELEASE": release, "FRESH_BUILD": BUILD, "FRESH_CACHE": CACHE}
    _pytest(result, venv, ["tests/fresh", *args], os.path.join(SOURCES, COLLECTION), FRESH_TIMEOUT, **where)


def fresh_short(result: Result, venv: Venv, args: t.List[str]) -> None:
    fresh(result, venv, args or ["-m", "not long"])


def _pytest(result: Result, venv: Venv, args: t.List[str], folder: str = os.path.join(TREE, COLLECTION), timeout: float = GROUP_TIMEOUT, **more: str) -> None:
    report = os.path.join(LOGS, result.name + ".xml")
    command = [os.path.join(venv.bin, "python"), "-m", "pytest", "-p", "no:cacheprovider", "--junitxml", report]
    code, dummy = run(result, command + args, folder, environment(venv, PYTHONPATH=TREE, **more), timeout)
    count_junit(result, report, code)


def integration(result: Result, venv: Venv, args: t.List[str]) -> None:
    tree = os.path.join(TREE, COLLECTION)
    python = os.path.join(venv.bin, "python")
    env = environment(venv, ANSIBLE_TEST_CONTENT_ROOT=tree)
    inside = [python, os.path.abspath(__file__), "integration-in-lab", *args]
    labs = [[python, os.path.join("tests", "lab", name), "run", "--"] for name in ("xenlab.py", "qubesdblab.py")]
    code, output = run(result, [*labs[0], *labs[1], *inside], tree, env)
    if re.search(r"(?m)^xenlab: ", output) and not shutil.which("dpkg-deb"):
        result.skips["NO XENSTORED here, and only Debian's packages can be fetched"] += 1
        return
    targets = re.findall(r"(?m)^Running (\S+) integration test (?:role|script)$", output)
    failures = re.search(r"(?s)integration test\(s\) listed below.*?:\n(.*)", output)
    failed = set(failures.group(1).split()) if failures else set()
    for target in targets:
        result.count(target not in failed, "ansible-test integration %s" % target)
    if not targets or code and not result.problems:
        result.count(False, "ansible-test integration ended with %d after %d targets" % (code, len(targets)))


def integration_in_lab(args: t.List[str]) -> None:
    """Started by the labs, whose variables ansible-test would not pass on to the targets: they travel in its configuration."""
    config = {name.lower().replace("xenlab_", "lab_"): os.environ[name] for name in ("XENLAB_URL", "XENLAB_SOCKET", "XENLAB_BIN")}
    config.update({name.lower().replace("qubesdblab_", "lab_qubesdb_"): os.environ[name] for name in ("QUBESDBLAB_URL", "QUBESDBLAB_CONTROL")})
    # ansible-test runs the targets on a copy, without the lab.
    config["lab_long"] = os.environ.get("LAB_LONG", "")
    config["lab_files"] = os.path.join(os.getcwd(), "tests", "lab")
    with open(os.path.join("tests", "integration", "integration_config.yml"), "w", encoding="utf-8") as stream:
        json.dump(config, stream)
    excluded = [] if args or config["lab_long"] else ["--exclude=" + target for target in LONG_TARGETS]
    command = ["ansible-test", "integration", "--local", "--color", "no", "--truncate", "0", "--continue-on-error", *excluded, *args]
    os.execvp(command[0], command)


def lint(result: Result, venv: Venv, args: t.List[str]) -> None:
    tree = os.path.join(SOURCES, COLLECTION)
    env = environment(venv, ANSIBLE_COLLECTIONS_PATH=SOURCES)
    for command in (
        ["ansible-lint", "--profile", "production", "--offline", "--nocolor", *args],
        ["antsibull-docs", "lint-collection-docs", "--plugin-docs", "--validate-collection-refs", "all", "--skip-rstcheck", "."],
        ["antsibull-changelog", "lint"],
    ):
        result.write("$ %s\n" % " ".join(command))
        code, dummy = run(result, [os.path.join(venv.bin, command[0]), *command[1:]], tree, env)
        result.count(code == 0, " ".join(command[:2]))


def importer(result: Result, venv: Venv, args: t.List[str]) -> None:
    artifact, = glob.glob(os.path.join(BUILD, "qubes-vmconfig-*.tar.gz"))
    code, output = run(result, [os.path.join(venv.bin, "python"), "-m", "galaxy_importer.main", artifact, *args], BUILD, environment(venv))
    result.count(code == 0 and "ERROR" not in output, "galaxy-importer")


# -- the plan --


class Group(t.NamedTuple):
    """What to run, with which virtual environment and system packages. Groups that write into the same `folder` run one after the other."""

    function: t.Callable[..., None]
    venv: str
    folder: str
    packages: t.Tuple[str, ...] = ("venv",)


class Job(t.NamedTuple):
    """One group to run, on one ansible-core."""

    name: str
    folder: str
    work: t.Callable[[Result], None]


LAB = ("venv", "compiler", "xkb")
GROUPS = {
    "functional": Group(functional, "test", "", (*LAB, "network")),
    "roles": Group(roles, "test", "", (*LAB, "display", "network")),
    "long": Group(long, "test", "", (*LAB, "display", "network", "units", "debian", "ssh")),
    "waiting": Group(waiting, "test", "", LAB),
    "integration": Group(integration, "test", TREE, (*LAB, "xorg", "ssh")),
    "sanity": Group(sanity, "test", SOURCES),
    "lint": Group(lint, "lint", SOURCES),
    "unit": Group(unit, "test", ""),
    "importer": Group(importer, "importer", ""),
    "fresh": Group(fresh, "test", FRESH, ("venv", "debian")),
    "fresh-short": Group(fresh_short, "test", FRESH, ("venv", "debian")),
}
# The longest first, for some run at a time.
TEST = ("roles", "integration", "functional", "fresh-short", "waiting", "sanity", "lint", "unit")


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
        for child in list(RUNNING):
            _kill(child)
        sys.exit(130)
