# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The groups of tests: what each runs, and what it needs. Each fills in a result."""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
import subprocess
import sys
import typing as t
import xml.etree.ElementTree as ET

import setup
from collection import BUILD, COLLECTION, FRESH, HOME, LOGS, SOURCES, TREE, environment
from results import GROUP_TIMEOUT, Result, count_junit, run
from setup import CACHE, ROOT, Python, Venv

# All that is done on fresh machines one after the other: four demos, and each example and role, each with what it has to fetch.
FRESH_TIMEOUT = 3600
# Functional tests that mostly wait for a time to be over, and so cost those beside them little.
WAITING = ["tests/functional/test_%s.py" % name for name in ("faults", "qubesdb", "waiting")]
# Those of `make test-all`. A short form of them is test_roles.py: an audit with all roles on a machine of its own, and refused values.
LONG_TARGETS = ["playbooks", "role_display", "role_dns_redirect", "role_uplink", "running_system"]
# Those that run roles, and playbooks and commands that a user finds. They take about as long as all others together.
ROLES = ["tests/functional/test_%s.py" % name for name in (
    "agent", "audit", "backends", "boot", "debian", "demo", "documentation", "examples", "keyboard", "keymaps", "network", "placing", "programs",
    "resolvers", "roles", "said", "strategy", "trust", "writing")]
FUNCTIONAL = ["tests/functional", "tests/lab", *("--ignore=" + path for path in WAITING)]
# ansible-test only warns when it skips these, for want of a tool.
SANITY_MUST_RUN = {"pep8", "pylint", "shellcheck", "validate-modules", "yamllint"}


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
    inside = [python, os.path.join(ROOT, "tests", "tools", "run.py"), "integration-in-lab", *args]
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


# -- the table --


class Group(t.NamedTuple):
    """What to run, with which virtual environment and system packages. Groups that write into the same `folder` run one after the other."""

    function: t.Callable[..., None]
    venv: str
    folder: str
    packages: t.Tuple[str, ...] = ("venv",)


LAB = ("venv", "compiler", "xkb")
GROUPS = {
    "functional": Group(functional, "test", "", (*LAB, "network")),
    "roles": Group(roles, "test", "", (*LAB, "display", "network")),
    "long": Group(long, "test", "", (*LAB, "display", "network", "units", "debian", "ssh")),
    "waiting": Group(waiting, "test", "", LAB),
    "integration": Group(integration, "test", TREE, (*LAB, "display", "xorg", "ssh")),
    "sanity": Group(sanity, "test", SOURCES),
    "lint": Group(lint, "lint", SOURCES),
    "unit": Group(unit, "test", ""),
    "importer": Group(importer, "importer", ""),
    "fresh": Group(fresh, "test", FRESH, ("venv", "debian")),
    "fresh-short": Group(fresh_short, "test", FRESH, ("venv", "debian")),
}
# The longest first, for some run at a time.
TEST = ("roles", "integration", "functional", "fresh-short", "waiting", "sanity", "lint", "unit")
