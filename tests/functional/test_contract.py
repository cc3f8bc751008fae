# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every store has to do, on every store. What is there is read and written by means of its own: see harness.py."""

from __future__ import annotations

import itertools
import multiprocessing
import traceback

import pytest
from ansible_collections.qubes.vmconfig.plugins.module_utils import _inspect, _interface
from ansible_collections.qubes.vmconfig.plugins.module_utils._apply import Task, apply
from ansible_collections.qubes.vmconfig.plugins.module_utils._errors import QubeMissing, Refused, SomeUnread, StoreError
from ansible_collections.qubes.vmconfig.plugins.module_utils._plan import Change
from harness import HOSTILE, change, opened, read, select, within

AWKWARD = {
    "text": b"Europe/Warsaw",
    "empty": b"",
    "a space": b" ",
    "a newline": b"one\ntwo\n",
    "a tab": b"\tx\t",
    "carriage returns": b"a\r\nb\r",
    "a backslash": b"\\n \\x0a \\",
    "quotes": b"'\"`",
    "8-bit": bytes(range(128, 256)),
    "control characters": bytes(range(1, 32)) + b"\x7f",
    "UTF-8": "ÅΩ漢😀\u202e\u2028\x85".encode("utf-8"),
    "Jinja": HOSTILE.encode("ascii"),
    "long": b"x" * 3000,
    "like other types of YAML": b"12:30",
    "a comment": b" # x",
}


ZONES = {"work": b"UTC", "personal": b"Europe/Warsaw"}


def with_zones(place):
    """Adds a key that every store can hold and set."""
    for qube, zone in ZONES.items():
        place.put(qube, "vm-config/zone", zone)
    return place


@pytest.fixture(name="place")
def place_with_zones(place):
    return with_zones(place)


@pytest.fixture(name="tree")
def tree_with_zones(tree):
    return with_zones(tree)


@pytest.fixture(name="store")
def opened_store(place):
    store = opened(place.url)
    yield store
    store.close()


@pytest.fixture(name="tree_store")
def opened_tree_store(tree):
    store = opened(tree.url)
    yield store
    store.close()


def is_refused(place, store, value):
    """Whether the store cannot hold the value, which is so for settings that are not printable ASCII, and for nothing else."""
    against = store.limit("vm-config/x", value)
    assert bool(against) == (place.url == "admin" and not all(32 <= character < 127 for character in value))
    return bool(against)


# -- reading --


def test_keys_by_name(place, store):
    assert read(store, "vm-config/zone", "qubes-service/cups", "vm-config/none") == {"vm-config/zone": b"UTC", "qubes-service/cups": b"1"}


def test_several_qubes_at_once(place, store):
    found = store.read({"work": select("vm-config/zone"), "personal": select("vm-config/zone", "qubes-service/*")})
    assert {qube: dict(snapshot.values) for qube, snapshot in found.items()} == {
        "work": {"vm-config/zone": b"UTC"}, "personal": {"vm-config/zone": b"Europe/Warsaw"}}
    assert all(not snapshot.denied for snapshot in found.values())


@pytest.mark.parametrize("glob, expected", [
    ("qubes-service/*", {"qubes-service/cups": b"1", "qubes-service/a": b"0"}),
    ("qubes-service/c*", {"qubes-service/cups": b"1"}),
    ("*/zone", {"vm-config/zone": b"UTC"}),
    ("vm-conf?g/zo[mn]e", {"vm-config/zone": b"UTC"}),
    ("none/*", {}),
    ("*/deep*", {"vm-config/deep": b"x", "some/where/deep": b"y"}),
])
def test_keys_by_globs(tree, tree_store, glob, expected):
    tree.put("work", "qubes-service/a", b"0")
    tree.put("work", "qubes-services", b"not in the directory")
    tree.put("work", "vm-config/deep", b"x")
    tree.put("work", "some/where/deep", b"y")
    assert read(tree_store, glob) == expected


