# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is particular to XenStore, on the real daemon: its limits, permissions, guests, transactions and large fleets."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
import threading

import pytest
import wire
import xenlab
from ansible_collections.qubes.vmconfig.plugins.module_utils import _inspect
from ansible_collections.qubes.vmconfig.plugins.module_utils._apply import Task, apply
from ansible_collections.qubes.vmconfig.plugins.module_utils._errors import QubeMissing, Refused, SomeUnread, Stopped, StoreError
from ansible_collections.qubes.vmconfig.plugins.module_utils._selection import DOCUMENTED
from ansible_collections.qubes.vmconfig.plugins.module_utils._plan import Change
from ansible_collections.qubes.vmconfig.plugins.module_utils._stores.opening import open_store
from harness import ESCAPES, change, opened, read, select, within

HOME = "/local/domain/7/"


@pytest.fixture(name="store")
def opened_store(lab):
    store = opened(lab.url)
    yield store
    store.close()


# -- size --


def longest(store, key):
    """The length of the longest value that the store says there is room for."""
    return max(length for length in range(5000) if not store.limit(key, b"x" * length))


@pytest.mark.parametrize("key", ["x", "vm-config/proxy", "vm-config/" + "x" * 52])
def test_the_longest_value_fits_and_one_byte_more_is_refused(lab, store, key):
    length = longest(store, key)
    # Close to what the daemon takes, for the longest of domids: 4096 bytes with the path and its end.
    assert length == 4096 - len("/local/domain/32751/") - len(key) - 1
    change(store, {key: b"x" * length})
    assert lab.read(HOME + key) == b"x" * length
    assert "%d bytes at the most" % length in store.limit(key, b"x" * (length + 1))
    with pytest.raises(Refused, match="%d bytes at the most" % length):
        apply(store, Task({"personal": {"qubes-timezone": "UTC"}, "work": {key: "x" * (length + 1)}}, unknown="allow"))
    assert lab.read("/local/domain/8/qubes-timezone") == b"Europe/Warsaw"


def test_the_longest_value_fits_with_the_longest_domid(lab, store):
    lab.add_domain(32751, "last")
    length = longest(store, "x")
    change(store, {"x": b"x" * length}, qube="last")
    assert lab.read("/local/domain/32751/x") == b"x" * length


def test_a_device_has_room_for_its_header_too(lab, store):
    guest = opened("xenstore://" + lab.guest(7).device, qubes=["self"])
    assert longest(guest, "x") == longest(store, "x") - 16
    give(lab, "memory")
    # A guest's own node holds 2048 bytes: the daemon's quota, not the message's limit.
    change(guest, {"memory/x": b"x" * 1900}, qube="self")
    assert lab.read(HOME + "memory/x") == b"x" * 1900
    with pytest.raises(StoreError, match="quota.*'memory/x'.*'self'"):
        change(guest, {"memory/x": b"x" * 3000}, qube="self")
    assert lab.read(HOME + "memory/x") == b"x" * 1900


@pytest.mark.parametrize("key", ["vm-config/x.y", "vm-config/x:y", "qubes-firewall/10.137.0.12/policy", "vm-config/é", "a/" * 1600 + "b", "x" * 3060])
def test_a_path_that_the_daemon_does_not_take_is_refused_before_anything_is_sent(lab, store, key):
    assert store.limit(key, b"1")


def test_a_transaction_that_would_hold_up_every_guest_is_refused_before_any_qube_is_written(lab, store):
    keys = {"vm-config/k%d" % number: "1" for number in range(2001)}
    for check_mode in (True, False):
        with lab.watch("/local/domain") as watch:
            with pytest.raises(Refused, match="2001 keys at once.*Nothing was written"):
                apply(store, Task({"personal": {"vm-config/x": "1"}, "work": keys}, check_mode=check_mode))
            assert watch.events == []


def test_as_many_keys_as_are_allowed(lab, store):
    keys = {"vm-config/k%d" % number: "1" for number in range(2000)}
    with within(20):
        assert len(apply(store, Task({"work": keys}))["qubes"]["work"]["changed_keys"]) == 2000
    assert len(lab.ls(HOME + "vm-config")) == 2000


# -- many domains --


