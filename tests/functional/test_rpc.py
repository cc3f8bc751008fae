# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Qubes RPC, with each of the three programs that call: what reached the service, which is a script that records it, and what is told of it."""

from __future__ import annotations

import base64
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time

import pytest
import yaml
from ansible_collections.qubes.vmconfig.plugins.module_utils._errors import Refused, Stopped
from ansible_collections.qubes.vmconfig.plugins.module_utils._rpc.task import from_options, perform
from ansible_collections.qubes.vmconfig.plugins.modules import rpc as module
from harness import ESCAPES, HOSTILE, within
from playing import environment, play

CLIENTS = {"dom0": "qrexec-client", "admin": "qvm-run", "": "qrexec-client-vm"}
DEFAULTS = {name: option.get("default") for name, option in yaml.safe_load(module.DOCUMENTATION)["options"].items()}
AWKWARD = ["plain", "two words", "'single'", '"double"', "back\\slash", "two\nlines", "tab\t", "a;b", "$(touch MARKER)", "`id`", "${HOME}", "--option", "-",
           "--", "+", "a+b", "*", "~", "", "Łódź", "\u202e", "{{ 40 + 2 }}", "%s", "\x1b[31m", "\x7f"]
BYTES = bytes(range(1, 256))

# Its own decoder, by what Qubes' documentation says of the form.
VMEXEC = """#!%s
import os, re, sys
record = open(os.path.join(os.environ["LAB_RECORDS"], os.environ["LAB_QUBE"] + ".argv~"), "wb")
for part in sys.argv[1].split("+"):
    out, rest = b"", part
    while rest:
        found = re.match(r"--|-([0-9A-F]{2})|[A-Za-z0-9_.]", rest)
        out += b"-" if found.group() == "--" else bytes([int(found.group(1), 16)]) if found.group(1) else found.group().encode()
        rest = rest[found.end():]
    record.write(out + b"\\0")
record.close()
os.rename(record.name, record.name[:-1])
""" % sys.executable


@pytest.fixture(name="machine", params=CLIENTS, ids=CLIENTS.values())
def lab_on_each_machine(request, admin, monkeypatch, tmp_path):
    """A lab whose client on PATH is that of dom0, of an admin qube or of a qube."""
    monkeypatch.setenv("PATH", admin.environment(request.param)["PATH"])
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    admin.client = CLIENTS[request.param]
    admin.add("work")
    return admin


@pytest.fixture(name="work")
def lab_in_dom0(admin, monkeypatch):
    monkeypatch.setenv("PATH", admin.environment("dom0")["PATH"])
    admin.add("work")
    return admin


@pytest.fixture(name="state_dir")
def where_is_kept_what_qubes_were_told(tmp_path):
    return str(tmp_path / "state")


def performed(check=False, diff=False, **options):
    for name in ("date_time", "wait_for_session"):
        if name in options:
            options[name] = {"time": None, "tolerance": 2.0, "user": None, **options[name]} if name == "date_time" else {"user": None, **options[name]}
    if "qubes" not in options:
        options.setdefault("qube", "work")
    return perform(from_options({**DEFAULTS, **options}, check, diff))


def failed(**options):
    """The message and the result of a task that fails."""
    with pytest.raises(Stopped) as caught:
        performed(**options)
    return str(caught.value), caught.value.result["qubes"]


def refused(**options):
    with pytest.raises(Refused) as caught:
        performed(**options)
    assert str(caught.value).isprintable()
    return str(caught.value)


def services(lab):
    """The services that were called; the Admin API is not among them."""
    return [call.service for call in lab.calls() if not call.service.startswith("admin.")]


# -- what reaches the service --


def test_standard_input_is_recorded_byte_for_byte(machine):
    machine.recorder("test.Record")
    everything = bytes(range(256)) * 1000
    result = performed(service="test.Record", stdin_base64=base64.encodebytes(everything).decode())
    assert result["changed"] is True
    assert result["qubes"] == {"work": {"changed": True, "called": ["test.Record"], "rc": 0}}
    assert machine.records() == {"work.test.Record": everything}
    for text in ("", "no newline", "Łódź\n", ESCAPES, HOSTILE):
        performed(service="test.Record", stdin=text)
        assert machine.records()["work.test.Record"] == text.encode()
    call = machine.calls()[-1]
    assert (call.client, call.target) == (machine.client, "work")


def test_every_argument_of_a_command_arrives_as_it_is(machine):
    machine.service("qubes.VMExec", VMEXEC)
    performed(exec=[*AWKWARD, {"base64": base64.b64encode(BYTES).decode()}])
    assert machine.records()["work.argv"] == b"".join(text.encode() + b"\0" for text in AWKWARD) + BYTES + b"\0"
    assert not os.path.exists("MARKER")