def test_every_key_of_a_qube(tree, tree_store):
    tree.put("work", "qubes-tools", b"4.1")
    tree.put("work", "qubes-tools/os", b"Linux")
    found = read(tree_store, "*")
    assert {key: found.get(key) for key in ("vm-config/zone", "qubes-service/cups", "qubes-tools", "qubes-tools/os")} == {
        "vm-config/zone": b"UTC", "qubes-service/cups": b"1", "qubes-tools": b"4.1", "qubes-tools/os": b"Linux"}
    # Only what is there: no directory is a key.
    assert not [key for key, value in found.items() if tree.get("work", key) != value]


@pytest.mark.parametrize("value", AWKWARD.values(), ids=AWKWARD)
def test_what_others_wrote_is_read_exactly(place, store, value):
    if is_refused(place, store, value):
        return
    place.put("work", "vm-config/x", value)
    assert read(store, "vm-config/x") == {"vm-config/x": value}
    assert read(store, "vm-config/x*") == {"vm-config/x": value}


def test_which_qubes_there_are(place, store):
    assert sorted(store.qubes()) == ["personal", "work"]
    assert sorted(store.scope()) == ["personal", "work"]
    assert store.missing(["work", "vault", "personal", "VAULT"]) == ["vault", "VAULT"]


def test_a_qube_that_is_not_there(place, store):
    for attempt in (lambda: read(store, "name", qube="vault"), lambda: change(store, {"vm-config/zone": b"UTC"}, qube="vault")):
        with pytest.raises(QubeMissing) as caught, place.untouched():
            attempt()
        for text in ("'vault'", place.url, "work", "personal"):
            assert text in str(caught.value)


@pytest.mark.parametrize("name", ["../personal", "7/../8", "wo\0rk", "w\x1b[2Jx", "", "x" * 5000, "{{ 1 }}", "*"])
def test_a_name_that_no_qube_has(place, store, name):
    with pytest.raises((QubeMissing, StoreError)) as caught:
        read(store, "vm-config/zone", qube=name)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["", " ", "\t\n"])
def test_an_empty_name_is_nobodys(place, store, name):
    """It is what a variable that is not set leaves."""
    with place.untouched(), pytest.raises((Refused, QubeMissing)):
        apply(store, Task({"work": {"vm-config/zone": "Asia/Tokyo"}, name: {"vm-config/zone": "Asia/Tokyo"}}))
    with pytest.raises(QubeMissing):
        read(store, "vm-config/zone", qube=name)
    with pytest.raises(QubeMissing), place.untouched():
        change(store, {"vm-config/zone": b"UTC"}, qube=name)
    assert store.missing([name]) == [name]


# -- who goes away --


def test_some_are_not_there_and_the_others_are_told(place, store):
    with pytest.raises(SomeUnread) as caught:
        store.read({qube: select("vm-config/zone") for qube in ("work", "vault", "personal", "debian")})
    assert {qube: dict(snapshot.values) for qube, snapshot in caught.value.found.items()} == {
        "work": {"vm-config/zone": b"UTC"}, "personal": {"vm-config/zone": b"Europe/Warsaw"}}
    assert {qube: type(error) for qube, error in caught.value.failed.items()} == {"vault": QubeMissing, "debian": QubeMissing}
    assert "'vault'" in str(caught.value) and "'debian'" in str(caught.value)


def goes_away(store, monkeypatch, *gone):
    """Some are still there when it is looked who is, and no longer when they are asked."""
    qubes = store.qubes
    looks = itertools.count()
    monkeypatch.setattr(store, "qubes", lambda: qubes() if next(looks) else [*gone[:1], *qubes(), *gone[1:]])


@pytest.mark.parametrize("gone", [["vault"], ["vault", "debian"]])
@pytest.mark.parametrize("asked", [None, ["*"], ["work", "*"]], ids=str)
def test_who_goes_away_meanwhile_is_left_out(place, store, monkeypatch, gone, asked):
    goes_away(store, monkeypatch, *gone)
    found = _inspect.read(store, asked, select("vm-config/zone"))
    assert {qube: snapshot.values["vm-config/zone"] for qube, snapshot in found.items()} == ZONES


