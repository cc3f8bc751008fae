# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From wanted and found to changes and a diff: plan.yml, and what holds for all of them."""

from __future__ import annotations

import base64
import random

import pytest
from ansible_collections.qubes.vmconfig.plugins.module_utils._errors import Refused
from ansible_collections.qubes.vmconfig.plugins.module_utils._plan import Change, Snapshot, declare, diff, plan
from unitdata import load

CASES = load("plan.yml")


def limit(key, value):
    """A store that has room for very little in one key."""
    return "it holds ten bytes at the most" if key == "vm-config/x" and len(value or b"") > 10 and value == b"x" * 11 else ""


def stored(value):
    """A value of the data as a store has it."""
    if isinstance(value, dict):
        return base64.b64decode(value["base64"])
    return None if value is None else value.encode("utf-8")


def wanted_of(case):
    return declare({"work": case["wanted"]}, case.get("purge", ()), case.get("access", "inherit"), case.get("unknown", "reject"), limit)["work"]


def found_of(case):
    return Snapshot({key: stored(value) for key, value in case["found"].items()}, frozenset(), case.get("found_access", {}))


def changes_of(case):
    return [Change(key, stored(before), stored(after), *access) for key, before, after, *access in case["changes"]]


def carried_out(found, changes):
    """What a store holds after the changes."""
    values = {**found.values, **{change.key: change.after for change in changes}}
    access = {**found.access, **{change.key: change.access_after for change in changes if change.access_after}}
    return Snapshot({key: value for key, value in values.items() if value is not None}, frozenset(), access)


def planned(names=None):
    return [pytest.param(case, id=case["name"]) for case in CASES["planned"] if names is None or names in case]


@pytest.mark.parametrize("case", planned())
def test_changes(case):
    assert plan("work", wanted_of(case), found_of(case)) == changes_of(case)


@pytest.mark.parametrize("case", planned("after"))
def test_diff(case):
    shown = diff("work", "file", plan("work", wanted_of(case), found_of(case)))
    assert shown["before_header"] == shown["after_header"] == "work (file)"
    assert shown["after"] == case["after"]
    assert shown["before"] == case.get("before", "")


@pytest.mark.parametrize("case", planned())
def test_nothing_differs_once_it_is_done(case):
    wanted, found = wanted_of(case), found_of(case)
    assert plan("work", wanted, carried_out(found, plan("work", wanted, found))) == []


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in CASES["refused"]])
def test_refused_before_anything_is_written(case):
    with pytest.raises(Refused) as caught:
        declare(case["qubes"], case.get("purge", ()), "inherit", case.get("unknown", "reject"), limit)
    message = str(caught.value)
    assert "othing was written" in message
    for text in case["says"]:
        assert text in message
    for text in case.get("hides", ()):
        assert text not in message
    assert message.isprintable()


def test_a_qube_given_twice_is_refused():
    # As a number and as text; what is twice the same in a file, its parser refuses.
    with pytest.raises(Refused, match="'7'.*given twice"):
        declare({7: {"qubes-timezone": "UTC"}, "7": {"qubes-timezone": "Europe/Warsaw"}}, (), "inherit", "reject", limit)


def test_a_limit_is_asked_for_what_is_stored():
    asked = []
    declare({"work": {"/qubes-vm-updatable": True, "qubes-timezone": None}}, (), "inherit", "reject", lambda *of: asked.append(of) or "")
    assert asked == [("qubes-vm-updateable", b"True"), ("qubes-timezone", None)]


def test_what_may_not_be_read_cannot_be_planned():
    wanted = declare({"work": {"vm-config/x": "1"}}, (), "inherit", "reject", limit)["work"]
    with pytest.raises(Refused, match="'work'.*'vm-config/x'.*may not be read"):
        plan("work", wanted, Snapshot({}, frozenset(["vm-config/x"])))
    assert plan("work", wanted, Snapshot({}, frozenset(["vm-config/other"])))


def test_many_problems_are_cut_and_counted():
    keys = {"no-such-key-%d" % number: "x" for number in range(100)}
    with pytest.raises(Refused, match="100 problems.*and 80 more"):
        declare({"work": keys}, (), "inherit", "reject", limit)