def test_what_qrexec_does_not_pass_on_is_refused(machine):
    """In every place that is an argument of the client, before anything is called."""
    if machine.client == "qrexec-client-vm":
        assert "cannot choose the user" in refused(service="test.Record", user="user")
    for text in [text for text in AWKWARD if text not in ("plain", "-", "--", "+", "a+b", "--option", "")] + [os.fsdecode(b"\xff")]:
        for options in ({"service": text}, {"service": "test.Record+" + text}, {"service": "test.Record", "arguments": ["a", text]},
                        {"service": "test.Record", "qube": text}, {"service": "test.Record", "qubes": ["work", text]},
                        {"service": "test.Record", "user": text}, {"wait_for_session": {"user": text}}):
            assert "expected" in refused(**options)
    assert machine.calls() == []


def test_what_looks_like_an_option_is_none(machine):
    machine.service("test.Args", "#!/bin/sh\nprintf '%s.' \"$@\"")
    for argument in ("--option", "-", "--", "a+b", "+", "-e"):
        assert performed(service="test.Args", arguments=[argument], output=True)["stdout"] == argument + "."
    for name in ("-e", "--all", "-", ""):
        refused(service="test.Args", qube=name)
        refused(service=name)
        refused(service="test.Args", user=name)
    assert set(services(machine)) == {"test.Args"}


def test_the_command_line_is_a_list(work, tmp_path, monkeypatch):
    """What each program is given, word for word; a shell would have split or expanded it."""
    for name in CLIENTS.values():
        (tmp_path / name).write_text("#!/bin/sh\nfor each in \"$@\"; do printf '%s\\n' \"$each\" >&2; done; exit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", "%s:/usr/bin:/bin" % tmp_path)
    expected = {
        "qrexec-client": ["-d", "work", "alice:QUBESRPC test.X+a+b dom0"],
        "qvm-run": ["--pass-io", "--no-gui", "--user=alice", "--service", "work", "test.X+a+b"],
        "qrexec-client-vm": ["work", "test.X+a+b"],
    }
    for client, line in expected.items():
        user = {} if client == "qrexec-client-vm" else {"user": "alice"}
        text, results = failed(client=client, service="test.X", arguments=["a", "b"], autostart=True, output=True, **user)
        assert results["work"]["stderr"].splitlines()[-len(line):] == line


def test_the_user_in_the_qube(machine):
    machine.service("test.X", "#!/bin/sh\n")
    if machine.client == "qrexec-client-vm":
        return
    performed(service="test.X", user="alice")
    performed(service="test.X")
    assert [call.user for call in machine.calls() if call.service == "test.X"] == ["alice", "DEFAULT" if machine.client == "qrexec-client" else ""]


# -- exit codes --


def test_the_services_own_code(machine):
    machine.service("test.Code", "#!/bin/sh\necho secret; exit $1\n")
    for code in (1, 3, 99, 125, 126, 127, 137, 255):
        text, results = failed(service="test.Code", arguments=[str(code)])
        kind = {125: "not_run", 127: "not_run", 126: "not_run" if machine.client == "qrexec-client" else "refused"}.get(code, "failed")
        msg = results["work"].pop("msg")
        assert results["work"] == {"changed": kind == "failed", "called": ["test.Code+%d" % code], "rc": code, "failure": kind}
        assert text == "qube 'work': " + msg
        assert msg.startswith("service test.Code+%d: " % code)
        assert str(code) in msg.partition(": ")[2]
        assert ("may also be" in text) == (code == {"qrexec-client": 1, "qvm-run": 255}.get(machine.client))
        assert ("signal 9" in text) == (code == 137)
        assert "secret" not in text


def test_a_service_that_is_not_there(machine):
    assert "does not have this service (127), unless the service itself ended so" in failed(service="test.None")[0]
    machine.service("test.Broken", "#!/nowhere/interpreter\n")
    assert "could not carry it out (125), unless" in failed(service="test.Broken")[0]


def test_policy(machine):
    machine.service("test.X", "#!/bin/sh\n")
    machine.refuse(service="test.X")
    if machine.client == "qrexec-client":
        assert performed(service="test.X")["changed"]  # dom0 asks no policy
        return
    text, results = failed(service="test.X")
    assert "qrexec's policy in dom0 refuses the call (126)" in text
    assert (results["work"]["failure"], results["work"]["changed"]) == ("refused", False)