def test_who_was_named_and_goes_away_is_an_error_and_the_others_are_told(place, store, monkeypatch):
    goes_away(store, monkeypatch, "vault", "debian")
    with pytest.raises(SomeUnread) as caught:
        _inspect.read(store, ["*", "vault"], select("vm-config/zone"))
    assert {qube: snapshot.values["vm-config/zone"] for qube, snapshot in caught.value.found.items()} == ZONES
    assert list(caught.value.failed) == ["vault"]


def test_all_are_gone(place, store, monkeypatch):
    qubes = store.qubes
    looks = itertools.count()
    monkeypatch.setattr(store, "qubes", lambda: qubes() if next(looks) else ["vault"])
    assert _inspect.read(store, ["*"], select("vm-config/zone")) == {}
    with pytest.raises(QubeMissing, match="'vault'"):
        _inspect.read(store, ["vault"], select("vm-config/zone"))


def test_who_may_be_skipped_and_goes_away_is_skipped(place, store, monkeypatch):
    missing = store.missing
    looks = []

    def still_there_at_first(qubes):
        looks.append(qubes)
        return missing(qubes) if len(looks) > 1 else []

    monkeypatch.setattr(store, "missing", still_there_at_first)
    task = Task({qube: {"vm-config/zone": "Asia/Tokyo"} for qube in ("vault", "work", "personal")}, missing="skip")
    result = apply(store, task)
    assert (list(result["qubes"]), result["missing"]) == (["work", "personal"], ["vault"])
    assert len(looks) > 1
    assert place.get("work", "vm-config/zone") == place.get("personal", "vm-config/zone") == b"Asia/Tokyo"


def test_who_may_not_be_skipped_and_is_gone_stops_the_task_before_anything_is_written(place, store):
    with place.untouched(), pytest.raises(QubeMissing, match="'vault'"):
        apply(store, Task({qube: {"vm-config/zone": "Asia/Tokyo"} for qube in ("work", "vault", "personal")}))


# -- writing --


@pytest.mark.parametrize("value", AWKWARD.values(), ids=AWKWARD)
def test_what_is_written_is_there_exactly(place, store, value):
    if is_refused(place, store, value):
        return
    assert change(store, {"vm-config/x": value}) == [Change("vm-config/x", None, value)]
    assert place.get("work", "vm-config/x") == value
    assert read(store, "vm-config/x") == {"vm-config/x": value}
    with place.untouched():
        assert change(store, {"vm-config/x": value}) == []


def test_an_update_returns_what_it_changed(place, store):
    done = change(store, {"vm-config/zone": b"Europe/Warsaw", "qubes-service/cups": b"1", "vm-config/x": b"new", "vm-config/none": None})
    assert done == [Change("vm-config/x", None, b"new"), Change("vm-config/zone", b"UTC", b"Europe/Warsaw")]
    assert place.get("work", "vm-config/zone") == b"Europe/Warsaw"
    assert place.get("personal", "vm-config/zone") == b"Europe/Warsaw"


def test_nothing_to_change_is_nothing_written(place, store):
    with place.untouched():
        assert change(store, {"vm-config/zone": b"UTC", "qubes-service/cups": b"1", "vm-config/none": None}, purge=["qubes-service/"]) == []


def test_one_qubes_change_is_no_other_qubes(place, store):
    change(store, {"vm-config/zone": None, "vm-config/x": b"1"})
    assert place.get("personal", "vm-config/zone") == b"Europe/Warsaw"
    assert place.get("personal", "vm-config/x") is None


def test_an_update_needs_no_read_before_it(place, store):
    assert store.update("work", select("vm-config/zone"), lambda found: [Change("vm-config/zone", found.values["vm-config/zone"], b"Europe/Warsaw")])
    assert place.get("work", "vm-config/zone") == b"Europe/Warsaw"


def test_an_update_reads_again_what_it_changes(place, store):
    read(store, "vm-config/zone")
    place.put("work", "vm-config/zone", b"Asia/Tokyo")
    assert change(store, {"vm-config/zone": b"Europe/Warsaw"}) == [Change("vm-config/zone", b"Asia/Tokyo", b"Europe/Warsaw")]


def test_an_error_while_planning_changes_nothing_and_the_store_is_usable(place, store):
    def fail(found):
        raise ZeroDivisionError

    read(store, "name")
    with place.untouched(), pytest.raises(ZeroDivisionError):
        store.update("work", select("vm-config/zone"), fail)
    assert change(store, {"vm-config/zone": b"Europe/Warsaw"})
    assert place.get("work", "vm-config/zone") == b"Europe/Warsaw"