def fleet(first, last):
    return [(domid, "vm%d" % domid, {"qubes-timezone": "Europe/Warsaw", "qubes-vm-type": "AppVM", "qubes-service/cups": "1"}) for domid in range(first, last)]


def test_1500_domains(lab, store):
    """Their names resolve, and all are listed: a reply would be longer than the daemon's 4096 bytes."""
    lab.add_domains(fleet(100, 1600))
    with lab.connect() as client, pytest.raises(OSError, match="E2BIG"):
        client.request(1, wire.strings("/local/domain"))
    with within(20):
        assert set(store.qubes()) == {"work", "personal", *("vm%d" % domid for domid in range(100, 1600))}
        assert change(store, {"qubes-timezone": b"UTC"}, qube="vm1599") == [Change("qubes-timezone", b"Europe/Warsaw", b"UTC")]
        found = _inspect.read(store, None, DOCUMENTED)
    assert len(found) == 1502
    assert lab.read("/local/domain/1599/qubes-timezone") == b"UTC"
    config = _inspect.report(found["vm1598"], DOCUMENTED, False)["config"]
    assert (config["timezone"], config["services"], config["name"]) == ("Europe/Warsaw", {"cups": True}, "vm1598")


def test_domains_that_come_and_go_while_they_are_listed(lab, store):
    lab.add_domains(fleet(100, 1300))
    always = {"vm%d" % domid for domid in range(100, 1300)}
    stop = threading.Event()

    def come_and_go():
        with lab.connect() as client:
            while not stop.is_set():
                client.request(wire.WRITE, wire.strings("/local/domain/5000/name") + b"guest")
                client.request(wire.RM, wire.strings("/local/domain/5000"))
                stop.wait(0.002)

    coming = threading.Thread(target=come_and_go)
    coming.start()
    try:
        with within(20):
            for turn in range(5):
                found = store.qubes()
                assert always <= set(found)
                assert len(found) == len(set(found))
    finally:
        stop.set()
        coming.join()


def test_a_directory_of_one_qube_that_is_longer_than_a_reply(lab, store):
    keys = {"vm-config/a-rather-long-name-of-a-setting-%04d" % number: b"1" for number in range(200)}
    change(store, keys)
    assert read(store, "vm-config/*") == keys
    assert change(store, {}, purge=["vm-config/"]) == [Change(key, b"1", None) for key in sorted(keys)]


# -- which domain a name means --


def test_two_domains_of_one_name(lab, store):
    lab.add_domain(9, "work")
    with pytest.raises(StoreError, match="'work' is the name of the domains 7, 9; give the domid"):
        read(store, "qubes-timezone")
    assert sorted(store.qubes()) == ["7", "9", "personal"]
    change(store, {"qubes-timezone": b"Asia/Tokyo"}, qube="9")
    assert lab.read("/local/domain/9/qubes-timezone") == b"Asia/Tokyo"
    assert lab.read(HOME + "qubes-timezone") == b"UTC"


def test_a_domid_for_a_name(lab, store):
    assert read(store, "qubes-timezone", qube="7") == {"qubes-timezone": b"UTC"}
    change(store, {"qubes-timezone": b"Asia/Tokyo"}, qube="7")
    assert lab.read(HOME + "qubes-timezone") == b"Asia/Tokyo"
    with pytest.raises(QubeMissing, match="'12'"):
        read(store, "qubes-timezone", qube="12")


@pytest.mark.parametrize("name", ["../8", "7/../8", "a b", ESCAPES, "", "8", "self", "x" * 100])
def test_a_domain_whose_name_is_strange_has_its_domid(lab, store, name):
    lab.add_domain(9, "odd", {"qubes-timezone": "Asia/Tokyo"})
    lab.write("/local/domain/9/name", name)
    assert sorted(store.qubes()) == ["9", "personal", "work"]
    assert read(store, "qubes-timezone", qube="9") == {"qubes-timezone": b"Asia/Tokyo"}
    # It does not take another's place, and what a guest called itself harms no terminal.
    assert read(store, "qubes-timezone", qube="8") == {"qubes-timezone": b"Europe/Warsaw"}
    with pytest.raises(QubeMissing) as caught:
        read(store, "qubes-timezone", qube="vault")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", [None, "", "a b", "8", "self", "../7"])
