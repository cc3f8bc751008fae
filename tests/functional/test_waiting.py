# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waiting for a key, on every store; and what happens when that breaks."""

from __future__ import annotations

import signal
import threading
import time

import pytest
from ansible_collections.qubes.vmconfig.plugins.module_utils._errors import QubeMissing, Refused, StoreError, VmconfigError
from ansible_collections.qubes.vmconfig.plugins.module_utils._wait import Task, wait
from harness import ESCAPES, opened, within
from playing import play

KEY = "vm-config/x"
SOON = 0.2


def waited(url, store_timeout=10.0, **options):
    """The result of one wait, in a store of its own."""
    store = opened(url, store_timeout)
    try:
        return wait(store, Task(**{"qube": "work", "key": KEY, "timeout": 3.0, **options}))
    finally:
        store.close()


def soon(function, *args):
    timer = threading.Timer(SOON, function, args)
    timer.start()
    return timer


@pytest.mark.parametrize("before, options, after", [
    (None, {}, b"1"),
    (b"1", {"state": "absent"}, None),
    (b"1", {"state": "equal", "value": "2"}, b"2"),
    (None, {"state": "equal", "value": ""}, b""),
    (b"on it", {"state": "matching", "regexp": "^done [0-9]+"}, b"done 7"),
    (b"1", {"state": "changed"}, b"2"),
    (b"1", {"state": "changed"}, None),
    (None, {"state": "changed"}, b"1"),
    (b"1", {"state": "equal", "value": {"base64": "//8="}}, b"\xff\xff"),
], ids=str)
def test_what_comes_is_seen_when_it_comes(tree, before, options, after):
    if before is not None:
        tree.put("work", KEY, before)
    timer = soon(*((tree.remove, "work", KEY) if after is None else (tree.put, "work", KEY, after)))
    with within(3):
        result = waited(tree.url, **options)
    timer.join()
    text = {None: None, b"\xff\xff": {"base64": "//8="}}.get(after, after if after is None else after.decode("utf-8", "replace"))
    assert (result["met"], result["present"], result["value"], result["changed"]) == (True, after is not None, text, False)
    assert SOON - 0.2 < result["elapsed"] < SOON + 1


@pytest.mark.parametrize("options", [
    {"state": "present", "key": "qubes-timezone"},
    {"state": "absent"},
    {"state": "equal", "key": "qubes-service/cups", "value": True},
    {"state": "matching", "key": "qubes-timezone", "regexp": "T"},
], ids=str)
def test_what_is_there_already_is_not_waited_for(tree, options):
    with within(2):
        assert waited(tree.url, **options)["elapsed"] < 1


def test_other_keys_end_no_wait(place):
    def put():
        for qube, key in (("work", "vm-config/xx"), ("work", "vm-config/x/y"), ("personal", KEY)):
            place.put(qube, key, b"1")

    timer = soon(put)
    with within(1.5), pytest.raises(VmconfigError):
        waited(place.url, timeout=0.5)
    timer.join()


def test_the_same_value_again_is_no_change(place):
    place.put("work", KEY, b"1")
    timer = soon(place.put, "work", KEY, b"1")
    with within(1.5), pytest.raises(VmconfigError, match="not changed"):
        waited(place.url, state="changed", timeout=0.5)
    timer.join()


@pytest.mark.parametrize("timeout", [0, 0.6])
def test_the_time_to_wait_is_kept(place, timeout):
    begun = time.monotonic()
    with within(timeout + 1), pytest.raises(VmconfigError) as caught:
        waited(place.url, timeout=timeout)
    assert time.monotonic() - begun >= timeout
    for text in ("'work'", "'vm-config/x'", "%g seconds" % timeout, "not present", "not there"):
        assert text in str(caught.value)


def test_the_value_at_last_is_told_without_harm(place):
    place.put("work", KEY, ESCAPES.encode("utf-8"))
    with pytest.raises(VmconfigError) as caught:
        waited(place.url, state="equal", value="x", timeout=0.2)
    assert str(caught.value).isprintable()
    assert "red" in str(caught.value)


def test_in_check_mode_it_looks_once(place):
    with within(1):
        result = waited(place.url, check_mode=True)
    assert (result["met"], result["present"], result["value"]) == (False, False, None)