# -- removing --


def test_a_key_is_removed(place, store):
    assert change(store, {"vm-config/zone": None}) == [Change("vm-config/zone", b"UTC", None)]
    assert place.get("work", "vm-config/zone") is None
    with place.untouched():
        assert change(store, {"vm-config/zone": None}) == []


def test_a_key_that_was_never_there_is_no_change(place, store):
    with place.untouched():
        assert change(store, {"no/such/key": None}) == []


@pytest.mark.parametrize("there, removed", [
    (["a", "a/b"], ["a"]),
    (["a", "a/b"], ["a/b"]),
    (["a", "a/b"], ["a", "a/b"]),
    (["a", "a/b", "a/c"], ["a", "a/b"]),
    (["a", "a/b", "a/b/c"], ["a", "a/b"]),
    (["a", "a/b", "a/b/c"], ["a"]),
    (["a", "a/b", "a/b/c"], ["a", "a/b/c"]),
    (["a", "a/b/c"], ["a"]),
    (["a", "a/b/c/d", "a/x"], ["a", "a/x"]),
    (["a/b/c"], ["a/b/c"]),
    (["a/b/c", "a/b/d"], ["a/b/c", "a/b/d"]),
    (["a/b", "ab", "a-b"], ["a/b"]),
    (["qubes-service/a", "qubes-service/ab"], ["qubes-service/a"]),
], ids=" ".join)
def test_removing_takes_exactly_what_is_named(tree, tree_store, there, removed):
    change(tree_store, {key: b"1" for key in there})
    change(tree_store, {key: None for key in removed})
    left = sorted(set(there) - set(removed))
    assert sorted(key for key in there if tree.get("work", key) == b"1") == left
    # Nothing else is left behind that looks like a key.
    assert sorted(key for key in read(tree_store, "*") if key.startswith("a") or key in there) == left
    with tree.untouched():
        assert change(tree_store, {key: None for key in removed}) == []


@pytest.mark.parametrize("prefix, others", [("qubes-service/", {"qubes-services/x": b"1", "qubes-serv": b"1"}), ("a/", {"ab": b"1", "a-b/c": b"1"})])
def test_purging_ends_at_the_directory(tree, tree_store, prefix, others):
    change(tree_store, {prefix + "old": b"1", prefix + "kept": b"1", **others})
    change(tree_store, {prefix + "kept": b"1", prefix + "new": b"1"}, purge=[prefix])
    assert set(read(tree_store, prefix + "*")) == {prefix + "kept", prefix + "new"}
    assert {key: tree.get("work", key) for key in others} == others


def test_purging_again_finds_nothing(tree, tree_store):
    """Not even the directories that the keys were in."""
    change(tree_store, {"qubes-usb-devices/2-1/desc": b"x", "qubes-usb-devices/2-1/usb-ver": b"2", "qubes-usb-devices/3-1/desc": b"y"})
    assert len(change(tree_store, {}, purge=["qubes-usb-devices/"])) == 3
    assert read(tree_store, "qubes-usb-devices/*") == {}
    with tree.untouched():
        assert change(tree_store, {}, purge=["qubes-usb-devices/"]) == []


def test_an_empty_key_above_others_is_the_same_the_second_time(tree, tree_store):
    keys = {"qubes-tools": b"", "qubes-tools/os": b"Linux"}
    change(tree_store, keys)
    with tree.untouched():
        assert change(tree_store, keys) == []


# -- promises --


def test_it_is_still_there_when_the_store_is_opened_again(place, store):
    change(store, {"vm-config/x": b"1"})
    store.close()
    other = opened(place.url)
    assert read(other, "vm-config/x") == {"vm-config/x": b"1"}
    other.close()
    assert read(store, "vm-config/x") == {"vm-config/x": b"1"}