def test_a_domain_without_a_name_is_found_by_its_domid_alone(lab, store, name):
    lab.add_domain(9, "odd", {"qubes-timezone": "Asia/Tokyo"})
    if name is None:
        lab.remove("/local/domain/9/name")
    else:
        lab.write("/local/domain/9/name", name)
    assert sorted(store.qubes()) == ["9", "personal", "work"]
    assert store.missing(["", "9", "odd", "a b", "../7"]) == ["", "odd", "a b", "../7"]
    before = lab.ls("/local/domain")
    for task in (Task({"": {"qubes-timezone": "UTC"}}), Task({"": {"qubes-timezone": "UTC"}}, missing="skip")):
        with pytest.raises((Refused, QubeMissing)):
            apply(store, task)
    assert lab.ls("/local/domain") == before
    assert read(store, "qubes-timezone", qube="9") == {"qubes-timezone": b"Asia/Tokyo"}


@pytest.mark.parametrize("one, other, domid", [("work", "7", 7), ("7", "work", 7), ("7", "007", 7), ("self", "0", 0), ("Domain-0", "self", 0)])
def test_two_names_of_one_domain(lab, store, one, other, domid):
    lab.add_domain(0, "Domain-0", {"qubes-vm-type": "AdminVM"})
    before = lab.ls("/local/domain")
    says = "the qubes '%s' and '%s' are the same domain, %d; name it once" % (one, other, domid)
    tasks = (
        lambda: apply(store, Task({"personal": {"vm-config/a": "z"}, one: {"vm-config/a": "x"}, other: {"vm-config/a": "y"}})),
        lambda: apply(store, Task({one: {"vm-config/a": "x"}, other: {"vm-config/a": "x"}}, missing="skip", check_mode=True)),
        lambda: _inspect.read(store, [one, "personal", other], select("qubes-timezone")),
    )
    for task in tasks:
        with pytest.raises(StoreError, match=says):
            task()
    assert lab.ls("/local/domain") == before


@contextlib.contextmanager
def coming_and_going(lab, first, last, keep=0.0):
    """Domains that are made, whole, and removed again, under names that others of them had before."""
    stop = threading.Event()
    rounds = itertools.count()
    counted = []

    def come_and_go():
        with lab.connect() as client:
            for number in rounds:
                domid, name = first + number % (last - first), "guest%d" % (number % 3)
                client.request(wire.WRITE, wire.strings("/local/domain/%d/name" % domid) + name.encode())
                for key in ("qubes-timezone", "vm-config/a/b", "qubes-service/cups"):
                    client.request(wire.WRITE, wire.strings("/local/domain/%d/%s" % (domid, key)) + b"UTC")
                stop.wait(keep)
                client.request(wire.RM, wire.strings("/local/domain/%d" % domid))
                counted.append(domid)
                if stop.is_set():
                    return

    coming = threading.Thread(target=come_and_go)
    coming.start()
    try:
        yield counted
    finally:
        stop.set()
        coming.join()


@pytest.mark.parametrize("keep", [0.0, 0.002, 0.01])
def test_domains_that_come_and_go_while_all_are_read(lab, store, keep):
    """They spoil the others in nothing, and one that is told is told whole."""
    lab.add_domains(fleet(100, 200))
    always = {"work", "personal", *("vm%d" % domid for domid in range(100, 200))}
    with coming_and_going(lab, 5000, 5100, keep) as counted, within(30):
        turns = 0
        while turns < 30 or len(counted) < 100:
            turns += 1
            found = _inspect.read(store, ["*"], select("qubes-timezone", "qubes-service/*", "name"))
            assert always <= set(found)
            assert [qube for qube in always if "qubes-timezone" not in found[qube].values] == []


def test_one_that_was_named_goes_away_and_the_others_are_told(lab, store):
    lab.add_domains(fleet(100, 200))
    lab.add_domain(300, "guest", {"qubes-timezone": "UTC"})
    assert read(store, "qubes-timezone", qube="guest")
    lab.remove_domain(300)
    with pytest.raises(SomeUnread) as caught:
        _inspect.read(store, ["guest", "*"], select("qubes-timezone"))
    assert (list(caught.value.failed), len(caught.value.found)) == (["guest"], 102)


