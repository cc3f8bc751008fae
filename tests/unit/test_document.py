# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Declarations and file stores as JSON and YAML: strict to read, and read back as they were written."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time

import pytest
import yaml
from ansible_collections.qubes.vmconfig.plugins.module_utils._declaration import LARGEST, declared_qubes, from_bytes, read_remote, refuse_secrets
from ansible_collections.qubes.vmconfig.plugins.module_utils._document import parse, write_json, write_yaml
from ansible_collections.qubes.vmconfig.plugins.module_utils._errors import Refused
from unitdata import HOSTILE

SECRET = "c2VjcmV0IGVudHJvcHk="


def refused(text, decrypt=None):
    """The message that a text is refused with."""
    with pytest.raises(Refused) as caught:
        parse(text, "src qubes.yml", decrypt)
    message = str(caught.value)
    assert message.startswith("src qubes.yml")
    assert message.isprintable()
    return message


# -- what is read --


@pytest.mark.parametrize("text, data", [
    ("{}", {}),
    ("", None),
    ('{"work": {"qubes-timezone": "UTC", "vm-config/x": null}}', {"work": {"qubes-timezone": "UTC", "vm-config/x": None}}),
    ("work:\n  qubes-timezone: UTC\n  qubes-service/cups: true\n", {"work": {"qubes-timezone": "UTC", "qubes-service/cups": True}}),
    ("work: {vm-config/x: !unsafe '{{ 1 }}'}", {"work": {"vm-config/x": "{{ 1 }}"}}),
    ("work: {vm-config/x: !unsafe 12:30}", {"work": {"vm-config/x": "12:30"}}),
    ("work: {vm-config/x: '{{ 1 }}'}", {"work": {"vm-config/x": "{{ 1 }}"}}),
    ("base: &b {qubes-timezone: UTC}\nwork: *b\n", {"base": {"qubes-timezone": "UTC"}, "work": {"qubes-timezone": "UTC"}}),
    ("base: &b {qubes-timezone: UTC}\nwork: {<<: *b, vm-config/x: '1'}\n",
     {"base": {"qubes-timezone": "UTC"}, "work": {"qubes-timezone": "UTC", "vm-config/x": "1"}}),
    ("work: {vm-config/x: 12:30}", {"work": {"vm-config/x": 750}}),
    ("base: &b {qubes-timezone: UTC}\nwork: {<<: *b, qubes-timezone: Asia/Tokyo}\n",
     {"base": {"qubes-timezone": "UTC"}, "work": {"qubes-timezone": "Asia/Tokyo"}}),
    ("7: {}\nno: {12:30: x}\n", {"7": {}, "no": {"12:30": "x"}}),
    ("[1, 2]", [1, 2]),
    ('"\\ud83d\\ude00"', "😀"),
    ("7: {no: '1'}", {"7": {"no": "1"}}),
    ("a: &a {x: '1', y: '1'}\nb: {<<: *a, y: '2'}", {"a": {"x": "1", "y": "1"}, "b": {"x": "1", "y": "2"}}),
])
def test_parsed(text, data):
    assert parse(text, "src qubes.yml") == data


@pytest.mark.parametrize("text, key", [
    ('{"work": {"qubes-timezone": "UTC", "qubes-timezone": "UTC"}}', "qubes-timezone"),
    ('{"work": {}, "work": {}}', "work"),
    ("work: {qubes-timezone: UTC, qubes-timezone: UTC}", "qubes-timezone"),
    ("work: {qubes-timezone: UTC, 'qubes-timezone': UTC}", "qubes-timezone"),
    ("work: {}\npersonal: {}\nwork: {}\n", "work"),
    ("7: {}\n'7': {}\n", "7"),
    ("work: {vm-config/x: {base64: '', base64: ''}}", "base64"),
])
def test_a_key_given_twice_is_refused(text, key):
    message = refused(text)
    assert "given twice" in message
    assert key in message


@pytest.mark.parametrize("tag", [
    "!!python/object/apply:os.system ['touch MARKER']",
    "!!python/object/new:os.system ['touch MARKER']",
    "!!python/object:os.system {}",
    "!!python/name:os.system ''",
    "!!python/module:os ''",
    "!!python/tuple [a]",
    "!!python/str x",
    "!vault-encrypted x",
    "!other x",
    "!unsafe [a]",
    "!unsafe {a: b}",
    "!vault [a]",
])
def test_no_tag_makes_an_object(tag):
    refused("work: {vm-config/x: %s}" % tag, decrypt=str)