def test_a_limit_is_said_before_anything_is_sent(place, store):
    with place.untouched():
        for key in ("vm-config/x", "vm-config/x.y", "vm-config/" + "x" * 3100):
            for value in (b"x" * 5000, b"1", None):
                assert isinstance(store.limit(key, value), str)
    assert store.limit("vm-config/x", b"x" * 3000) == ""


def test_what_no_limit_speaks_against_can_be_written(tree, tree_store):
    for key in ("vm-config/x", "vm-config/" + "x" * 52, "a/" * 100 + "b", "x" * 2000, "x" * 3040, "x" * 3060, "x" * 3100, "x" * 4000):
        for length in (0, 1, 900, 1900, 3000, 4000, 4090):
            if not tree_store.limit(key, b"x" * length):
                change(tree_store, {key: b"x" * length})
                assert tree.get("work", key) == b"x" * length


def test_it_says_how_long_a_write_lasts(place, store):
    assert store.lasts(_interface.known("qubes-timezone").row) in ("persistent", "until_restart", "until_netvm_change")
    assert store.lasts(None)


def test_the_secret_is_a_key_like_others_to_a_store(tree, tree_store):
    """What may be shown is not a tree_store's concern; see test_trust.py."""
    tree.put("work", "qubes-random-seed", b"c2VjcmV0")
    change(tree_store, {"qubes-random-seed": None})
    assert tree.get("work", "qubes-random-seed") is None


def test_closing_twice_is_harmless(place, store):
    store.close()
    store.close()


# -- several at once --

ROUNDS, WRITERS = 25, 4


def add_ones(url, number, failures):
    """Adds 1 to a counter that all share, and to one of its own, again and again."""
    try:
        store = opened(url)
        read(store, "name")

        keys = ("vm-config/all", "vm-config/own-%d" % number)

        def one_more(found):
            return [Change(key, found.values.get(key), b"%d" % (int(found.values.get(key, b"0")) + 1)) for key in keys]

        for turn in range(ROUNDS):
            store.update("work", select(*keys), one_more)
    except Exception:  # pylint: disable=broad-except
        failures.put(traceback.format_exc())


def test_no_update_is_lost(tree):
    context = multiprocessing.get_context("fork")
    failures = context.Queue()
    writers = [context.Process(target=add_ones, args=(tree.url, number, failures)) for number in range(WRITERS)]
    with within(30):
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(30)
    assert [writer.exitcode for writer in writers] == [0] * WRITERS
    assert failures.empty(), failures.get()
    assert tree.get("work", "vm-config/all") == b"%d" % (ROUNDS * WRITERS)
    assert [tree.get("work", "vm-config/own-%d" % number) for number in range(WRITERS)] == [b"%d" % ROUNDS] * WRITERS


def count_in_two_keys(url, stop, failures):
    """Sets two keys to the same number, again and again."""
    try:
        store = opened(url)
        number = 0
        while not stop.is_set():
            number += 1
            change(store, {"vm-config/a": b"%d" % number, "vm-config/b": b"%d" % number})
            # Others get a turn: no store promises to be fair.
            stop.wait(0.01)
    except Exception:  # pylint: disable=broad-except
        failures.put(traceback.format_exc())


def test_what_is_planned_from_half_of_an_update_is_never_written(tree, tree_store):
    """Who writes down both keys of such a pair finds them the same, in what is written at last."""

    def write_down(found):
        pair = found.values.get("vm-config/a", b"") + b" " + found.values.get("vm-config/b", b"")
        return [Change("vm-config/pair", found.values.get("vm-config/pair"), pair)]

    context = multiprocessing.get_context("fork")
    failures, stop = context.Queue(), context.Event()
    writer = context.Process(target=count_in_two_keys, args=(tree.url, stop, failures))
    writer.start()
    read(tree_store, "name")
    pairs = set()
    try:
        with within(30):
            while len(pairs) < 8 and writer.is_alive():
                changes = tree_store.update("work", select("vm-config/a", "vm-config/b", "vm-config/pair"), write_down)
                pairs.update(done.after for done in changes)
                stop.wait(0.01)
    finally:
        stop.set()
        writer.join(30)
    assert failures.empty(), failures.get()
    assert [pair for pair in pairs if pair.split(b" ")[0] != pair.split(b" ")[1]] == []
    assert len(pairs) >= 8