def test_two_domains_of_one_name_spoil_no_other(lab, store):
    lab.add_domain(9, "work")
    with pytest.raises(SomeUnread, match="'work' is the name of the domains 7, 9; give the domid") as caught:
        _inspect.read(store, ["work", "personal"], select("qubes-timezone"))
    assert list(caught.value.found) == ["personal"]


def test_what_is_told_of_one_that_goes_away_is_not_half_of_it(lab, store, monkeypatch):
    """It goes away between two requests for its keys."""
    change(store, {"vm-config/a/b": b"1"})
    ask = store._tree.ask

    def ask_and_remove(requests, transaction=0):
        replies = ask(requests, transaction)
        if any(payload == b"/local/domain/7/vm-config\0" for _operation, payload in requests):
            lab.remove_domain(7)
        return replies

    monkeypatch.setattr(store._tree, "ask", ask_and_remove)
    assert list(_inspect.read(store, ["*"], select("qubes-timezone", "vm-config/*"))) == ["personal"]


@pytest.mark.parametrize("goes", ["before it is planned", "before it is written"])
def test_one_that_goes_away_before_it_is_written_stops_no_other(lab, store, goes):
    lab.add_domains(fleet(100, 105))
    names = ["vm100", "work", "vm101", "vm102"]
    if goes == "before it is written":
        update = store.update
        store.update = lambda qube, *rest: (lab.remove_domain(7) if qube == "work" else None, update(qube, *rest))[1]
        with pytest.raises(Stopped, match="'work'") as caught:
            apply(store, Task({name: {"vm-config/a": "x"} for name in names}))
        assert list(caught.value.result["qubes"]) == ["vm100", "vm101", "vm102"]
    else:
        lab.remove_domain(7)
        assert apply(store, Task({name: {"vm-config/a": "x"} for name in names}, missing="skip"))["missing"] == ["work"]
    assert [domid for domid in range(100, 103) if lab.read("/local/domain/%d/vm-config/a" % domid) == b"x"] == [100, 101, 102]


def test_self_on_dom0s_socket_is_domain_0(lab, store):
    lab.add_domain(0, "Domain-0", {"vm-config/x": "of dom0"})
    assert read(store, "vm-config/x", qube="self") == {"vm-config/x": b"of dom0"}


def test_self_without_the_interface_is_an_error(lab, store):
    lab.add_domain(0, "Domain-0")
    with pytest.raises(StoreError, match="no VM configuration interface.*qubes-vm-type"):
        _inspect.read(store, ["self"], DOCUMENTED)


def test_a_qube_that_ends_between_reading_and_writing(lab, store):
    read(store, "qubes-timezone")
    lab.remove_domain(7)
    before = lab.ls("/local/domain")
    with pytest.raises((StoreError, QubeMissing), match="'work'.*"):
        store.update("work", select("qubes-timezone"), lambda found: [Change("qubes-timezone", None, b"UTC")])
    assert lab.ls("/local/domain") == before


def test_a_domid_that_is_another_qubes_by_now(lab, store):
    read(store, "qubes-timezone")
    lab.remove_domain(7)
    lab.add_domain(7, "untrusted")
    with pytest.raises(StoreError, match="'work' restarted meanwhile; none"):
        store.update("work", select("qubes-timezone"), lambda found: [Change("qubes-timezone", None, b"UTC")])
    assert "/local/domain/7/qubes-timezone" not in lab.ls("/local/domain/7")


def test_a_qube_that_restarted_between_two_tasks_is_found_again(lab, store):
    read(store, "qubes-timezone")
    lab.remove_domain(7)
    lab.add_domain(17, "work", {"qubes-timezone": "Asia/Tokyo"})
    assert read(store, "qubes-timezone") == {"qubes-timezone": b"Asia/Tokyo"}


def test_a_name_that_another_domain_has_by_now(lab, store):
    read(store, "qubes-timezone")
    lab.write(HOME + "name", "old")
    lab.write("/local/domain/8/name", "work")
    assert read(store, "qubes-timezone") == {"qubes-timezone": b"Europe/Warsaw"}
    lab.write("/local/domain/8/name", "personal")
    assert store.missing(["work"]) == ["work"]
    with pytest.raises(QubeMissing, match="'work'"):
        read(store, "qubes-timezone")