# -- qubes that do not run --


def test_a_halted_qube_is_not_started(machine):
    machine.service("test.X", "#!/bin/sh\n")
    machine.add("off", state="Halted")
    machine.add("asleep", state="Paused")
    for state, name in (("Halted", "off"), ("Paused", "asleep")):
        for check in (False, True):
            text, results = failed(qube=name, service="test.X", check=check)
            assert "it is %s, and was not called" % state in text
            assert (results[name]["failure"], results[name]["state"], results[name]["changed"]) == ("not_running", state, False)
    result = performed(qubes=["off", "work", "asleep"], service="test.X", halted="skip")
    assert result["halted"] == ["off", "asleep"]
    assert [name for name, each in result["qubes"].items() if "rc" in each] == ["work"]
    assert not [call for call in machine.calls() if call.started or call.service == "admin.vm.Start"]


def test_autostart(machine):
    machine.service("test.X", "#!/bin/sh\n")
    machine.add("off", state="Halted")
    performed(qube="off", service="test.X", autostart=True, check=True)
    assert services(machine) == []
    result = performed(qube="off", service="test.X", autostart=True)
    assert result["qubes"]["off"]["rc"] == 0
    started = [call.service for call in machine.calls() if call.started or call.service == "admin.vm.Start"]
    assert started == (["admin.vm.Start"] if machine.client == "qrexec-client" else ["test.X"])
    performed(qube="off", service="test.X", autostart=True)
    assert [call.started for call in machine.calls() if call.service == "test.X"][-1] is False


def test_where_it_cannot_be_told_whether_it_runs(machine):
    machine.service("test.X", "#!/bin/sh\n")
    machine.refuse(service="admin.*")
    if machine.client == "qrexec-client":
        assert performed(service="test.X")["changed"]  # this one starts nothing
        return
    text, results = failed(service="test.X")
    assert results["work"]["failure"] == "unknown"
    assert "admin.vm.List  *  " in text and "autostart: true" in text
    assert performed(service="test.X", autostart=True)["changed"]


def test_targets_that_only_policy_knows(admin):
    admin.service("test.X", "#!/bin/sh\necho $LAB_QUBE\n")
    for target in ("dom0", "@adminvm", "$adminvm"):
        assert performed(qube=target, service="test.X", output=True, autostart=False)["stdout"] == "dom0\n"
    for target in ("@default", "@dispvm", "@dispvm:work"):
        assert "only dom0's policy knows" in failed(qube=target, service="test.X")[0]
    assert services(admin) == ["test.X"] * 3


def test_an_absent_qube(machine):
    text, results = failed(qube="nobody", service="test.X")
    assert results["nobody"]["failure"] in ("unknown", "failed")
    assert services(machine) in ([], ["test.X"])


