# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The names that a task gives: of one qube, of one key, and globs. What names nothing is refused before a store is opened."""

from __future__ import annotations

import datetime
import fnmatch
import time

import pytest
from ansible_collections.qubes.vmconfig.plugins.module_utils._declaration import declared_qubes, from_bytes, refuse_unsendable
from ansible_collections.qubes.vmconfig.plugins.module_utils._errors import Refused
from ansible_collections.qubes.vmconfig.plugins.module_utils._inspect import asked, selected
from ansible_collections.qubes.vmconfig.plugins.module_utils._plan import Snapshot, declare, plan
from ansible_collections.qubes.vmconfig.plugins.module_utils._qubename import qube_name
from ansible_collections.qubes.vmconfig.plugins.module_utils._rpc import services
from ansible_collections.qubes.vmconfig.plugins.module_utils._selection import Selection, select
from ansible_collections.qubes.vmconfig.plugins.module_utils._wait import Task, named

# How each plugin takes the name of one qube: keys three times, keys_info and the lookup, keys_wait, rpc.
TAKEN = {
    "qube of keys": lambda qube: declared_qubes({"qube": qube, "keys": {}}),
    "qubes of keys": lambda qube: declared_qubes({"qubes": {qube: {}}}),
    "src of keys": lambda qube: from_bytes(('{"%s": {}}' % qube).encode("utf-8", "surrogatepass"), "qubes.yml"),
    "the declaration": lambda qube: declare({qube: {}}, (), "inherit", "reject", lambda key, value: ""),
    "qubes of keys_info": lambda qube: asked([qube]),
    "qube of keys_wait": lambda qube: named(Task(qube, "name")),
    "qube of rpc": lambda qube: services.check_qube(qube, False),
}
NO_NAMES = ["", " ", "  ", "work ", " work", "../102", "a/b", "/", "x" * 256, "wo\u202erk", "wo\u00a0rk\u200b"]


@pytest.mark.parametrize("qube", NO_NAMES, ids=repr)
@pytest.mark.parametrize("plugin", TAKEN)
def test_what_names_no_qube_is_refused_everywhere(plugin, qube):
    with pytest.raises(Refused, match="qube '"):
        TAKEN[plugin](qube)


@pytest.mark.parametrize("qube", ["work", "sys-net", "self", "0", "17", "a.b_c-9"])
@pytest.mark.parametrize("plugin", [plugin for plugin in TAKEN if plugin != "qube of rpc"])
def test_a_name_is_taken_everywhere(plugin, qube):
    TAKEN[plugin](qube)


@pytest.mark.parametrize("qube", [None, True, False, 1.0, -1, 2 ** 40, 10 ** 5000, [], ["work"], {}, b"work", ("work",), object()],
                         ids=lambda qube: type(qube).__name__)
def test_what_is_neither_text_nor_a_domid_names_no_qube(qube):
    with pytest.raises(Refused, match="expected a name as text"):
        qube_name(qube)


def test_an_empty_name_says_where_to_look():
    with pytest.raises(Refused, match="the name is empty.*Where a variable gives it, look at that"):
        qube_name("")


def test_a_null_that_a_variable_gives_is_no_qube():
    with pytest.raises(Refused, match="qube None: expected a name"):
        declared_qubes({"qube": None, "keys": {"qubes-timezone": "UTC"}})


def test_all_qubes_are_read_and_not_written():
    assert asked(["*"]) == ["*"]
    assert asked(None) is None
    with pytest.raises(Refused, match="globs are not taken here"):
        declared_qubes({"qube": "*", "keys": {}})


@pytest.mark.parametrize("key", ["", "/", " ", "a b", "//x", "x/"])
def test_what_names_no_key_is_refused_everywhere(key):
    for work in (lambda: selected([key]), lambda: named(Task("work", key)), lambda: select([key])):
        with pytest.raises(Refused, match="cannot be a key's name"):
            work()
    with pytest.raises(Refused, match="cannot be a key's name"):
        declare({"work": {key: "x"}}, (), "inherit", "allow", lambda key, value: "")


# -- what JSON would change on its way --