def test_a_secret_is_waited_for_and_not_told(tree):
    tree.put("work", "qubes-random-seed", b"c2VjcmV0")
    result = waited(tree.url, key="qubes-random-seed")
    assert (result["present"], result["value"]) == (True, None)
    with pytest.raises(VmconfigError) as caught:
        waited(tree.url, key="qubes-random-seed", state="absent", timeout=0.2)
    assert "c2VjcmV0" not in str(caught.value)
    timer = soon(tree.remove, "work", "qubes-random-seed")
    assert waited(tree.url, key="qubes-random-seed", state="absent")["present"] is False
    timer.join()


@pytest.mark.parametrize("options, says", [
    ({"key": "qubes-random-seed", "state": "equal", "value": "x"}, "secret"),
    ({"key": "qubes-random-seed", "state": "changed"}, "secret"),
    ({"key": "a b"}, "cannot be a key's name"),
    ({"key": "qubes-debug-mode", "state": "equal", "value": "maybe"}, "expected a boolean"),
    ({"state": "matching", "regexp": "("}, "regexp"),
    ({"state": "matching", "regexp": "a{4294967296}"}, "regexp"),
    ({"timeout": -1.0}, "timeout"),
    ({"timeout": 2592000.0}, "timeout"),
    ({"timeout": float("nan")}, "timeout"),
], ids=str)
def test_refused_before_anything_is_asked(place, options, says):
    with within(1), pytest.raises(Refused, match=says):
        waited(place.url, **options)


def test_a_qube_that_is_not_there(place):
    with within(1), pytest.raises((QubeMissing, StoreError), match="'vault'"):
        waited(place.url, qube="vault")


def test_a_pattern_that_takes_for_ever_on_a_hostile_value(place):
    place.put("work", KEY, b"a" * 60 + b"!")
    with within(3), pytest.raises(VmconfigError, match="pattern"):
        waited(place.url, state="matching", regexp="^(a+)+$", timeout=0.3)


def test_nothing_of_the_wait_is_left_behind(tree):
    before = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)
    waited(tree.url, key="qubes-timezone")
    assert (signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)) == before
    store = opened(tree.url)
    wait(store, Task("work", "qubes-timezone"))
    tree.put("work", "qubes-timezone", b"Asia/Tokyo")
    assert wait(store, Task("work", "qubes-timezone", "equal", "Asia/Tokyo", timeout=1.0))["met"]
    store.close()


# -- QubesDB: what went over the wire --


def test_the_watch_is_there_before_the_first_look_and_nothing_is_asked_while_nothing_happens(qubes):
    timer = threading.Timer(1.2, qubes.put, ("work", KEY, b"1"))
    timer.start()
    waited(qubes.url)
    timer.join()
    assert [(request.kind, request.path, request.socket) for request in qubes.requests("work")] == [
        ("WATCH", "/vm-config/x", "ro"), ("READ", "/vm-config/x", "ro"), ("READ", "/vm-config/x", "ro"), ("UNWATCH", "/vm-config/x", "ro")]
    assert {request.connection for request in qubes.requests("work")} == {qubes.requests("work")[0].connection}


def test_a_change_between_the_watch_and_the_first_look_is_not_lost(qubes):
    qubes.rule("work", "event", kind="READ", event_path="/vm-config/x", times=1)
    timer = soon(qubes.put, "work", KEY, b"1")
    with within(2):
        assert waited(qubes.url)["met"]
    timer.join()


def test_a_qube_that_writes_the_key_all_the_time(qubes):
    """Each look finds that it was written meanwhile. The time to wait is kept, and told."""
    qubes.rule("work", "event", kind="READ", event_path="/vm-config/x")
    with within(1.5), pytest.raises(VmconfigError, match="0.5 seconds are over and it is not present"):
        waited(qubes.url, timeout=0.5)


def test_a_daemon_that_is_restarted_meanwhile(qubes):
    timer = soon(qubes.restart, "work", {KEY: b"1"})
    with within(2):
        assert waited(qubes.url)["met"]
    timer.join()


