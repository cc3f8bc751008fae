# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab, shown with Xen's own tools to be what other tests take it for."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import packages  # noqa: E402
import wire  # noqa: E402
import xenlab  # noqa: E402

ALL_BYTES = bytes(range(256))


def available() -> None:
    try:
        packages.have_xen()
        packages.built("hypervisor.c")
    except packages.LabUnavailable as error:
        if packages.is_debian_like():
            raise
        pytest.skip(str(error))


@pytest.fixture
def lab():
    available()
    with xenlab.XenLab() as running:
        running.add_domain(7, "work", {"qubes-ip": "10.137.0.7", "qubes-service/cups": "1"})
        running.add_domain(8, "personal", {"qubes-ip": "10.137.0.8"})
        yield running


def gone(pid: int) -> bool:
    """Ended; perhaps not yet collected by whoever is to do that."""
    try:
        return xenlab._state_of(pid) == "Z"
    except FileNotFoundError:
        return True


def eventually(condition) -> bool:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


# -- dom0 --


def test_dom0_reads_what_dom0_wrote(lab):
    lab.tool("write", "/local/domain/7/qubes-timezone", "Europe/Warsaw")
    assert lab.tool("read", "/local/domain/7/qubes-timezone") == b"Europe/Warsaw\n"
    assert lab.read("/local/domain/7/qubes-timezone") == b"Europe/Warsaw"


def test_a_domain_is_dom0s_and_readable_by_itself(lab):
    assert lab.perms("/local/domain/7") == ["n0", "r7"]
    assert lab.perms("/local/domain/7/qubes-service/cups") == ["n0", "r7"]


def test_ls_gives_every_byte_back(lab):
    lab.write("/local/domain/7/any", ALL_BYTES)
    lab.write("/local/domain/7/empty", b"")
    lab.write("/local/domain/7/quoted", b'a" = "b"   (n0,r7)')
    found = lab.ls("/local/domain/7")
    assert found["/local/domain/7/any"] == ALL_BYTES
    assert found["/local/domain/7/empty"] == b""
    assert found["/local/domain/7/quoted"] == b'a" = "b"   (n0,r7)'
    assert found["/local/domain/7/name"] == b"work"


def test_remove_takes_the_node_away(lab):
    lab.remove("/local/domain/7/qubes-ip")
    assert lab.tool("list", "/local/domain/7").split() == [b"name", b"domid", b"qubes-service"]
    with pytest.raises(xenlab.ToolFailed):
        lab.tool("exists", "/local/domain/7/qubes-ip")


def test_what_the_daemon_refuses_is_an_oserror_with_its_number(lab):
    with pytest.raises(FileNotFoundError):
        lab.read("/local/domain/7/nothing")


# -- guests --


def test_a_guest_reads_its_own_keys_by_relative_path(lab):
    assert lab.tool("read", "qubes-ip", domid=7) == b"10.137.0.7\n"
    assert lab.tool("read", "qubes-ip", domid=8) == b"10.137.0.8\n"


@pytest.mark.parametrize(
    "request_of_7",
    [
        (wire.WRITE, b"qubes-ip\x0010.0.0.1"),
        (wire.RM, b"qubes-ip\0"),
        (wire.SET_PERMS, b"qubes-ip\0b7\0"),
        (wire.WRITE, b"qubes-new\x001"),
        (wire.READ, b"/local/domain/8/qubes-ip\0"),
        (wire.WRITE, b"/local/domain/8/qubes-ip\x001"),
    ],
    ids=["write", "remove", "chmod", "create", "read-other", "write-other"],
)
def test_a_guest_is_refused_what_is_not_its_own(lab, request_of_7):
    before = lab.ls()
    with lab.connect(7) as guest, pytest.raises(PermissionError):
        guest.request(*request_of_7)
    assert lab.ls() == before


def test_a_guest_writes_what_it_owns(lab):
    lab.write("/local/domain/7/memory", b"")
    lab.tool("chmod", "/local/domain/7/memory", "n7")
    lab.tool("write", "memory/meminfo", "1024", domid=7)
    assert lab.read("/local/domain/7/memory/meminfo") == b"1024"
    assert lab.perms("/local/domain/7/memory/meminfo") == ["n7"]


