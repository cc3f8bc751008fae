# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`make demo`, the first command of the README, where nobody installed anything."""

from __future__ import annotations

import re

import pytest
from freshmachine import USER

CLONE = "~/qubes.vmconfig"


def demonstrated(output):
    """The demo said first what it does and how long that takes, and of each of its steps that it did what was announced."""
    # Python is installed before anything can be said, but nothing is built before.
    assert re.search(r"(?m)^The demo .* in about \d+ seconds,$", output.split("--- Building ")[0]), output[:500]
    told = re.findall(r"(?m)^As it should be: (.*)\.$", output)
    assert len(told) == 6, output[-5000:]
    assert told[1:3] == ["something changed", "nothing changed"]
    assert told[-1] == "the audit lists /etc/timezone and vm-config/proxy"


def named(output):
    """The packages of the one command that is to be run as root."""
    command, = re.findall(r"apt-get update && (apt-get install .*)", output)
    packages = [word for word in command.split()[2:] if not word.startswith("-")]
    assert packages
    for package in packages:
        assert len(re.findall(r"(?<![\w.-])%s(?![\w.-])" % re.escape(package), output)) == 1, "%s is named more than once: %s" % (package, output)
    return packages


def test_root_sees_the_demo(ours):
    demonstrated(ours.succeed("make", "demo", "STORE=file", cwd=CLONE))


@pytest.mark.long
@pytest.mark.parametrize("store", ["qubesdb", "xenstore"])
def test_root_sees_the_demo_on_the_store(ours, store):
    demonstrated(ours.succeed("make", "demo", "STORE=" + store, cwd=CLONE))


def test_a_user_is_told_what_is_missing(untouched):
    """Everything in one go, and nothing is half-made."""
    done = untouched.run("make", "demo", user=USER, cwd=CLONE)
    assert done.code != 0
    assert "Traceback" not in done.output
    packages = named(done.output)
    untouched.succeed("apt-get", "-qq", "update")
    untouched.succeed("apt-get", "-qq", "install", "--yes", "--no-install-recommends", *packages, DEBIAN_FRONTEND="noninteractive")
    # The tests need more, of which each package is named once too.
    done = untouched.run("make", "test", user=USER, cwd=CLONE)
    assert done.code != 0
    assert "Traceback" not in done.output
    assert not set(named(done.output)) & set(packages)


@pytest.mark.long
def test_a_user_sees_the_demo_after_the_one_command(untouched):
    packages = named(untouched.run("make", "demo", user=USER, cwd=CLONE).output)
    untouched.succeed("apt-get", "-qq", "update")
    untouched.succeed("apt-get", "-qq", "install", "--yes", "--no-install-recommends", *packages, DEBIAN_FRONTEND="noninteractive")
    demonstrated(untouched.succeed("make", "demo", user=USER, cwd=CLONE))