@pytest.mark.parametrize("text", [
    "work: {",
    "work: [}",
    "\t- x",
    "--- {}\n--- {}\n",
    "work: \x1b[2J",
    "work: @x",
    "{work: *none}",
    "? {a: b}\n: c",
    "[" * 1000,
    "{" * 1000,
    '{"a":' * 5000,
    "- " * 1000 + "x",
    '{"work": %s}' % ("9" * 5000),
    "a: &a {b: *a}",
    "a: &a [*a]",
    "a: !!timestamp x",
    "a: 2026-13-45",
    "a: !!int x",
    "a: !!float x",
], ids=lambda text: text[:20])
def test_what_is_neither_json_nor_yaml_is_refused(text):
    refused(text)


def test_without_pyyaml_there_is_json(monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    assert parse('{"work": {}}', "src qubes.yml") == {"work": {}}
    assert "install python3-yaml" in refused("work: {}")


@pytest.mark.parametrize("text", [
    "work:\n  qubes-random-seed: @%s\n",
    "work: {qubes-random-seed: %s",
    "work:\n  qubes-random-seed: '%s\n",
    '{"work": {"qubes-random-seed": "%s}}',
    "work:\n  qubes-random-seed: %s: x\n",
    "work: {qubes-random-seed: !!python/str %s}",
    "work: {qubes-random-seed: !!int %s}",
    "work: {qubes-random-seed: !!binary '?%s'}",
    "work: {qubes-random-seed: *%s}",
])
def test_no_error_quotes_the_line_that_it_is_about(text):
    # It may be the secret's, or of a file that is encrypted.
    assert SECRET.rstrip("=") not in refused(text % SECRET.rstrip("="))


# A billion laughs: ten levels of ten aliases.
BOMB = "a0: &a0 [x]\n" + "".join("a%d: &a%d [%s]\n" % (level, level, ", ".join(["*a%d" % (level - 1)] * 10)) for level in range(1, 10))
BOUNDED = """
import resource
import sys
resource.setrlimit(resource.RLIMIT_AS, (256 * 2**20,) * 2)
from ansible_collections.qubes.vmconfig.plugins.module_utils._document import parse
from ansible_collections.qubes.vmconfig.plugins.module_utils._errors import Refused
from ansible_collections.qubes.vmconfig.plugins.module_utils._plan import declare
try:
    declare(parse(sys.stdin.read(), "src"), (), "inherit", "allow", lambda key, value: "")
except Refused as error:
    print(len(str(error)))
"""


@pytest.mark.parametrize("tail", ["", "work: {vm-config/x: *a9}\n"], ids=["as qubes", "as a value"])
def test_a_yaml_bomb_is_refused_in_little_room_and_time(tail):
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", BOUNDED], input=BOMB + tail, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
                          timeout=10, check=False)
    assert done.returncode == 0, done.stderr[-300:]
    assert int(done.stdout) < 20000
    assert time.monotonic() - begun < 5


# -- vault --


def test_a_vault_value_is_decrypted_to_text():
    text = "work:\n  vm-config/x: !vault |\n    $ANSIBLE_VAULT;1.1;AES256\n    6162\n"
    asked = []
    assert parse(text, "src", lambda cipher: asked.append(cipher) or "12:30\n{{ 1 }}") == {"work": {"vm-config/x": "12:30\n{{ 1 }}"}}
    assert asked == ["$ANSIBLE_VAULT;1.1;AES256\n6162\n"]


def test_a_vault_value_is_refused_where_nothing_decrypts():
    assert "only the controller" in refused("work: {vm-config/x: !vault x}")


def test_a_vault_file_is_refused_where_nothing_decrypts():
    with pytest.raises(Refused, match="src 'qubes.yml'|src qubes.yml.*only the controller"):
        from_bytes(b"$ANSIBLE_VAULT;1.1;AES256\n6162\n", "qubes.yml")


# -- what is written --


def awkward(dice):
    """A text of all that is awkward to write down."""
    pieces = ["", "x", " ", "'", '"', "\\", "\n", "\t", "\r", "\r\n", "#", ": ", "- ", "&a", "*a", "!unsafe ", "%", "@", "`", "{{ 1 }}", "{% x %}",
              "{#", "}", "[", ",", "|", ">", "?", "~", "null", "yes", "12:30", "1.10", "0x1f", "1e3", "=", "<<", "---", "...", "é", "漢", "😀", "\xa0",
              "\u3000", "\ufffd", "\U0001fffe", "\U0010ffff", "x" * 200, *[each for each in HOSTILE.values() if each not in ("\0", "\udc9b")]]
    return "".join(dice.choice(pieces) for position in range(dice.randrange(6)))