def test_a_refused_write_rolls_the_transaction_back(lab):
    lab.write("/local/domain/7/memory", b"")
    lab.tool("chmod", "/local/domain/7/memory", "n7")
    with lab.connect(7) as guest:
        transaction = int(guest.request(wire.TRANSACTION_START, b"\0").rstrip(b"\0"))
        guest.request(wire.WRITE, b"memory/meminfo\x001024", transaction)
        with pytest.raises(PermissionError):
            guest.request(wire.WRITE, b"qubes-ip\x001", transaction)
        guest.request(wire.TRANSACTION_END, b"F\0", transaction)
        with pytest.raises(FileNotFoundError):
            guest.request(wire.READ, b"memory/meminfo\0")


def test_an_openers_end_ends_its_transactions_and_nobody_elses(lab):
    with lab.connect(7) as stays, lab.connect(7) as leaves:
        kept = int(stays.request(wire.TRANSACTION_START, b"\0").rstrip(b"\0"))
        lost = int(leaves.request(wire.TRANSACTION_START, b"\0").rstrip(b"\0"))
        with pytest.raises(FileNotFoundError):
            stays.request(wire.READ, b"name\0", lost)
        leaves.close()
        assert stays.request(wire.READ, b"name\0", kept) == b"work"


def test_a_guest_moves_more_than_its_ring_holds(lab):
    value = b"x" * 3000
    lab.write("/local/domain/7/long", value)
    with lab.connect(7) as guest:
        assert guest.pipeline([(wire.READ, b"long\0")] * 200) == [value] * 200


def test_a_guests_watch_fires_for_the_opener_that_set_it(lab):
    with lab.connect(7) as one, lab.connect(7) as other:
        one.request(wire.WATCH, b"qubes-ip\0token\0")
        other.request(wire.WATCH, b"name\0token\0")
        lab.write("/local/domain/7/qubes-ip", "10.137.0.70")
        assert eventually(lambda: one.request(wire.READ, b"name\0") and list(one.events) == ["qubes-ip"] * 2)
        other.request(wire.READ, b"name\0")
        assert list(other.events) == ["name"]


def test_the_device_opens_as_xenbus_does(lab):
    device = lab.guest(7).device
    for _opened_again in range(3):
        fd = os.open(device, os.O_RDWR | os.O_NOCTTY)
        os.write(fd, wire.HEADER.pack(wire.READ, 42, 0, 9) + b"qubes-ip\0")
        ready, _write, _error = select.select([fd], [], [], 10)
        assert ready
        reply = os.read(fd, 4096)
        os.close(fd)
        assert wire.HEADER.unpack_from(reply) == (wire.READ, 42, 0, 10)
        assert reply[wire.HEADER.size:] == b"10.137.0.7"


def test_the_end_of_a_domain_ends_what_is_its_own(lab):
    lab.guest(7)
    lab.write("/tool/of-7", b"")
    lab.tool("chmod", "/tool/of-7", "n7")
    lab.write("/tool/of-0", b"")
    lab.remove_domain(7)
    assert set(lab.ls("/local/domain")) == {"/local/domain/8", "/local/domain/8/name", "/local/domain/8/domid", "/local/domain/8/qubes-ip"}
    assert set(lab.ls("/tool")) == {"/tool/xenstored", "/tool/of-0"}
    with pytest.raises(xenlab.LabError, match="not introduced"):
        lab.guest(7)


def test_a_domid_is_used_again(lab):
    lab.tool("read", "name", domid=7)
    lab.remove_domain(7)
    lab.add_domain(7, "untrusted")
    assert lab.tool("read", "name", domid=7) == b"untrusted\n"


# -- many --


def test_a_fleet_is_listed(lab):
    fleet = [(domid, "vm%d" % domid, {"qubes-key-%d" % key: str(key) for key in range(30)}) for domid in range(100, 1600)]
    lab.add_domains(fleet)
    assert len(lab.tool("list", "/local/domain").split()) == 1502
    assert lab.tool("read", "/local/domain/1599/qubes-key-29") == b"29\n"
    assert lab.perms("/local/domain/1599/name") == ["n0", "r1599"]


# -- watches --