# -- permissions --


def guest_can(lab, domid, *command):
    """Whether a xenstore-* program succeeds inside a guest."""
    try:
        lab.tool(*command, domid=domid)
    except xenlab.ToolFailed:
        return False
    return True


def test_a_new_key_has_its_directorys_permissions(lab, store):
    change(store, {"vm-config/x": b"1", "qubes-ip": b"10.137.0.7"})
    assert lab.perms(HOME + "vm-config/x") == lab.perms(HOME + "qubes-ip") == ["n0", "r7"]
    assert lab.tool("read", "vm-config/x", domid=7) == b"1\n"
    assert not guest_can(lab, 7, "write", "vm-config/x", "2")


def test_another_value_keeps_the_permissions(lab, store):
    lab.write(HOME + "vm-config/x", b"1")
    lab.tool("chmod", HOME + "vm-config/x", "n0", "b7", "r8")
    change(store, {"vm-config/x": b"2"})
    assert lab.perms(HOME + "vm-config/x") == ["n0", "b7", "r8"]
    change(store, {"vm-config/x": b""})
    assert lab.perms(HOME + "vm-config/x") == ["n0", "b7", "r8"]


@pytest.mark.parametrize("access, perms, reads, writes", [
    ("read", ["n0", "r7"], True, False),
    ("write", ["n0", "b7"], True, True),
    ("none", ["n0"], False, False),
])
@pytest.mark.parametrize("before", [None, ["n0", "r7"], ["n0", "b7"], ["n0"], ["n0", "w7"], ["n7"]], ids=str)
def test_an_access_is_set_and_holds_for_the_guest(lab, store, before, access, perms, reads, writes):
    if before:
        lab.write(HOME + "vm-config/x", b"1")
        lab.tool("chmod", HOME + "vm-config/x", *before)
    changes = change(store, {"vm-config/x": b"1"}, access=access)
    assert bool(changes) == (before != perms)
    assert lab.perms(HOME + "vm-config/x") == perms
    assert guest_can(lab, 7, "read", "vm-config/x") == reads
    assert guest_can(lab, 7, "write", "vm-config/x", "2") == writes
    assert not guest_can(lab, 8, "read", HOME + "vm-config/x")
    lab.write(HOME + "vm-config/x", b"1")
    with lab.watch("/local/domain") as watch:
        assert change(store, {"vm-config/x": b"1"}, access=access) == []
        assert watch.events == []


@pytest.mark.parametrize("access, reads, writes", [("read", True, False), ("write", True, True), ("none", False, False)])
@pytest.mark.parametrize("before", [["b0"], ["r0"], ["w0"], ["r0", "b7"], ["b0", "n7"], ["n0", "r7", "b7"], ["b0", "r7"], ["r8", "b7"], ["n8"]], ids=str)
def test_whatever_the_permissions_were_the_access_holds_for_the_guest(lab, store, before, access, reads, writes):
    lab.write(HOME + "vm-config/x", b"1")
    lab.tool("chmod", HOME + "vm-config/x", *before)
    change(store, {"vm-config/x": b"1"}, access=access)
    assert lab.perms(HOME + "vm-config/x")[0][1:] == "0"
    assert guest_can(lab, 7, "read", "vm-config/x") == reads
    assert guest_can(lab, 7, "write", "vm-config/x", "2") == writes


def test_an_access_leaves_other_domains_theirs(lab, store):
    lab.write(HOME + "vm-config/x", b"1")
    lab.tool("chmod", HOME + "vm-config/x", "n0", "r8", "r7")
    change(store, {"vm-config/x": b"1"}, access="none")
    assert lab.perms(HOME + "vm-config/x") == ["n0", "r8"]


