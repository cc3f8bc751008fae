# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fresh machines for the tests: `make fresh` says of which release, where the cache is and where the logs go."""

from __future__ import annotations

import os
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "lab")]

import freshmachine  # noqa: E402  # pylint: disable=wrong-import-position

RELEASE = os.environ.get("FRESH_RELEASE", "bookworm")
BUILD = pathlib.Path(os.environ.get("FRESH_BUILD", freshmachine.SOURCES / "build"))
CACHE = pathlib.Path(os.environ.get("FRESH_CACHE", freshmachine.SOURCES / ".cache"))


def pytest_configure(config):
    config.addinivalue_line("markers", "long: takes long; `make fresh` and `make test-all` run it, and a short form of it is in `make test`")


@pytest.fixture(name="make_machine", scope="session")
def machines():
    """Makes machines by name, which are gone after the tests."""
    made = []

    def make(name):
        archive = freshmachine.tarball(RELEASE, CACHE)
        label = "%s-%s" % (RELEASE, name)
        machine = freshmachine.Machine(archive, BUILD / "fresh" / label, BUILD / "log" / "fresh" / (label + ".log"))
        made.append(machine)
        return machine

    yield make
    for machine in made:
        machine.remove()


@pytest.fixture(name="untouched")
def untouched_machine(make_machine, request):
    """A machine for one test, with a clone in the home of its user."""
    machine = make_machine(request.node.name.replace("test_", "", 1))
    machine.clone(freshmachine.USER)
    return machine


@pytest.fixture(name="ours", scope="session")
def machine_of_root(make_machine):
    """A machine with a clone in root's home, in which the demos run."""
    machine = make_machine("root")
    machine.clone()
    return machine


@pytest.fixture(name="bare", scope="session")
def machine_with_python_alone(make_machine):
    """Another one, that stays without any program that a role can use."""
    machine = make_machine("bare")
    machine.clone()
    machine.have_ansible(freshmachine.CORES[RELEASE])
    return machine


@pytest.fixture(name="installed", scope="session")
def machine_with_the_collection(ours):
    """The same, when the collection was built there, with an Ansible of the user's own."""
    ours.have_ansible(freshmachine.CORES[RELEASE])
    return ours