@pytest.mark.parametrize("length", [256, 257, 3000])
def test_values_that_differ_behind_the_cut_differ_in_the_diff(length):
    before, after = b"x" * length, b"x" * (length - 1) + b"y"
    shown = diff("work", "file", [Change("vm-config/x", before, after)])
    assert shown["before"] != shown["after"]
    assert len(shown["before"]) < 400


def test_an_order_that_a_directory_key_ends_whatever_is_in_it():
    keys = ["a", "a/b", "a/b/c", "a/~", "a-b", "a.b", "a/b-c", "a0", "A", "b"]
    random.Random(1).shuffle(keys)
    wanted = declare({"work": {key: "x" for key in keys if "~" not in key}}, (), "inherit", "allow", limit)["work"]
    order = [change.key for change in plan("work", wanted, Snapshot({}))]
    for key in order:
        assert all(order.index(below) < order.index(key) for below in order if below.startswith(key + "/"))


@pytest.mark.parametrize("seed", range(50))
def test_any_plan_carried_out_leaves_nothing_to_do(seed):
    """Random declarations over random findings: after the changes all that was wanted is there, and nothing else moved."""
    dice = random.Random(seed)
    names = ["vm-config/%s" % letter for letter in "abcdefgh"] + ["qubes-timezone", "qubes-service/x", "qubes-service/y"]
    values = {"vm-config": ["", "1", "two\n", "{{ 3 }}"], "qubes-timezone": ["UTC", "Europe/Warsaw"], "qubes-service": ["0", "1"]}

    def value(name):
        return dice.choice(values[name.split("/")[0]])

    found = Snapshot({name: value(name).encode() for name in names if dice.random() < 0.6})
    declared = {name: dice.choice([None, value(name), value(name)]) for name in names if dice.random() < 0.6}
    purge = ["qubes-service/"] if dice.random() < 0.5 else []
    wanted = declare({"work": declared}, purge, "inherit", "reject", limit)["work"]
    after = carried_out(found, plan("work", wanted, found))
    assert plan("work", wanted, after) == []
    for name in names:
        if name in declared:
            assert after.values.get(name) == stored(declared[name])
        elif not (purge and name.startswith("qubes-service/")):
            assert after.values.get(name) == found.values.get(name)
        else:
            assert name not in after.values


RULES = {"qubes-firewall/10.137.0.9/policy": "drop", "qubes-firewall/10.137.0.9/0000": "action=accept", "qubes-firewall/10.137.0.9": ""}
HELD = {key: value.encode() for key, value in RULES.items()}


def planned_for(keys, found, purge=(), guarded=False):
    return plan("work", declare({"work": keys}, purge, "inherit", "reject", limit, guarded)["work"], Snapshot(found))


@pytest.mark.parametrize("keys, found, expected", [
    (RULES, HELD, []),
    (RULES, {**HELD, "qubes-firewall/10.137.0.9/0000": b"action=drop"}, ["qubes-firewall/10.137.0.9/0000", "qubes-firewall/10.137.0.9"]),
    ({**RULES, "vm-config/x": "1"}, HELD, ["vm-config/x"]),
    ({**RULES, "qubes-firewall/10.137.0.90/policy": "drop"}, HELD, ["qubes-firewall/10.137.0.90/policy"]),
    ({"qubes-iptables": "reload", "qubes-iptables-header": "new"}, {"qubes-iptables": b"reload"}, ["qubes-iptables-header", "qubes-iptables"]),
    ({"qubes-iptables": "reload", "qubes-firewall/10.0.0.1/policy": "drop"}, {"qubes-iptables": b"reload"}, ["qubes-firewall/10.0.0.1/policy"]),
], ids=str)
def test_a_key_that_puts_others_into_force_is_written_again_when_one_of_them_changes(keys, found, expected):
    assert [change.key for change in planned_for(keys, found)] == expected


@pytest.mark.parametrize("keys, purge", [({"qubes-vm-type": "NetVM"}, ()), ({"name": None}, ()), ({}, ["qubes-firewall/"])], ids=str)
def test_what_is_protected_may_not_change_where_it_is_guarded(keys, purge):
    found = {"qubes-vm-type": b"AppVM", "name": b"work", **HELD}
    assert planned_for(keys, found, purge)
    with pytest.raises(Refused, match="'work'.*force: true"):
        planned_for(keys, found, purge, guarded=True)
    # What is right already is no change.
    assert planned_for({"qubes-vm-type": "AppVM", "vm-config/x": "1"}, found, guarded=True)