def test_an_access_in_check_mode_is_told_and_not_set(lab, store):
    task = Task({"work": {"qubes-timezone": "UTC"}}, access="write", check_mode=True, diff=True)
    result = apply(store, task)
    assert result["qubes"]["work"]["changed_keys"] == ["qubes-timezone"]
    assert result["diff"][0]["before"] == "qubes-timezone: 'UTC' access=read\n"
    assert result["diff"][0]["after"] == "qubes-timezone: 'UTC' access=write\n"
    assert lab.perms(HOME + "qubes-timezone") == ["n0", "r7"]
    assert apply(store, task._replace(check_mode=False)) == result
    assert lab.perms(HOME + "qubes-timezone") == ["n0", "b7"]


# -- inside a guest --


def give(lab, name):
    """The guest owns this directory, as Qubes leaves `memory` and others."""
    lab.write(HOME + name, b"")
    lab.tool("chmod", HOME + name, "n7")


@pytest.fixture(name="guest", params=["socket", "device"])
def opened_guest(request, lab):
    store = opened("xenstore://" + getattr(lab.guest(7), request.param), qubes=["self"])
    yield store
    store.close()


def test_a_guest_reads_its_own_keys(guest):
    assert guest.scope() == ["self"]
    assert read(guest, "qubes-timezone", "qubes-service/*", "qubes-ip", qube="self") == {"qubes-timezone": b"UTC", "qubes-service/cups": b"1"}


def test_a_guest_reads_more_than_its_ring_holds(lab, guest):
    for number in range(20):
        lab.write(HOME + "vm-config/k%d" % number, b"%04d" % number * 700)
    assert read(guest, "vm-config/*", qube="self") == {"vm-config/k%d" % number: b"%04d" % number * 700 for number in range(20)}


@pytest.mark.parametrize("keys", [{"qubes-timezone": b"Asia/Tokyo"}, {"qubes-timezone": None}, {"vm-config/new": b"1"}], ids=str)
def test_a_guest_may_not_write_what_is_dom0s(lab, guest, keys):
    before = lab.ls()
    with pytest.raises(StoreError, match="only dom0 may write.*EACCES.*'self'; none"):
        change(guest, keys, qube="self")
    assert lab.ls() == before
    assert read(guest, "qubes-timezone", qube="self") == {"qubes-timezone": b"UTC"}


def test_a_guest_may_not_change_an_access(lab, guest):
    with pytest.raises(StoreError, match="only dom0 may"):
        change(guest, {"qubes-timezone": b"UTC"}, qube="self", access="write")
    assert lab.perms(HOME + "qubes-timezone") == ["n0", "r7"]


def test_a_guest_writes_what_it_owns(lab, guest):
    give(lab, "qubes-tools")
    change(guest, {"qubes-tools/os": b"Linux"}, qube="self")
    assert lab.read(HOME + "qubes-tools/os") == b"Linux"


@pytest.mark.parametrize("other", ["personal", "work", "8", "0"])
def test_a_guest_asks_for_another_qube(guest, other):
    with pytest.raises((StoreError, QubeMissing), match="only self") as caught:
        read(guest, "qubes-timezone", qube=other)
    assert guest.url in str(caught.value)


def test_a_guest_asks_for_all_qubes(guest):
    with pytest.raises(StoreError, match="only self"):
        _inspect.read(guest, ["*"], DOCUMENTED)


def test_what_a_guest_may_not_read_is_denied(lab, guest):
    lab.write(HOME + "vm-config/hidden", b"1")
    lab.tool("chmod", HOME + "vm-config/hidden", "n0")
    snapshot = guest.read({"self": select("vm-config/*", "qubes-timezone")})["self"]
    assert snapshot.denied == {"vm-config/hidden"}
    assert snapshot.values == {"qubes-timezone": b"UTC"}
    report = _inspect.report(_inspect.read(guest, ["self"], DOCUMENTED)["self"], DOCUMENTED, True)
    assert report["denied"] == ["vm-config/hidden"]
    assert report["config"]["timezone"] == "UTC"
    with pytest.raises(Refused, match="may not be read"):
        apply(guest, Task({"self": {"vm-config/hidden": "2"}}))


def test_a_directory_that_a_guest_may_not_read_is_denied(lab, guest):
    lab.write(HOME + "vm-config", b"")
    lab.write(HOME + "vm-config/x", b"1")
    for path in ("vm-config", "vm-config/x"):
        lab.tool("chmod", HOME + path, "n0")
    snapshot = guest.read({"self": select("vm-config/x", "vm-config/*", "qubes-timezone")})["self"]
    assert snapshot.values == {"qubes-timezone": b"UTC"}
    assert "vm-config/x" in snapshot.denied
    assert guest.read({"self": select("vm-config/*")})["self"].denied