def test_a_daemon_that_ends_meanwhile(qubes):
    timer = soon(qubes.kill, "work")
    with within(2), pytest.raises(StoreError, match="'work'.*waiting for key 'vm-config/x'"):
        waited(qubes.url, store_timeout=0.5)
    timer.join()


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_daemon_that_hangs(qubes, when):
    if when == "before":
        qubes.freeze("work")
    else:
        soon(qubes.freeze, "work")
    with within(1.5), pytest.raises(VmconfigError, match="'work'"):
        waited(qubes.url, timeout=0.5)
    qubes.thaw("work")
    # Hanging up on a daemon that hangs cannot be helped.
    qubes.clear("work")


@pytest.mark.parametrize("kind", ["READ", "UNWATCH"])
def test_a_daemon_that_hangs_at_one_request(qubes, kind):
    """The time to wait is kept, whatever store_timeout is; what was seen before that counts."""
    qubes.rule("work", "stall", kind=kind)
    with within(1.5), pytest.raises(VmconfigError, match="0.5 seconds"):
        waited(qubes.url, store_timeout=30.0, timeout=0.5)
    if kind == "UNWATCH":
        with within(2):
            assert waited(qubes.url, store_timeout=0.5, key="qubes-timezone")["met"]
    # Hanging up on a daemon that hangs cannot be helped.
    qubes.clear("work")


def test_an_event_between_the_watch_and_the_first_look_is_kept(qubes):
    """The first answer is the old value, and the event that comes with it is the only one."""
    qubes.rule("work", "event", kind="READ", event_path="/vm-config/x", times=1)
    with within(1.5), pytest.raises(VmconfigError):
        waited(qubes.url, timeout=0.5)
    assert [request.kind for request in qubes.requests("work")] == ["WATCH", "READ", "READ", "UNWATCH"]


@pytest.mark.parametrize("options", [{"key": "vm-config/" + "x" * 53}, {"state": "equal", "value": "x" * 3072}], ids=["a long key", "a long value"])
def test_what_the_store_cannot_hold_is_not_waited_for(qubes, options):
    with within(1), pytest.raises(Refused, match="QubesDB"):
        waited(qubes.url, **options)
    assert qubes.requests("work") == []


def test_a_daemon_that_refuses_a_watch(qubes):
    qubes.rule("work", "error", kind="WATCH")
    with within(1), pytest.raises(StoreError, match="refuses a watch"):
        waited(qubes.url)


# -- XenStore --


def test_a_xenstored_that_ends_meanwhile(lab):
    timer = soon(lab.kill)
    with within(2), pytest.raises(StoreError, match="waiting for key"):
        waited(lab.url, store_timeout=0.5)
    timer.join()


def test_a_guest_waits_for_a_key_of_its_own(lab):
    timer = soon(lab.write, "/local/domain/7/vm-config/x", b"1")
    with within(3):
        assert waited(lab.guest(7).url, qube="self")["value"] == "1"
    timer.join()


def test_a_qube_that_ends_is_not_a_key_that_is_absent(lab):
    lab.write("/local/domain/7/vm-config/x", b"1")
    timer = soon(lab.tool, "rm", "/local/domain/7")
    with within(2), pytest.raises(VmconfigError, match="'work'"):
        waited(lab.url, state="absent")
    timer.join()


# -- as a user meets it --


def test_the_module(qubes, tmp_path):
    def task(**options):
        return {"qubes.vmconfig.keys_wait": {"qube": "work", "key": KEY, "timeout": 0.3, **options}}

    timer = threading.Timer(0.1, qubes.put, ("work", KEY, b"{{ 40 + 2 }}"))
    timer.start()
    played = play(tmp_path, {
        "there": task(timeout=20),
        "not_equal": task(state="equal", value="42"),
        "no_value": task(state="equal"),
        "no_regexp": task(state="matching"),
        "a_secret": task(key="qubes-random-seed", state="equal", value="c2VjcmV0"),
        "checked": {**task(state="absent"), "check_mode": True},
    }, {"dom0": {"vmconfig_store": qubes.url}}, args=["-vvvv"])
    timer.join()
    results = played.results
    assert results["there"]["value"] == "{{ 40 + 2 }}"
    assert results["checked"]["met"] is False
    assert not results["checked"].get("failed")
    for name, says in {"not_equal": "0.3 seconds are over", "no_value": "value", "no_regexp": "regexp", "a_secret": "Nothing was sent"}.items():
        assert results[name]["failed"] is True
        assert says in results[name]["msg"]
    assert "Traceback" not in played.text