def test_a_watch_counts_what_the_daemon_fires(lab):
    with lab.watch("/local/domain/7") as watch:
        assert watch.count == 0
        lab.read("/local/domain/7/qubes-ip")
        lab.write("/local/domain/8/qubes-ip", "elsewhere")
        assert watch.count == 0
        lab.write("/local/domain/7/qubes-ip", "10.137.0.7")
        lab.tool("rm", "/local/domain/7/qubes-service")
        assert watch.events == ["/local/domain/7/qubes-ip", "/local/domain/7/qubes-service"]
        watch.clear()
        assert watch.count == 0


# -- faults --


def test_a_paused_daemon_is_silent_and_then_goes_on(lab):
    lab.pause()
    with lab.connect(timeout=0.2) as store, pytest.raises(TimeoutError):
        store.request(wire.READ, b"/local/domain/7/name\0")
    read = []
    reader = threading.Thread(target=lambda: read.append(lab.tool("read", "/local/domain/7/name")))
    reader.start()
    reader.join(0.2)
    assert reader.is_alive()
    lab.resume()
    reader.join(10)
    assert read == [b"work\n"]


def test_a_killed_daemon_refuses_and_comes_back_empty(lab):
    lab.kill()
    assert os.path.exists(lab.socket)
    with pytest.raises(ConnectionRefusedError):
        lab.read("/")
    with pytest.raises(xenlab.LabError, match="not running"):
        lab.pause()
    lab.restart()
    assert set(lab.ls()) == {"/tool", "/tool/xenstored"}
    lab.add_domain(7, "again")
    assert lab.tool("read", "name", domid=7) == b"again\n"


def test_stop_leaves_nothing_behind(lab):
    lab.guest(7)
    pids = [lab.pid, lab._bridge.pid]
    lab.stop()
    assert all(gone(pid) for pid in pids)
    assert not os.path.exists(lab.directory)
    lab.stop()


def test_the_lab_ends_with_its_parent():
    available()
    program = (
        "import sys, time; sys.path.insert(0, %r); import xenlab; lab = xenlab.XenLab(); lab.start(); lab.add_domain(7, 'work'); lab.guest(7);"
        "print(lab.pid, lab._bridge.pid, lab.directory, flush=True); time.sleep(60)" % os.path.dirname(os.path.abspath(__file__))
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        daemon, bridge, directory = parent.stdout.readline().split()
        parent.send_signal(signal.SIGKILL)
    assert eventually(lambda: gone(int(daemon)) and gone(int(bridge)))
    xenlab.shutil.rmtree(directory)


def test_a_daemon_that_does_not_start_says_why(lab, tmp_path, monkeypatch):
    broken = tmp_path / "xenstored"
    broken.write_text("#!/bin/sh\necho out of order >&2\nexit 1\n")
    broken.chmod(0o755)
    lab.stop()
    monkeypatch.setattr(lab, "_xen", lab._xen._replace(xenstored=str(broken)))
    with pytest.raises(xenlab.LabError, match="(?s)not running.*out of order"):
        lab.start()
    assert not os.path.exists(lab.directory)


def test_a_path_too_long_for_a_socket_is_said_so(tmp_path):
    available()
    with pytest.raises(ValueError, match="too long"):
        xenlab.XenLab(str(tmp_path / ("x" * 100)))


# -- the command --


def test_run_gives_a_command_its_lab_and_its_status_back(tmp_path):
    available()
    domains = tmp_path / "domains.json"
    domains.write_text(json.dumps({"work": {"qubes-ip": "10.137.0.7"}, "personal": {}}))
    script = 'xenstore-read /local/domain/1/qubes-ip; xenstore-list /local/domain; test -S "$XENLAB_SOCKET" -a -S "$XENLAB_GUEST_1"; exit 3'
    command = [sys.executable, xenlab.__file__, "run", "--domains", str(domains), "--guest", "1", "--", "sh", "-ec", script]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False, timeout=60)
    assert done.stdout == b"10.137.0.7\n0\n1\n2\n"
    assert done.returncode == 3


def test_run_ends_its_lab_when_it_is_told_to_end():
    available()
    command = [sys.executable, xenlab.__file__, "run", "--", "sh", "-c", 'echo "$XENLAB_SOCKET"; exec sleep 60']
    with subprocess.Popen(command, stdout=subprocess.PIPE) as run:
        path = run.stdout.readline().strip()
        run.terminate()
        assert run.wait(10) == 128 + signal.SIGTERM
    assert not os.path.exists(path)