def documents(seed):
    dice = random.Random(seed)
    values = [awkward(dice) for position in range(40)] + [chr(code) for code in dice.sample([*range(1, 0xd800), *range(0xe000, 0x110000)], 200)]
    return {"work": {"vm-config/k%d" % number: value for number, value in enumerate(values)}, "empty": {}, "no": {"y": {"base64": "/w=="}}, awkward(dice): {}}


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("write", [write_json, write_yaml])
def test_what_is_written_reads_back_exactly(write, seed):
    data = documents(seed)
    assert parse(write(data), "file") == data


@pytest.mark.parametrize("seed", range(5))
def test_json_is_json_and_yaml_is_yaml(seed):
    class Loader(yaml.SafeLoader):
        """Ansible's tag, for PyYAML."""

    Loader.add_constructor("!unsafe", lambda loader, node: loader.construct_scalar(node))
    data = documents(seed)
    assert json.loads(write_json(data)) == data
    assert yaml.load(write_yaml(data), Loader) == data


@pytest.mark.parametrize("value", ["{{ 1 }}", "{% x %}", "{# x #}", "a\n{{ 1 }}"])
def test_what_jinja_would_act_on_is_tagged(value):
    text = write_yaml({"work": {"vm-config/x": value, "vm-config/y": "plain"}})
    assert text.count("!unsafe") == 1
    assert parse(text, "file")["work"]["vm-config/x"] == value


def test_what_is_written_is_the_same_each_time():
    data = {"b": {"y": "1", "x": "2"}, "a": {}}
    turned = {"a": {}, "b": {"x": "2", "y": "1"}}
    assert write_json(data) == write_json(turned)
    assert write_yaml(data) == write_yaml(turned)


# -- declarations --


@pytest.mark.parametrize("data, says", [
    (b"[]", "mapping"),
    (b"", "mapping"),
    (b"text", "mapping"),
    (b"\xff\xfe", "UTF-8"),
    (b"work: {", "neither JSON nor YAML"),
])
def test_what_is_no_declaration(data, says):
    with pytest.raises(Refused, match=says):
        from_bytes(data, "qubes.yml")


def test_a_file_of_more_than_a_declaration_may_have(tmp_path):
    path = tmp_path / "qubes.yml"
    with open(path, "wb") as file:
        file.truncate(LARGEST + 1)
    with pytest.raises(Refused, match="%d are the most" % LARGEST):
        read_remote(str(path))


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(Refused, match="No such file"):
        read_remote(str(tmp_path / "none.yml"))
    # Opening a FIFO would wait for a writer.
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Refused, match="not a regular file"):
        read_remote(str(tmp_path / "pipe"))
    with pytest.raises(Refused, match="directory"):
        read_remote(str(tmp_path))


def test_a_remote_declaration(tmp_path):
    path = tmp_path / "qubes.json"
    path.write_text('{"work": {"vm-config/x": "{{ 1 }}"}}')
    assert read_remote(str(path)) == {"work": {"vm-config/x": "{{ 1 }}"}}


@pytest.mark.parametrize("options, qubes", [
    ({"qubes": {"work": {}}}, {"work": {}}),
    ({"qube": "work", "keys": {"qubes-timezone": None}}, {"work": {"qubes-timezone": None}}),
    ({"qubes": None}, {}),
])
def test_declared_in_options(options, qubes):
    assert declared_qubes(options) == qubes


@pytest.mark.parametrize("name", ["qubes-random-seed", "/qubes-random-seed"])
@pytest.mark.parametrize("value", [SECRET, {"base64": SECRET}, [SECRET], 7, ""])
def test_a_secret_is_refused_without_its_value(name, value):
    with pytest.raises(Refused) as caught:
        refuse_secrets({"personal": None, "work": {"qubes-timezone": "UTC", 7: "x", name: value}})
    assert SECRET not in str(caught.value)
    assert "'work'" in str(caught.value)
    assert name in str(caught.value)


def test_a_secret_may_be_removed():
    refuse_secrets({"work": {"qubes-random-seed": None}})