def test_a_guest_whose_own_number_is_not_written_down(lab):
    """Xen's toolstack writes `domid`; where nobody did, the guest's keys are still its own."""
    lab.add_domain(9, "plain", {"qubes-timezone": "Asia/Tokyo", "qubes-vm-type": "AppVM"})
    lab.remove("/local/domain/9/domid")
    lab.add_domain(0, "Domain-0", {"qubes-timezone": "UTC", "qubes-vm-type": "AdminVM"})
    with contextlib.closing(opened(lab.guest(9).url, qubes=["self"])) as store:
        try:
            assert read(store, "qubes-timezone", qube="self") == {"qubes-timezone": b"Asia/Tokyo"}
        except StoreError as error:
            assert "number" in str(error)


# -- transactions --


def test_an_operation_that_is_refused_undoes_the_whole_qube(lab):
    """COMMIT would apply the rest: the guest owns one of the two keys."""
    give(lab, "memory")
    guest = opened(lab.guest(7).url, qubes=["self"])
    with lab.watch("/local/domain/7") as watch:
        with pytest.raises(StoreError, match="'qubes-timezone'.*none"):
            change(guest, {"memory/meminfo": b"1", "qubes-timezone": b"Asia/Tokyo"}, qube="self")
        assert watch.events == []
    # The transaction is over, not left open.
    assert change(guest, {"memory/meminfo": b"1"}, qube="self")


def test_a_key_that_changed_meanwhile_is_planned_anew(lab, store):
    seen = []

    def plan_while_others_write(found):
        seen.append(found.values.get("vm-config/x"))
        if len(seen) <= 3:
            lab.write(HOME + "vm-config/x", b"%d" % len(seen))
        return [Change("vm-config/x", found.values.get("vm-config/x"), (found.values.get("vm-config/x") or b"") + b"+")]

    read(store, "vm-config/x")
    done = store.update("work", select("vm-config/x"), plan_while_others_write)
    assert seen == [None, b"1", b"2", b"3"]
    assert done == [Change("vm-config/x", b"3", b"3+")]
    assert lab.read(HOME + "vm-config/x") == b"3+"


def test_a_key_that_somebody_else_writes_all_the_time(lab, store):
    """Both get on."""
    stop, written = threading.Event(), []

    def write():
        with lab.connect() as client:
            while not stop.is_set():
                client.request(wire.WRITE, wire.strings(HOME + "vm-config/x") + b"%d" % len(written))
                written.append(1)
                stop.wait(0.003)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with within(20):
            number = 0
            while number < 20 or len(written) < 50:
                number += 1
                assert change(store, {"vm-config/y": b"%d" % number, "vm-config/x": b"ours"})
    finally:
        stop.set()
        writer.join()
    assert lab.read(HOME + "vm-config/y") == b"%d" % number


def test_a_key_that_never_stops_changing_ends_in_an_error(lab, store):
    def plan_while_others_write(found):
        lab.write(HOME + "vm-config/x", b"theirs")
        return [Change("vm-config/x", b"", b"ours")]

    read(store, "vm-config/x")
    with within(30), pytest.raises(StoreError, match="'work' changed under each of .* attempts; none"):
        store.update("work", select("vm-config/x"), plan_while_others_write)
    assert lab.read(HOME + "vm-config/x") == b"theirs"


def test_other_keys_of_the_qube_may_change_meanwhile(lab, store):
    def plan_while_others_write(found):
        lab.write(HOME + "vm-config/other", b"theirs")
        planned.append(found)
        return [Change("vm-config/x", None, b"ours")]

    planned = []
    lab.write(HOME + "vm-config/other", b"")
    read(store, "vm-config/x")
    store.update("work", select("vm-config/x"), plan_while_others_write)
    assert lab.read(HOME + "vm-config/x") == b"ours"
    assert lab.read(HOME + "vm-config/other") == b"theirs"


# -- processes --