@pytest.mark.parametrize("name", [None, True, 7, 1.5, 750])
def test_the_name_of_a_key_that_yaml_has_changed_is_refused(name):
    with pytest.raises(Refused, match="qube 'work': a key's name is text, not .*; put it in quotes. Nothing was sent"):
        refuse_unsendable({"work": {name: "x"}})


@pytest.mark.parametrize("value", [10 ** 5000, -10 ** 5000, 2 ** 64, float("inf"), float("-inf"), float("nan"), b"x", {1}, datetime.date(2026, 1, 1)],
                         ids=lambda value: type(value).__name__)
def test_a_value_that_does_not_arrive_as_it_is_is_refused(value):
    with pytest.raises(Refused, match="qube 'work', key 'vm-config/x': YAML reads the value as .*; put it in quotes if it is text. Nothing was sent"):
        refuse_unsendable({"work": {"vm-config/x": value}})


def test_other_values_are_for_the_module_to_look_at():
    refuse_unsendable({"work": {"a": 1, "b": None, "c": True, "d": [1], "e": {"base64": "eA=="}, "f": 1.5, "g": "x", "h": 2 ** 63}, "personal": None})


# -- globs --


@pytest.mark.parametrize("directory", ["qubes-block-devices/", "qubes-usb-devices", "/qubes-block-devices"])
def test_a_purge_leaves_the_key_that_its_directory_is_named_as(directory):
    wanted = declare({"work": {}}, [directory], "inherit", "reject", lambda key, value: "")["work"]
    key = directory.strip("/")
    found = Snapshot({key: b"", key + "/sda/desc": b"x"})
    assert [(change.key, change.after) for change in plan("work", wanted, found)] == [(key + "/sda/desc", None)]
    assert not wanted.selection.matches(key)


@pytest.mark.parametrize("glob, why", [
    ("[z-a]", "the range z-a"),
    ("qubes-service/[z-a]*", "the range z-a"),
    ("qubes ip*", "no glob that a key's name can match"),
    ("*\n", "no glob that a key's name can match"),
    ("{{ x }}*", "no glob that a key's name can match"),
    ("qübes*", "no glob that a key's name can match"),
    ("[a*", r"\[ is in no key's name"),
    ("a]*", "] is in no key's name"),
    ("!*", "! is in no key's name"),
    ("*" * 2049, "no glob that a key's name can match"),
])
def test_a_glob_that_can_match_no_key_is_refused(glob, why):
    with pytest.raises(Refused, match=why):
        select([glob])


GLOBS = ["*", "**", "a*", "*a", "*a*", "a?c", "?", "[abc]*", "[!a]*", "a[b-d]*c", "*/*", "a*b*c", "*a*a*a", "[]a]*", "[a-]x", "[!]]?", "*[*]x", "a**b", "?*",
         "[ab][ab]*[c]"]
TRIED = ["a", "b", "c", "abc", "a/b", "a/b/c", "ac", "abbc", "aaa", "aXbXc", "-x", "ax", "adc", "aabc", "xaaay", "A", "a.c", "a:b"]


@pytest.mark.parametrize("glob", GLOBS)
def test_a_glob_matches_as_that_of_a_shell(glob):
    selection = Selection((), (glob,))
    assert {key for key in TRIED if selection.matches(key)} == {key for key in TRIED if fnmatch.fnmatchcase(key, glob)}


def test_globs_together_match_what_each_does():
    selection = select(GLOBS[1:4] + ["*a*a*a*", "*b*b*b*"])
    assert selection.matches("xaxaxax") and selection.matcher()("bbb") and not Selection((), ("*a*a*", "*b*b*")).matches("ab")


@pytest.mark.parametrize("glob", ["*a" * 25 + "b", "*?" * 25 + "b", "*[a-z]" * 25 + "0", "*" * 1000 + "b", "*a*" * 300 + "b"])
def test_no_glob_takes_for_ever(glob):
    # Python 3.8's fnmatch takes minutes for some of these.
    begun = time.process_time()
    assert not select([glob]).matches("a" * 3000)
    assert time.process_time() - begun < 1


def test_many_globs_are_not_compared_with_each_other():
    begun = time.process_time()
    assert len(select(["x%05d*" % number for number in range(10000)]).prefixes()) == 10000
    assert time.process_time() - begun < 1
