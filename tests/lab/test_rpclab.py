# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The three clients of Qubes RPC are as the documentation of qrexec and of qvm-run says, and their services too."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from adminlab import AdminLab  # noqa: E402  # pylint: disable=wrong-import-position

SHOW = """#!/bin/sh
printf '%s|' "$#" "$@" "$QREXEC_SERVICE_FULL_NAME" "$QREXEC_REMOTE_DOMAIN" "$LAB_QUBE"
"""


@pytest.fixture(name="lab")
def lab_with_services():
    with AdminLab() as lab:
        lab.add("work")
        lab.add("off", state="Halted")
        lab.service("test.Show", SHOW)
        lab.recorder("test.Record")
        yield lab


def line(client, qube, service):
    """A call by each of the clients, as the documentation has it."""
    return {
        "qrexec-client": ["qrexec-client", "-d", qube, "DEFAULT:QUBESRPC %s dom0" % service],
        "qvm-run": ["qvm-run", "--pass-io", "--service", qube, service],
        "qrexec-client-vm": ["qrexec-client-vm", qube, service],
    }[client]


MACHINES = {"qrexec-client": "dom0", "qvm-run": "admin", "qrexec-client-vm": ""}


def run(lab, command, payload=b""):
    env = {**os.environ, **lab.environment(MACHINES[command[0]])}
    return subprocess.run(command, env=env, input=payload, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, timeout=20)


def call(lab, client, qube, service, payload=b""):
    return run(lab, line(client, qube, service), payload)


@pytest.fixture(name="client", params=MACHINES)
def each_client(request):
    return request.param


def test_a_service_and_its_argument(lab, client):
    assert call(lab, client, "work", "test.Show").stdout == b"0|test.Show|dom0|work|"
    assert call(lab, client, "work", "test.Show+").stdout == b"0|test.Show+|dom0|work|"
    assert call(lab, client, "work", "test.Show+a+b").stdout == b"1|a+b|test.Show+a+b|dom0|work|"


def test_a_service_with_its_argument_comes_first(lab, client):
    lab.service("test.Show+special", "#!/bin/sh\necho special\n")
    assert call(lab, client, "work", "test.Show+special").stdout == b"special\n"
    assert call(lab, client, "work", "test.Show+other").stdout.startswith(b"1|other|")


def test_exit_codes(lab, client):
    lab.service("test.Code", "#!/bin/sh\ntest \"$1\" = kill && kill -KILL $$\nexit $1\n")
    lab.service("test.Broken", "#!/nowhere\n")
    for code in (0, 1, 126, 255):
        assert call(lab, client, "work", "test.Code+%d" % code).returncode == code
    assert call(lab, client, "work", "test.Code+kill").returncode == 128 + signal.SIGKILL
    assert call(lab, client, "work", "test.None").returncode == 127
    assert call(lab, client, "work", "test.Broken").returncode == 125


def test_policy(lab, client):
    lab.refuse(service="test.Show")
    done = call(lab, client, "work", "test.Show")
    assert done.returncode == (0 if client == "qrexec-client" else 126)


def test_who_starts_a_qube(lab, client):
    done = call(lab, client, "off", "test.Show")
    assert (done.returncode, lab.calls()[-1].started) == ((1, False) if client == "qrexec-client" else (0, True))


def test_qvm_run_may_be_told_not_to(lab):
    for option in ("--no-autostart", "--no-auto", "-n"):
        done = run(lab, ["qvm-run", option, "--pass-io", "--service", "off", "test.Show"])
        assert (done.returncode, done.stdout, lab.calls()[-1].started) == (1, b"", False)
    assert run(lab, ["qvm-run", "--service", "work", "test.Show"]).stdout == b""
    assert run(lab, ["qvm-run", "--user=alice", "-p", "--service", "work", "test.Show"]).returncode == 0
    assert lab.calls()[-1].user == "alice"


@pytest.mark.parametrize("command, status", [
    (["qrexec-client", "work", "DEFAULT:QUBESRPC test.Show dom0"], 1),
    (["qrexec-client", "-d", "work"], 1),
    (["qrexec-client", "-d", "dom0", "DEFAULT:QUBESRPC test.Show dom0"], 1),
    (["qrexec-client", "--no-such", "-d", "work", "DEFAULT:QUBESRPC test.Show dom0"], 1),
    (["qrexec-client", "-d", "work", "DEFAULT:test.Show"], 99),
    (["qrexec-client", "-d", "work", "DEFAULT:QUBESRPC test.Show"], 99),
    (["qrexec-client", "-d", "work", "DEFAULT:QUBESRPC test.Show dom0; id"], 99),
    (["qvm-run", "--service", "work"], 2),
    (["qvm-run", "--no-such", "--service", "work", "test.Show"], 2),
    (["qvm-run", "--service", "nobody", "test.Show"], 2),
    (["qvm-run", "work", "test.Show"], 99),
    (["qvm-run", "--localcmd=id", "--service", "work", "test.Show"], 99),
    (["qrexec-client-vm", "work"], 2),
    (["qrexec-client-vm", "nobody", "test.Show"], 126),
])
def test_what_calls_nothing(lab, command, status):
    done = run(lab, command)
    assert (done.returncode, done.stdout) == (status, b"")


def test_bytes_in_and_out(lab, client):
    everything = bytes(range(256)) * 4000
    lab.service("test.Cat", "#!/bin/sh\ncat\necho end >&2\n")
    done = call(lab, client, "work", "test.Cat", everything)
    assert (done.stdout, done.stderr) == (everything, b"end\n")
    call(lab, client, "work", "test.Record", everything)
    assert lab.records() == {"work.test.Record": everything}


def test_megabytes_wait_for_a_slow_reader(lab, client):
    lab.service("test.Large", "#!/bin/sh\nexec head -c 20000000 /dev/zero\n")
    env = {**os.environ, **lab.environment(MACHINES[client])}
    with subprocess.Popen(line(client, "work", "test.Large"), env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        time.sleep(0.3)
        assert lab.running() == 1  # it has not got rid of it
        size = 0
        while data := process.stdout.read(1000000):
            size += len(data)
    assert (size, process.returncode) == (20000000, 0)


def test_slow_output_comes_as_it_is_written(lab, client):
    lab.service("test.Slow", "#!/bin/sh\necho one\nsleep 1\necho two\n")
    env = {**os.environ, **lab.environment(MACHINES[client])}
    begun = time.monotonic()
    with subprocess.Popen(line(client, "work", "test.Slow"), env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"one\n"
        assert time.monotonic() - begun < 0.95
        assert process.stdout.read() == b"two\n"


@pytest.mark.parametrize("script, goes_on", [
    ("cat > /dev/null", False),  # reads until the end of file
    ("while echo x; do sleep 0.05; done", False),  # writes until the pipe is broken
    ("trap '' PIPE; exec sleep 3", True),  # does neither
])
def test_a_caller_that_goes_away(lab, client, script, goes_on):
    lab.service("test.Long", "#!/bin/sh\n%s\n" % script)
    env = {**os.environ, **lab.environment(MACHINES[client])}
    with subprocess.Popen(line(client, "work", "test.Long"), env=env, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        while lab.running() == 0:
            time.sleep(0.02)
        process.kill()
    if goes_on:
        time.sleep(0.2)
        assert lab.running() == 1
    while not goes_on and lab.running():  # a test that hangs fails
        time.sleep(0.02)
    while lab.calls()[-1].outcome != "left":
        time.sleep(0.02)
