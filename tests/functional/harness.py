# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the functional tests share: opening stores, changing keys through them, and places that say independently what is there."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import time

import yaml
from ansible_collections.qubes.vmconfig.plugins.module_utils import _selection
from ansible_collections.qubes.vmconfig.plugins.module_utils._plan import INHERIT, Wanted, plan
from ansible_collections.qubes.vmconfig.plugins.module_utils._stores.opening import open_store

SEED = {"work": {"qubes-timezone": "UTC", "qubes-service/cups": "1"}, "personal": {"qubes-timezone": "Europe/Warsaw"}}
DOMIDS = {"work": 7, "personal": 8}
HOSTILE = "{{ lookup('pipe', 'touch MARKER') }}"
ESCAPES = "\x1b[31mred\x1b]0;title\x07\x9b2J\u202etxt.exe\u2066\u2028end\x85"


def opened(url, timeout=10.0, qubes=("work",)):
    return open_store(url, timeout, list(qubes))


def select(*names):
    return _selection.select(names)


def read(store, *names, qube="work"):
    """What a store says of one qube: key to bytes."""
    return store.read({qube: select(*names)})[qube].values


def change(store, keys, qube="work", purge=(), access=INHERIT):
    """Sets and removes keys of one qube as a task does, and returns what the store says it changed."""
    wanted = Wanted(keys, tuple(purge), access)
    with_access = access != INHERIT
    store.read({qube: wanted.selection}, with_access)
    return store.update(qube, wanted.selection, lambda found: plan(qube, wanted, found), with_access)


@contextlib.contextmanager
def within(seconds):
    """The block ends in time. What hangs is interrupted soon after, so that the other tests run."""

    def interrupt(number, frame):
        raise AssertionError("it hangs: no end after %g s" % (seconds + 3))

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds + 3)
    begun = time.monotonic()
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    taken = time.monotonic() - begun
    assert taken < seconds, "it took %.1f s" % taken


def wait_until(said):
    """Looks until it is so; ``within`` ends it."""
    while not said():
        time.sleep(0.02)


class FilePlace:
    """A file store, looked at with json and PyYAML."""

    def __init__(self, path, dump, load):
        self.path = path
        self.url = "file://" + path
        self._dump, self._load = dump, load
        self._store(SEED)

    def _store(self, data):
        """Replaces the file, as an editor does."""
        with open(self.path + "~", "w", encoding="utf-8") as stream:
            stream.write(self._dump(data))
        os.replace(self.path + "~", self.path)

    def _data(self):
        with open(self.path, encoding="utf-8") as stream:
            return self._load(stream.read())

    def get(self, qube, key):
        """The bytes of a key, None where there is none."""
        value = self._data()[qube].get(key)
        if isinstance(value, dict):
            return base64.b64decode(value["base64"])
        return None if value is None else value.encode("utf-8")

    def put(self, qube, key, value):
        data = self._data()
        try:
            data[qube][key] = value.decode("utf-8")
        except UnicodeDecodeError:
            data[qube][key] = {"base64": base64.b64encode(value).decode("ascii")}
        self._store(data)

    def remove(self, qube, key):
        data = self._data()
        del data[qube][key]
        self._store(data)

    @contextlib.contextmanager
    def untouched(self):
        """In the block nothing is written."""
        before = self._mark()
        yield
        assert self._mark() == before

    def _mark(self):
        status = os.stat(self.path)
        with open(self.path, "rb") as stream:
            return status.st_ino, status.st_mtime_ns, stream.read()


class XenPlace:
    """A running xenstored, looked at with xenstore-ls."""

    def __init__(self, lab):
        self.lab = lab
        self.url = lab.url

    @staticmethod
    def path(qube, key):
        return "/local/domain/%d/%s" % (DOMIDS[qube], key)

    def get(self, qube, key):
        home = "/local/domain/%d" % DOMIDS[qube]
        nodes = self.lab.ls(home)
        path = self.path(qube, key)
        # An empty node with others in it is their directory.
        if nodes.get(path) == b"" and any(node.startswith(path + "/") for node in nodes):
            return None
        return nodes.get(path)

    def put(self, qube, key, value):
        self.lab.write(self.path(qube, key), value)

    def remove(self, qube, key):
        self.lab.tool("rm", self.path(qube, key))

    @contextlib.contextmanager
    def untouched(self):
        with self.lab.watch("/local/domain") as watch:
            yield
            assert watch.events == []


class QubesPlace:
    """Daemons of a QubesDB lab, looked at in their memory and not through the protocol."""

    def __init__(self, lab):
        self.lab = lab
        self.url = lab.url

    def get(self, qube, key):
        return self.lab.keys(qube).get(key)

    def put(self, qube, key, value):
        self.lab.put(qube, key, value)

    def remove(self, qube, key):
        self.lab.remove(qube, key)

    @contextlib.contextmanager
    def untouched(self):
        before = [self.lab.writes(qube) for qube in SEED]
        yield
        assert [self.lab.writes(qube) for qube in SEED] == before


class AdminPlace:
    """Qubes of an Admin API lab, whose settings are looked at past the API. Of the keys of SEED it has those with a setting of their own."""

    url = "admin"
    FEATURES = {"qubes-service/": "service.", "vm-config/": "vm-config."}

    def __init__(self, lab):
        self.lab = lab
        for qube, keys in SEED.items():
            lab.add(qube, features={self.feature(key): value for key, value in keys.items() if "/" in key})

    @classmethod
    def feature(cls, key):
        directory, slash, name = key.partition("/")
        return cls.FEATURES[directory + slash] + name

    def get(self, qube, key):
        value = self.lab.features(qube).get(self.feature(key))
        return None if value is None else value.encode("ascii")

    def put(self, qube, key, value):
        self.lab.set_feature(qube, self.feature(key), value)

    def remove(self, qube, key):
        self.lab.remove_feature(qube, self.feature(key))

    @contextlib.contextmanager
    def untouched(self):
        before = self.lab.changes()
        yield
        assert self.lab.changes() == before


class UnsafeLoader(yaml.SafeLoader):
    """PyYAML, with Ansible's tag for text that is no template."""


UnsafeLoader.add_constructor("!unsafe", lambda loader, node: loader.construct_scalar(node))


def json_file(labs, folder):
    return FilePlace(str(folder / "store.json"), json.dumps, json.loads)


def yaml_file(labs, folder):
    return FilePlace(str(folder / "store.yml"), yaml.safe_dump, lambda text: yaml.load(text, UnsafeLoader))


def xenstore(labs, folder):
    return XenPlace(labs("lab"))


def qubesdb(labs, folder):
    return QubesPlace(labs("qubes"))


def admin(labs, folder):
    return AdminPlace(labs("admin"))


TREES = {"file.json": json_file, "file.yml": yaml_file, "xenstore": xenstore, "qubesdb": qubesdb}
"""Stores that hold any key, by the function that makes a place of it with SEED inside. A new store is one line."""

STORES = {**TREES, "admin": admin}
"""Every store: those, and the one that holds keys with a setting alone, and cannot be locked against others."""
