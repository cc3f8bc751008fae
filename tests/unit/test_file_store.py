# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The store in a file: what is said of it, and what a change leaves as it was."""

from __future__ import annotations

import gc
import json

import pytest
from ansible_collections.qubes.vmconfig.plugins.module_utils._apply import Task, apply
from ansible_collections.qubes.vmconfig.plugins.module_utils._errors import QubeMissing, Refused, SomeUnread, StoreError
from ansible_collections.qubes.vmconfig.plugins.module_utils._selection import Selection, select
from ansible_collections.qubes.vmconfig.plugins.module_utils._stores.opening import open_store


@pytest.fixture(name="path", params=["json", "yml"])
def a_file(request, tmp_path):
    path = tmp_path / ("machine." + request.param)
    path.write_text(json.dumps({"work": {"vm-config/a": "1", "vm-config/bytes": {"base64": "/w=="}, "vm-config/100%s": "50%"}, "personal": {}}))
    return path


@pytest.fixture(name="store")
def its_store(path):
    return open_store("file://%s" % path, 10, [])


def test_many_that_are_missing_are_told_in_one_message(store):
    absent = ["nobody-%d" % number for number in range(200)]
    wanted = {qube: {"vm-config/a": "2"} for qube in ["work", *absent]}
    with pytest.raises(QubeMissing) as caught:
        apply(store, Task(wanted))
    with pytest.raises(SomeUnread) as unread:
        store.read(dict.fromkeys(wanted, Selection(("vm-config/a",))))
    assert list(unread.value.failed) == absent
    for message in (str(caught.value), str(unread.value)):
        assert message.startswith("qubes 'nobody-0', 'nobody-1', ")
        assert message.count("in it are 'work', 'personal'") == message.count("and 150 more are not in file://") == 1
        assert message.endswith('. To add one, write  "NAME": {}  into the file')


def test_one_that_is_missing_is_told_with_how_to_add_it(store):
    with pytest.raises(QubeMissing, match="^qube 'nobody' is not in .*To add it, write  \"nobody\": {}  into the file$"):
        store.read({"nobody": select(["*"])})


def test_what_is_not_changed_stays_as_it_was(store):
    apply(store, Task({"work": {"vm-config/a": "2"}}))
    found = store.read({"work": select(["*"])})["work"].values
    assert found == {"vm-config/a": b"2", "vm-config/bytes": b"\xff", "vm-config/100%s": b"50%"}


@pytest.mark.parametrize("value", ['{"base64": "?"}', '{"base64": 7}', '{"base64": "", "x": ""}', "7", "[]", "null", "true"])
def test_what_is_no_text_is_found_wherever_it_stands(path, store, value):
    path.write_text('{"work": {"vm-config/a": "1"}, "personal": {"vm-config/a": "1", "vm-config/b": %s, "vm-config/c": "1"}}' % value)
    with pytest.raises(StoreError, match="qube 'personal', key 'vm-config/b': .* is not text"):
        store.read({"work": select(["vm-config/a"])})


def test_a_task_leaves_the_collector_of_cycles_as_it_was(store):
    apply(store, Task({"work": {"vm-config/a": "2"}}))
    assert gc.isenabled()
    gc.disable()
    try:
        apply(store, Task({"work": {"vm-config/a": "3"}}))
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.parametrize("url, meant", [("/srv/machine.json", "file:///srv/machine.json"), ("/srv/my machine.json", "file:///srv/my%20machine.json")])
def test_a_path_is_told_how_it_is_written(url, meant):
    with pytest.raises(Refused, match="is not one of auto.*; for a file that is %s$" % meant):
        open_store(url, 10, [])


def test_what_is_no_path_is_told_no_file():
    with pytest.raises(Refused) as caught:
        open_store("ftp://x", 10, [])
    assert str(caught.value).endswith("or file:///PATH")
