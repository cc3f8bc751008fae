# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Admin API lab is as the documentation of the Admin API says: frames, exceptions, limits, policy; and it tells what it was asked."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from adminlab import AdminLab  # noqa: E402  # pylint: disable=wrong-import-position


@pytest.fixture(name="lab")
def lab_with_work():
    with AdminLab() as lab:
        lab.add("work", features={"service.cups": "1", "empty": ""}, properties={"debug": "True"})
        lab.add("halted", klass="StandaloneVM", state="Halted")
        yield lab


def client(lab, *arguments, payload=b""):
    return subprocess.run(["qrexec-client-vm", *arguments], env={**os.environ, **lab.environment()}, input=payload, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False, timeout=10)


def call(lab, target, service, payload=b""):
    done = client(lab, target, service, payload=payload)
    assert done.returncode == 0, done
    return done.stdout


def test_the_qubes_are_listed(lab):
    assert call(lab, "dom0", "admin.vm.List") == (
        b"0\0dom0 class=AdminVM state=Running\nhalted class=StandaloneVM state=Halted\nwork class=AppVM state=Running\n")
    assert call(lab, "work", "admin.vm.List") == b"0\0work class=AppVM state=Running\n"


@pytest.mark.parametrize("service, answer", [
    ("admin.vm.feature.List", b"0\0service.cups\nempty\n"),
    ("admin.vm.feature.Get+service.cups", b"0\x001"),
    ("admin.vm.feature.Get+empty", b"0\0"),
    ("admin.vm.property.Get+debug", b"0\0default=False type=bool True"),
    ("admin.vm.property.Get+default_user", b"0\0default=True type=str user"),
    ("admin.vm.property.Get+netvm", b"0\0default=True type=vm "),
    ("admin.vm.property.GetDefault+debug", b"0\0type=bool False"),
    ("admin.no.such.Method", b""),
    ("admin.vm.feature.List+argument", b""),
])
def test_what_is_answered(lab, service, answer):
    assert call(lab, "work", service) == answer


@pytest.mark.parametrize("service, payload, kind", [
    ("admin.vm.feature.Get+none", b"", b"QubesFeatureNotFoundError"),
    ("admin.vm.feature.Remove+none", b"", b"QubesFeatureNotFoundError"),
    ("admin.vm.feature.Set+x", b"two\nlines", b"QubesValueError"),
    ("admin.vm.feature.Set+a:b", b"x", b"QubesValueError"),
    ("admin.vm.property.Get+none", b"", b"QubesNoSuchPropertyError"),
    ("admin.vm.property.Set+debug", b"maybe", b"QubesValueError"),
    ("admin.vm.property.Set+keyboard_layout", b"us", b"QubesPropertyValueError"),
    ("admin.vm.property.Set+keyboard_layout", b"us,se++", b"QubesPropertyValueError"),
    ("admin.vm.property.Set+ip", b"10.0.0.999", b"QubesPropertyValueError"),
])
def test_exceptions(lab, service, payload, kind):
    tag, name, _traceback, text, *fields, end = call(lab, "work", service, payload).split(b"\0")
    assert (tag, name, fields, end) == (b"2", kind, [], b"")
    assert text
    assert (lab.features("work"), lab.properties("work")) == ({"service.cups": "1", "empty": ""}, {"debug": "True"})


def test_a_value_that_is_not_ascii_gets_no_answer(lab):
    assert call(lab, "work", "admin.vm.feature.Set+x", "ł".encode()) == b""
    assert "x" not in lab.features("work")


def test_what_is_set_stays(lab):
    changes = {"feature.Set+new": b"a b", "feature.Remove+empty": b"", "property.Set+keyboard_layout": b"fr+oss+", "property.Set+debug": b"off"}
    for service, payload in changes.items():
        assert call(lab, "work", "admin.vm." + service, payload) == b"0\0"
    assert lab.features("work") == {"service.cups": "1", "new": "a b"}
    assert lab.properties("work") == {"keyboard_layout": "fr+oss+", "debug": "False"}
    assert call(lab, "work", "admin.vm.property.Reset+debug") == b"0\0"
    assert lab.properties("work") == {"keyboard_layout": "fr+oss+"}


def test_all_properties_in_one_call_are_escaped(lab):
    lab.set_property("work", "kernelopts", "a\\b\nc")
    lines = call(lab, "work", "admin.vm.property.GetAll")[2:].decode().splitlines()
    assert "kernelopts default=False type=str a\\\\b\\nc" in lines
    assert "debug default=False type=bool True" in lines
    assert len(lines) == len(call(lab, "work", "admin.vm.property.List")[2:].split())


def test_a_default_comes_from_the_template(lab):
    lab.add("template", klass="TemplateVM", properties={"default_user": "alice"})
    lab.add("child", template="template")
    assert call(lab, "child", "admin.vm.property.Get+default_user") == b"0\0default=True type=str alice"


@pytest.mark.parametrize("target, service", [("work", "admin.vm.feature.Get+service.cups"), ("nobody", "admin.vm.feature.List")])
def test_policy_and_unknown_targets(lab, target, service):
    lab.refuse(service="admin.vm.feature.Get", argument="service.*")
    done = client(lab, target, service)
    assert (done.returncode, done.stdout, done.stderr) == (126, b"", b"Request refused\n")
    assert client(lab, "work", "admin.vm.feature.Get+empty").returncode == 0
    lab.allow_all()
    assert client(lab, "work", "admin.vm.feature.Get+service.cups").returncode == 0


def test_it_tells_what_it_was_asked(lab):
    call(lab, "work", "admin.vm.feature.Set+x", b"1")
    call(lab, "dom0", "admin.vm.List")
    assert [(entry.target, entry.service, entry.argument, entry.payload, entry.status, entry.changes) for entry in lab.calls()] == [
        ("work", "admin.vm.feature.Set", "x", b"1", 0, True), ("dom0", "admin.vm.List", "", b"", 0, False)]
    assert [entry.argument for entry in lab.changes()] == ["x"]
    assert lab.most_at_once() == 1
    lab.clear()
    assert lab.calls() == []


def test_how_many_there_are_at_a_time(lab):
    line = ["qrexec-client-vm", "work", "admin.vm.feature.List"]
    clients = [subprocess.Popen(line, env={**os.environ, **lab.environment()}, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for number in range(5)]
    end = time.monotonic() + 10
    while lab.most_at_once() < 5 and time.monotonic() < end:
        time.sleep(0.01)
    answers = [each.communicate()[0] for each in clients]
    assert answers == [b"0\0service.cups\nempty\n"] * 5
    assert lab.most_at_once() == 5


def test_the_client_finds_the_lab_without_the_environment(lab):
    done = subprocess.run([os.path.join(lab.bin, "qrexec-client-vm"), "work", "admin.vm.feature.Get+service.cups"], env={}, input=b"", stdout=subprocess.PIPE,
                          check=True, timeout=10)
    assert done.stdout == b"0\x001"


def test_nothing_is_left_behind(lab):
    folder = lab.folder
    assert os.path.exists(folder)
    lab.stop()
    assert not os.path.exists(folder)