def test_without_a_client(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert "there is no qrexec-client and no qvm-run and no qrexec-client-vm on PATH" in refused(service="test.X")
    assert "there is no qvm-run on PATH" in refused(service="test.X", client="qvm-run")


# -- time and size --


def test_a_service_that_never_ends(machine, tmp_path, monkeypatch):
    """The client has a child, as qvm-run has; neither is left. The service sees its caller go, and what it does then is the qube's."""
    pids = tmp_path / "pids"
    (tmp_path / machine.client).write_text("#!/bin/sh\necho $$ >> %s\n%s \"$@\" & echo $! >> %s\nwait\n" % (
        pids, _path_of(machine.client), pids))
    (tmp_path / machine.client).chmod(0o755)
    monkeypatch.setenv("PATH", "%s:%s" % (tmp_path, os.environ["PATH"]))
    # It starts another, and ends when nobody reads any more, as programs do.
    machine.service("test.Endless", "#!/bin/sh\n(while :; do echo child; sleep 0.1; done) &\nwhile :; do echo tick; sleep 0.1; done\n")
    begun = time.monotonic()
    text, results = failed(service="test.Endless", stdin="x", timeout=0.7)
    taken = time.monotonic() - begun
    print("timeout 0.7 s: ended after %.2f s" % taken)
    assert taken < 2.0
    assert "no end within 0.7 seconds (timeout)" in text and machine.client in text
    assert results["work"]["failure"] == "timed_out"
    with within(5):
        while machine.running() or any(map(_runs, pids.read_text().split()[-2:])):
            time.sleep(0.05)


def _path_of(name):
    return next(path for path in (os.path.join(folder, name) for folder in os.environ["PATH"].split(":")) if os.path.exists(path))


def _runs(pid):
    """Not one that has ended, and that nobody has waited for yet."""
    try:
        with open("/proc/%s/stat" % pid, encoding="ascii") as stream:
            return stream.read().split(") ")[1][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_ten_megabytes(machine):
    machine.service("test.Large", "#!/bin/sh\nhead -c 10485760 /dev/zero | tr '\\0' 'x'\nprintf 'wrong\\n' >&2\n")
    for limit, options in ((65536, {}), (100, {"output_limit": 100})):
        with within(10):
            result = performed(service="test.Large", output=True, **options)
        assert result["stdout"] == "x" * limit + "... (cut: 10485760 bytes, of which these are the first %d)" % limit
        assert (result["stderr"], result["qubes"]["work"]["stdout_bytes"], result["qubes"]["work"]["stderr_bytes"]) == ("wrong\n", 10485760, 6)
    assert "x" not in performed(service="test.Large")["qubes"]["work"].get("stdout", "")


def test_a_slow_service(machine):
    machine.service("test.Slow", "#!/bin/sh\nfor n in 1 2 3; do echo $n; sleep 0.1; done\n")
    assert performed(service="test.Slow", output=True)["stdout"] == "1\n2\n3\n"


def test_fifty_qubes_side_by_side(work):
    names = ["q%02d" % number for number in range(50)]
    work.add_many({name: {} for name in names})
    work.service("test.Second", "#!/bin/sh\nexec sleep 1\n")
    times = {}
    for qubes in (["work"], names):
        begun = time.monotonic()
        result = performed(qubes=qubes, service="test.Second", parallel=25)
        times[len(qubes)] = time.monotonic() - begun
        assert [each["rc"] for each in result["qubes"].values()] == [0] * len(qubes)
    print("one call %.2f s, fifty with parallel 25 %.2f s" % (times[1], times[50]))
    assert times[50] < 3 * times[1]
    assert list(result["qubes"]) == names


def test_one_that_fails_stops_no_other(machine):
    names = ["a", "b", "c", "d"]
    machine.add_many({name: {} for name in names})
    machine.recorder("test.Some", 'test "$LAB_QUBE" != b || exit 4\ntest "$LAB_QUBE" != c || exec sleep 9\n')
    text, results = failed(qubes=names, service="test.Some", stdin="x", parallel=2, timeout=1)
    assert {name: each.get("failure") for name, each in results.items()} == {"a": None, "b": "failed", "c": "timed_out", "d": None}
    assert text.startswith("qube 'b': service test.Some: the service ended with 4; qube 'c': ")
    assert "'a'" not in text
    assert sorted(machine.records()) == ["%s.test.Some" % name for name in names]


# -- the services that carry configuration --


def clock(lab, offset, form="%%Y-%%m-%%dT%%H:%%M:%%S+00:00"):
    lab.service("qubes.GetDate", "#!/bin/sh\ndate -u -d '%s' '+%s'\n" % (offset, form.replace("%%", "%")))
    lab.recorder("qubes.SetDateTime")
    lab.clear()


def test_the_clock(machine):
    for offset in ("now", "-1 second", "2 seconds"):
        clock(machine, offset)
        result = performed(date_time={})
        assert (result["changed"], result["qubes"]["work"]["called"]) == (False, [])
        assert services(machine) == ["qubes.GetDate"]
    for offset, seconds in (("+1 hour", 3600), ("-90 seconds", -90)):
        clock(machine, offset, "%%Y-%%m-%%dT%%H:%%M:%%S+0000")
        for check in (True, False):
            result = performed(date_time={}, check=check, diff=True)
            assert (result["changed"], result["qubes"]["work"]["called"]) == (True, ["qubes.SetDateTime"])
            assert abs(result["qubes"]["work"]["difference"] - seconds) <= 2
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00\n", result["diff"][0]["after"])
            assert ("qubes.SetDateTime" in services(machine)) != check
        written = machine.records()["work.qubes.SetDateTime"].decode()
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00\n", written)
        # Read by the program that a qube reads it with.
        told = int(subprocess.run(["date", "-u", "-d", written.strip(), "+%s"], stdout=subprocess.PIPE, check=True).stdout)
        assert abs(told - time.time()) < 5
        assert performed(date_time={"tolerance": 4000})["changed"] is False


def test_a_clock_of_ones_own(work):
    clock(work, "2020-02-29T12:00:00Z")
    assert performed(date_time={"time": "2020-02-29T12:00:02+00:00"})["changed"] is False
    assert performed(date_time={"time": "2020-02-29T13:00:00Z"})["changed"] is True
    assert work.records()["work.qubes.SetDateTime"] == b"2020-02-29T13:00:00+00:00\n"
    for bad in ("yesterday", "2020-02-30T00:00:00Z", "2020-02-29T12:00:00+01:00", "2020-02-29T12:00:00Z; reboot"):
        assert "expected UTC" in refused(date_time={"time": bad})
    assert "at least 2 seconds" in refused(date_time={"tolerance": 1})


def test_an_answer_that_is_no_time(work):
    work.recorder("qubes.SetDateTime")
    for answer in ("", "yesterday", "$(reboot)", "{{ 1 }}", "2026-11-28T12:00:00+00:00 2026", "\\033[31m", "\\377", "2026-13-41T99:00:00Z"):
        work.service("qubes.GetDate", "#!/bin/sh\nprintf '%s'\n" % answer)
        text, results = failed(date_time={})
        assert results["work"]["failure"] == "invalid"
        assert text.isprintable() and "is no time" in text
    assert set(services(work)) == {"qubes.GetDate"}


MONITORS = [{"width": 1920, "height": 1080}, {"width": 2560, "height": 1440, "x": 1920, "y": 0, "width_mm": 600, "height_mm": 340, "output": "HDMI-1"}]
LINES = b"1920 1080 0 0\n2560 1440 1920 0 600 340\n"


def test_monitors(machine, state_dir):
    machine.recorder("qubes.SetMonitorLayout")
    options = {"monitor_layout": MONITORS, "state_dir": state_dir}
    checked = performed(check=True, diff=True, **options)
    assert (checked["changed"], services(machine), os.path.exists(state_dir)) == (True, [], False)
    applied = performed(diff=True, **options)
    assert applied["diff"] == checked["diff"] == [{"before_header": "work", "after_header": "work", "before": "", "after": LINES.decode()}]
    assert machine.records() == {"work.qubes.SetMonitorLayout": LINES}
    assert performed(**options)["changed"] is False
    assert performed(check=True, **options)["changed"] is False
    assert services(machine) == ["qubes.SetMonitorLayout"]
    one = performed(diff=True, monitor_layout=MONITORS[:1], state_dir=state_dir)
    assert (one["changed"], one["diff"][0]["before"]) == (True, LINES.decode())
    assert performed(force=True, monitor_layout=MONITORS[:1], state_dir=state_dir)["changed"] is True
    assert os.stat(state_dir).st_mode & 0o777 == 0o700


def test_a_qube_that_was_restarted_has_forgotten(work, state_dir):
    for service in ("qubes.SetMonitorLayout", "qubes.SetGuiMode"):
        work.recorder(service)
    layout, mode = {"monitor_layout": MONITORS, "state_dir": state_dir}, {"gui_mode": "seamless", "state_dir": state_dir}
    for _restart in range(2):
        for options in (layout, mode):
            assert performed(**options)["changed"] is True
        for options in (layout, mode):
            assert performed(**options)["changed"] is False
        work.state("work", "Halted")
        work.state("work", "Running")
    assert work.records()["work.qubes.SetGuiMode"] == b"SEAMLESS"
    assert performed(gui_mode="fullscreen", state_dir=state_dir)["changed"] is True
    assert work.records()["work.qubes.SetGuiMode"] == b"FULLSCREEN"


def test_what_was_told_is_not_known(work, state_dir):
    """Then it is told again: nobody says which run it is, the last call failed, or the record is none."""
    options = {"monitor_layout": MONITORS, "state_dir": state_dir}
    work.recorder("qubes.SetMonitorLayout")
    assert performed(**options)["changed"] is True
    for damaged in ("", "[]", '{"run": "1"}', '{"run": {}, "told": 7}', "[" * 100000, "\0"):
        (file,) = os.listdir(state_dir)
        with open(os.path.join(state_dir, file), "w", encoding="utf-8") as stream:
            stream.write(damaged)
        assert performed(**options)["changed"] is True
    work.recorder("qubes.SetMonitorLayout", "exit 5\n")
    failed(monitor_layout=MONITORS[:1], state_dir=state_dir)
    work.recorder("qubes.SetMonitorLayout")
    assert performed(**options)["changed"] is True
    work.refuse(service="admin.vm.property.Get")
    for _run in range(2):
        assert performed(**options)["changed"] is True


def test_a_folder_of_others(work, tmp_path):
    work.recorder("qubes.SetMonitorLayout")
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    (tmp_path / "link").symlink_to("/tmp")
    for name in ("shared", "link"):
        text, results = failed(monitor_layout=MONITORS, state_dir=str(tmp_path / name))
        assert "nobody else may write to" in text
    assert services(work) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(Stopped):
        performed(monitor_layout=MONITORS, state_dir=str(tmp_path / "file"))
    result = performed(monitor_layout=MONITORS, state_dir="/proc/nowhere")
    assert result["changed"] and "cannot be kept" in result["warnings"][0]


def test_the_session(machine):
    machine.recorder("qubes.WaitForSession", "sleep 0.3\n")
    for options, told in (({}, b""), ({"user": "user"}, b"user\n")):
        assert performed(wait_for_session=options, check=True)["qubes"]["work"] == {"changed": False, "called": ["qubes.WaitForSession"]}
        machine.clear()
        with within(3):
            result = performed(wait_for_session=options)
        assert result["changed"] is False
        assert machine.records()["work.qubes.WaitForSession"] == told
    assert "no end within" in failed(wait_for_session={}, timeout=0.1)[0]


def test_check_mode_calls_nothing_that_changes_anything(machine, state_dir):
    clock(machine, "+1 day")
    machine.add("off", state="Halted")
    for options in ({"service": "test.X"}, {"exec": ["true"]}, {"date_time": {}}, {"monitor_layout": MONITORS}, {"gui_mode": "seamless"}):
        result = performed(check=True, state_dir=state_dir, **options)
        assert result["changed"] is True
        assert len(result["qubes"]["work"]["called"]) == 1
        performed(check=True, state_dir=state_dir, autostart=True, **options)
    performed(check=True, state_dir=state_dir, autostart=True, qube="off", service="test.X")
    assert set(services(machine)) <= {"qubes.GetDate"}
    assert not [call for call in machine.calls() if call.service.startswith("admin.") and call.changes]
    assert not os.path.exists(state_dir)


REFUSED = [
    ({"service": "test.X", "parallel": 0}, "parallel is 0"),
    ({"service": "test.X", "timeout": 0}, "timeout is 0"),
    ({"service": "test.X", "timeout": float("nan")}, "timeout is nan"),
    ({"service": "test.X", "timeout": float("inf")}, "timeout is inf"),
    ({"service": "test.X", "timeout": 1e300}, "timeout is 1e+300"),
    ({"service": "test.X", "output_limit": -1}, "output_limit is -1"),
    ({"service": "test.X", "output_limit": 10 ** 400}, "and at most 100000000"),
    ({"service": "test.X", "parallel": 10 ** 9}, "parallel is 1000000000"),
    ({"date_time": {"tolerance": float("nan")}}, "tolerance is nan; expected at least 2 seconds"),
    ({"date_time": {"tolerance": float("inf")}}, "tolerance is inf"),
    ({"date_time": {"tolerance": float("-inf")}}, "tolerance is -inf"),
    ({"date_time": {"tolerance": 1e300}}, "tolerance is 1e+300"),
    ({"date_time": {"tolerance": 1.9}}, "tolerance is 1.9"),
    ({"service": "test.X", "qubes": ["dom0", "work", "@adminvm"], "client": "qrexec-client-vm"}, "dom0 and @adminvm are the same one; name it once"),
    ({"service": "test.X", "qubes": ["work", "work"]}, "given twice"),
    ({"service": "test.X", "qubes": []}, "there is none"),
    ({"service": "test.X", "stdin_base64": "!"}, "stdin_base64 is not base64"),
    ({"gui_mode": "seamless", "stdin": "x"}, "stdin: only with service or exec"),
    ({"exec": ["x"], "arguments": ["x"]}, "arguments: only with service"),
    ({"exec": []}, "expected a command"),
    ({"exec": ["echo", 7]}, "the argument 7 is no text; quote it"),
    ({"exec": ["a\0b"]}, "has a NUL"),
    ({"exec": ["x" * 70000]}, "qrexec takes 65000"),
    ({"monitor_layout": []}, "there are 0 monitors"),
    ({"monitor_layout": [{"width": 0, "height": 1}]}, "width is 0; expected a number from 1 to 32767"),
    ({"monitor_layout": [MONITORS[0], MONITORS[0]]}, "monitors 0 and 1 overlap"),
]


def test_refused(work):
    for options, says in REFUSED:
        assert says in refused(**options)
    assert work.calls() == []


# -- as a user meets it --


def rpc(**options):
    return {"qubes.vmconfig.rpc": options}


def test_what_a_qube_wrote_is_shown_and_never_evaluated(work, tmp_path):
    hostile = (ESCAPES + "\n" + HOSTILE.replace("MARKER", str(tmp_path / "MARKER")) + "\ttab {% raw %}\r\n").encode()
    work.service("test.Hostile", "#!/bin/sh\necho %s | base64 -d | tee /dev/stderr\nexit ${1:-0}\n" % base64.b64encode(hostile).decode())
    played = play(tmp_path, {
        "told": rpc(qube="work", service="test.Hostile", output=True),
        "shown": {"ansible.builtin.debug": {"msg": "{{ result_of_told.qubes.work.stdout }}"}},
        "again": {"ansible.builtin.set_fact": {"copied": "{{ result_of_told.stdout }}"}},
        "copied": {"ansible.builtin.debug": {"var": "copied"}},
        "failing": rpc(qube="work", service="test.Hostile", arguments=["3"], output=True),
        "silent": rpc(qube="work", service="test.Hostile", arguments=["3"]),
    }, args=["-v"], env=environment(PATH="%s:%s" % (os.path.dirname(sys.executable), os.environ["PATH"])))
    stdout = played.results["told"]["stdout"]
    assert stdout == played.results["told"]["qubes"]["work"]["stdout"] == played.results["shown"]["msg"] == played.results["copied"]["copied"]
    assert all(character.isprintable() or character in "\n\t" for character in stdout)
    for text in ("\\x1b[31m", "\\u009b2J", "\\u202etxt.exe", "{{ lookup('pipe', 'touch ", "\ttab {% raw %}\\r\n"):
        assert text in stdout
    for character in "\x1b\x9b\x85\u202e\u2028\u2066":
        assert character not in played.text
    assert not (tmp_path / "MARKER").exists()
    assert played.results["failing"]["rc"] == 3
    assert "txt.exe" in played.results["failing"]["msg"]
    assert "txt.exe" not in json.dumps(played.results["silent"])
    assert "stdout" not in played.results["silent"]


NO_NUMBERS = [
    {"service": "test.Record", "output_limit": "inf"},
    {"service": "test.Record", "parallel": "-inf"},
    {"service": "test.Record", "output_limit": "nan"},
    {"service": "test.Record", "parallel": "9" * 5000},
    {"service": "test.Record", "timeout": "inf"},
    {"date_time": {"tolerance": "nan"}},
    {"monitor_layout": [{"width": "inf", "height": 1}]},
]


def test_a_play(work, tmp_path):
    work.add("off", state="Halted")
    work.recorder("test.Record")
    work.recorder("qubes.SetMonitorLayout")
    layout = {**rpc(qubes=["work"], monitor_layout=MONITORS, state_dir=str(tmp_path / "state")), "diff": True}
    played = play(tmp_path, {
        "checked": {**rpc(qube="work", service="test.Record", stdin="x"), "check_mode": True},
        "done": rpc(qube="work", service="test.Record", arguments=["a"], stdin="{{ 'Ł' }}\n"),
        "layout_checked": {**layout, "check_mode": True},
        "layout": layout,
        "layout_again": layout,
        "some": rpc(qubes=["off", "work"], service="test.Record", halted="skip"),
        "all": rpc(qubes=["off", "work"], service="test.Record"),
        "nothing": rpc(qube="work"),
        "two": rpc(qube="work", service="a", gui_mode="seamless"),
        "clock": rpc(qube="work", date_time={}),
        "session": rpc(qube="work", wait_for_session={}),
        **{"number_%d" % place: rpc(qube="work", **options) for place, options in enumerate(NO_NUMBERS)},
    }, env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_LOCALHOST_WARNING": "false"})
    results = played.results
    assert (results["checked"]["changed"], "rc" in results["checked"]) == (True, False)
    assert (results["done"]["changed"], results["done"]["rc"]) == (True, 0)
    assert [results[name]["changed"] for name in ("layout_checked", "layout", "layout_again")] == [True, True, False]
    assert results["layout"]["diff"] == results["layout_checked"]["diff"]
    assert results["layout_again"]["diff"] == []
    assert (results["some"]["halted"], results["some"]["changed"]) == (["off"], True)
    assert results["all"]["failed"] and "qube 'off': it is Halted" in results["all"]["msg"]
    assert results["all"]["qubes"]["work"]["rc"] == 0
    assert "one of the following is required" in results["nothing"]["msg"]
    assert "mutually exclusive" in results["two"]["msg"]
    for place, options in enumerate(NO_NUMBERS):
        result = results["number_%d" % place]
        assert result["failed"] and "Traceback" not in json.dumps(result), result
        assert any(says in result["msg"] for says in ("infinite or has too many digits", "cannot be converted", "expected at least")), (options, result["msg"])
    assert results["clock"]["qubes"]["work"]["failure"] == results["session"]["qubes"]["work"]["failure"] == "not_run"


def test_who_ends_the_module_ends_what_it_started(work, tmp_path):
    work.service("test.Endless", "#!/bin/sh\nexec sleep 60\n")
    arguments = {"ANSIBLE_MODULE_ARGS": {"qube": "work", "service": "test.Endless"}}
    program = "import sys; from ansible_collections.qubes.vmconfig.plugins.modules.rpc import main; main()"
    process = subprocess.Popen([sys.executable, "-c", _with_profile(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdin.write(json.dumps(arguments).encode())
    process.stdin.close()
    with within(10):
        while not services(work):
            time.sleep(0.02)
        pid = next(call.pid for call in work.calls() if call.service == "test.Endless")
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 128 + signal.SIGTERM
    process.stdout.close()
    with within(5):
        while _runs(pid):
            time.sleep(0.05)


HUNDRED = 100 * 1000 * 1000
LARGE = "#!/bin/sh\nhead -c %d /dev/zero | tr '\\0' '%s'\n"
BYTE = {"ESC": "\\033", "newlines": "\\n", "no UTF-8": "\\377"}


@pytest.mark.parametrize("byte", BYTE)
def test_a_hundred_megabytes_that_are_returned(work, byte):
    """In time, and in about twice the memory."""
    work.service("test.Nothing", "#!/bin/sh\n")
    work.service("test.Large", LARGE % (HUNDRED, BYTE[byte]))
    params = {**DEFAULTS, "qube": "work", "service": "test.Large", "output": True, "output_limit": HUNDRED, "timeout": 40}
    with within(20):
        done = subprocess.run([sys.executable, "-c", MEMORY, json.dumps(params)], stdout=subprocess.PIPE, check=True)
    print("resident MB more than for a service that says nothing: %d" % (int(done.stdout) * 1024 / 1e6))
    assert int(done.stdout) * 1024 < 2.5 * HUNDRED


def test_a_signal_ends_it_while_it_escapes(work):
    work.service("test.Large", LARGE % (HUNDRED, BYTE["ESC"]))
    arguments = {"ANSIBLE_MODULE_ARGS": {"qube": "work", "service": "test.Large", "output": True, "output_limit": HUNDRED}}
    program = (
        "import sys, time\nfrom ansible_collections.qubes.vmconfig.plugins.module_utils._rpc import shown\n"
        "from ansible_collections.qubes.vmconfig.plugins.modules.rpc import main\n"
        "escape = shown.escape_lines\ndef slowly(text):\n    sys.stderr.write('.')\n    sys.stderr.flush()\n    time.sleep(0.05)\n    return escape(text)\n"
        "shown.escape_lines = slowly\nmain()")
    process = subprocess.Popen([sys.executable, "-c", _with_profile(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdin.write(json.dumps(arguments).encode())
    process.stdin.close()
    with within(20):
        assert process.stderr.read(1) == b"."
        process.send_signal(signal.SIGTERM)
    with within(3):
        assert process.wait() == 128 + signal.SIGTERM
    process.stdout.close()
    process.stderr.close()


def _with_profile(program):
    """ansible-core 2.19 and later ask for the form of their arguments."""
    return "import ansible.module_utils.basic as basic\nif hasattr(basic, '_ANSIBLE_PROFILE'):\n    basic._ANSIBLE_PROFILE = 'legacy'\n" + program


MEMORY = """
import resource, sys
from ansible_collections.qubes.vmconfig.plugins.modules import rpc
from ansible_collections.qubes.vmconfig.plugins.module_utils._rpc.task import from_options, perform
import json
params = json.loads(sys.argv[1])
perform(from_options({**params, "service": "test.Nothing"}, False, False))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
perform(from_options(params, False, False))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_ten_megabytes_in_memory(work):
    work.service("test.Nothing", "#!/bin/sh\n")
    work.service("test.Large", "#!/bin/sh\nexec head -c 10485760 /dev/urandom\n")
    work.service("test.Limit", "#!/bin/sh\nexec head -c 65536 /dev/urandom\n")
    costs = {}
    for service in ("test.Limit", "test.Large"):
        params = {**DEFAULTS, "qube": "work", "service": service, "output": True}
        done = subprocess.run([sys.executable, "-c", MEMORY, json.dumps(params)], stdout=subprocess.PIPE, check=True)
        costs[service] = int(done.stdout)
    print("resident KiB more than for a service that says nothing:", costs)
    # Pages are four, and both runs decode and escape as much.
    assert costs["test.Large"] - costs["test.Limit"] < 128
    assert resource.getpagesize() <= 65536