def test_a_forked_child_opens_a_conversation_of_its_own(lab, store):
    """Ansible forks its workers: a conversation shared over a fork would corrupt both sides."""
    read(store, "qubes-timezone")
    before = os.stat("/proc/self/fd/%d" % store._tree._wire._connection.fileno()).st_ino
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            good = all(read(store, "qubes-timezone", qube="personal") == {"qubes-timezone": b"Europe/Warsaw"} for turn in range(50))
            other = os.stat("/proc/self/fd/%d" % store._tree._wire._connection.fileno()).st_ino != before
            os.write(ready[1], b"x")
            os.read(go[0], 1)
            status = 0 if good and other else 1
        finally:
            os._exit(status)
    assert os.read(ready[0], 1) == b"x"
    for turn in range(50):
        assert read(store, "qubes-timezone") == {"qubes-timezone": b"UTC"}
    os.write(go[1], b"x")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    # Nor does the child's end close what is the parent's.
    assert change(store, {"qubes-timezone": b"Asia/Tokyo"})
    assert os.stat("/proc/self/fd/%d" % store._tree._wire._connection.fileno()).st_ino == before
    for descriptor in (*ready, *go):
        os.close(descriptor)


def test_a_child_that_ends_harms_no_transaction_of_its_parent(lab, store):
    def plan_with_a_child(found):
        child = os.fork()
        if not child:
            store.close()
            os._exit(0)
        os.waitpid(child, 0)
        return [Change("vm-config/x", None, b"1")]

    read(store, "vm-config/x")
    assert store.update("work", select("vm-config/x"), plan_with_a_child)
    assert lab.read(HOME + "vm-config/x") == b"1"


def test_without_pyxs_it_says_what_to_install(lab):
    program = (
        "import sys; sys.modules['pyxs'] = sys.modules['pyxs._internal'] = None\n"
        "from ansible_collections.qubes.vmconfig.plugins.module_utils._stores.opening import open_store\n"
        "from ansible_collections.qubes.vmconfig.plugins.module_utils._errors import StoreError\n"
        "try:\n    open_store(%r, 1.0, ['work']).qubes()\nexcept StoreError as error:\n    print(error)\n" % lab.url
    )
    said = subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout
    for text in (lab.url, sys.executable, "install", "pyxs"):
        assert text in said


# -- opening --


def test_the_socket_of_the_environment(lab, monkeypatch):
    monkeypatch.setenv("XENSTORED_PATH", lab.socket)
    for url in ("xenstore", "auto"):
        assert read(opened(url), "qubes-timezone") == {"qubes-timezone": b"UTC"}


@pytest.mark.parametrize("url", ["xenstored", "xenstore:", "xenstore://", "xenstore:/x", "xenstore://host/x", "file", "file://", "file://x", "file:/x",
                                 "file:x", "http:///x", "", "file:///x\0y", "FILE:///x", "qubesdb-later:///x", "xenstore:///x\x1b[2J\0"])
def test_what_is_no_store(url):
    with pytest.raises(Refused) as caught:
        opened(url)
    assert "xenstore:///PATH" in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("timeout", [0, -1, 3601, float("inf"), float("nan")])
def test_what_is_no_timeout(timeout):
    with pytest.raises(Refused, match="store_timeout"):
        open_store("xenstore:///x", timeout, ["work"])


def test_a_path_may_be_quoted_as_in_a_url(lab, tmp_path):
    link = tmp_path / "a b"
    link.symlink_to(lab.socket)
    assert read(opened("xenstore://" + str(link).replace(" ", "%20")), "qubes-timezone") == {"qubes-timezone": b"UTC"}


def test_auto_without_any_store_lists_where_it_looked(monkeypatch, tmp_path):
    monkeypatch.setenv("XENSTORED_PATH", str(tmp_path / "none"))
    if any(os.path.exists(path) for path in ("/dev/xen/xenbus", "/proc/xen/xenbus")):
        pytest.skip("this is a Xen guest, where auto finds its device")
    with pytest.raises(StoreError) as caught:
        opened("auto")
    for text in ("'work'", str(tmp_path / "none"), "/dev/xen/xenbus", "file:///PATH"):
        assert text in str(caught.value)
