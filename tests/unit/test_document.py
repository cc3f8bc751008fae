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


# -- what a short document might become --


def levels(each, wide, deep, first):
    """Levels of YAML, each of which names the one before it several times."""
    return "a0: &a0 %s\n" % first + "".join("a%d: &a%d %s\n" % (level, level, each % ", ".join(["*a%d" % (level - 1)] * wide)) for level in range(1, deep))


# Documents that PyYAML or Python take minutes, gigabytes or a traceback for, and what is said of them.
GROWING = {
    "aliases": (levels("[%s]", 10, 10, "[x]"), "too large"),
    "aliases of mappings": (levels("{x: [%s]}", 10, 12, "{y: z}"), "too large"),
    "aliases of a long text": ("a: &a '%s'\nb: [%s]\n" % ("x" * 100000, ", ".join(["*a"] * 100000)), "too large"),
    "aliases that nest": (levels("[%s]", 1, 3000, "[x]"), "nested deeper"),
    "merges": (levels("{<<: [%s]}", 10, 8, "{x: y}"), "too large"),
    "merges two by two": (levels("{<<: [%s]}", 2, 100, "{x: y}"), "too large"),
    "merges of many": (levels("{<<: [%s]}", 2000, 3, "{x: y}"), "too large"),
    "merges in blocks": (levels("\n  <<: [%s]", 9, 12, "\n  x: y"), "too large"),
    "merges of merges": (levels("{<<: [%s, {z: z}]}", 9, 20, "{%s}" % ", ".join("k%d: v" % number for number in range(30))), "too large"),
    "a merge of itself": ("a: &a {<<: *a}", "alias of nothing"),
    "a sexagesimal": ("work: {vm-config/x: 1%s.5}" % (":59" * 200), "a number of 603 characters"),
    "a whole sexagesimal": ("work: {vm-config/x: 1%s}" % (":59" * 100000), "a number of 300001 characters"),
    "hexadecimal digits": ("work: {qubes-gui-videoram-min: 0x%s}" % ("f" * 5000), "a number of 5002 characters"),
    "binary digits": ("work: {qubes-gui-videoram-min: 0b%s}" % ("1" * 100000), "a number of 100002 characters"),
    "octal digits": ("work: {qubes-gui-videoram-min: 0%s}" % ("7" * 100000), "a number of 100001 characters"),
    "digits": ("work: {qubes-gui-videoram-min: %s}" % ("9" * 1000000), "a number of 1000000 characters"),
    "underscores": ("work: {qubes-gui-videoram-min: 1%s}" % ("_" * 100000), "a number of 100001 characters"),
    "a long fraction": ("work: {vm-config/x: 0.%s}" % ("9" * 100000), "a number of 100002 characters"),
    "a tagged number": ("work: {vm-config/x: !!int '%s'}" % ("9" * 100000), "a number of 100000 characters"),
    "digits in JSON": ('{"work": {"x": %s}}' % ("9" * 1000000), "a number of 1000000 characters"),
    "digits below nothing in JSON": ('{"work": {"x": -%s}}' % ("9" * 1000000), "a number of 1000001 characters"),
    "a fraction in JSON": ('{"work": {"x": 0.%s}}' % ("9" * 1000000), "a number of 1000002 characters"),
    "an exponent in JSON": ('{"work": {"x": 1e%s}}' % ("9" * 100000), "a number of 100002 characters"),
    "lists in lists": ("[" * 1000000, "holds too much"),
    "fewer lists in lists": ("[" * 500 + "]" * 500, "nested deeper"),
    "lists in lists in YAML": ("a: " + "[" * 3000, "line 1"),
    "mappings in mappings": ('{"a":' * 50000 + "1" + "}" * 50000, "nested deeper"),
    "mappings that JSON takes": ('{"a":' * 500 + "1" + "}" * 500, "nested deeper"),
    "entries in entries": ("- " * 100000 + "x", "nested deeper"),
    "keys in keys": ("? " * 100000 + "x", "nested deeper"),
    "blocks in blocks": ("".join(" " * depth + "a:\n" for depth in range(1500)), "nested deeper"),
    "many empty lists": ("[" + "[]," * 2000000 + "[]]", "holds too much"),
    "many mappings": ("[" + '{"a":1},' * 1000000 + "1]", "holds too much"),
    "many empty lists in YAML": ("a: [" + "[]," * 10000 + "[" * 40, "nested deeper"),
    "many documents": ("--- {}\n" * 100000, "second document"),
    "many directives": ("%TAG ! x\n" * 100000, "neither JSON nor YAML"),
    "many quotes": ('"' + "\\" * 100001, "neither JSON nor YAML"),
    "a large text": ('{"work": {"x": "%s"}}' % ("\u6f22" * 9000000), "characters, and"),
    "a long key": ('{"work": {"%s": "x"}}' % ("k" * 4000000), "not in the interface"),
    "many unknown keys": ("work: {%s}" % ", ".join("unknown-key-%d: x" % number for number in range(10000)), "10000 problems"),
    "many keys that are nearly known": ("work: {%s}" % ", ".join("vm-conf/key-%d: x" % number for number in range(10000)), "10000 problems"),
    "one key many times": ("{%s}" % ", ".join(["a: x"] * 50000), "given twice"),
}
BOUNDED = """
import json
import resource
import sys
import time
import yaml
from ansible_collections.qubes.vmconfig.plugins.module_utils._document import parse
from ansible_collections.qubes.vmconfig.plugins.module_utils._errors import Refused
from ansible_collections.qubes.vmconfig.plugins.module_utils._plan import declare
if sys.argv[1] == "python" and hasattr(yaml, "CSafeLoader"):
    del yaml.CSafeLoader
for line in sys.stdin:
    text = json.loads(line)
    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    try:
        declare(parse(text, "src"), (), "inherit", "reject", lambda key, value: "")
        message = ""
    except Refused as error:
        message = str(error)
    seconds = time.process_time() - begun
    print(json.dumps([message, seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024]))
"""


@pytest.fixture(scope="module", params=["libyaml", "python"])
def measured(request):
    """Each of those documents' message, seconds and megabytes, with one of PyYAML's parsers, in a process of its own."""
    # From small to large, so that each needs its own room.
    names = sorted(GROWING, key=lambda name: len(GROWING[name][0]))
    done = subprocess.run([sys.executable, "-c", BOUNDED, request.param], input="".join(json.dumps(GROWING[name][0]) + "\n" for name in names),
                          stdout=subprocess.PIPE, encoding="utf-8", timeout=120, check=True)
    return dict(zip(names, map(json.loads, done.stdout.splitlines())))


@pytest.mark.parametrize("name", GROWING)
def test_no_document_takes_more_than_a_second_or_a_hundred_megabytes(measured, name):
    message, seconds, megabytes = measured[name]
    assert GROWING[name][1] in message
    assert len(message) < 20000
    assert message.isprintable()
    assert seconds < 1
    assert megabytes < 100


@pytest.fixture(params=["libyaml", "python"])
def parser(request, monkeypatch):
    """One of PyYAML's parsers."""
    if request.param == "python":
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)


@pytest.mark.parametrize("text, why", [
    ("work: {vm-config/x: 2026-01-01}", "line 1, column 21: YAML reads this as a date; put it in quotes"),
    ("work: {vm-config/x: 2001-12-14t21:59:43.10-05:00}", "as a date"),
    ("work: {vm-config/x: 2026-13-45}", "as a date"),
    ("work:\n  vm-config/x: .inf\n", "line 2, column 16: a number that is not finite"),
    ("work: {vm-config/x: -.INF}", "not finite"),
    ("work: {vm-config/x: .NaN}", "not finite"),
    ("work: {vm-config/x: 1.0e+400}", "not finite"),
    ('{"work": {"vm-config/x": NaN}}', "src qubes.yml: line 1: a number that is not finite"),
    ('{"work":\n {"vm-config/x": -Infinity}}', "line 2: a number that is not finite"),
    ('{"work": {"vm-config/x": 1e999}}', "not finite"),
    ("work: {vm-config/x: !!binary aGk=}", "bytes as {base64: ...}"),
    ("work: {vm-config/x: !!set {a, b}}", "a tag that is not taken"),
    ("work: !!omap [a: b]", "a tag that is not taken"),
    ("work: !!pairs [a: b]", "a tag that is not taken"),
    ("work: {vm-config/x: !!int ''}", "does not fit its tag"),
    ("work: {vm-config/x: !!int '-'}", "does not fit its tag"),
    ("work: {vm-config/x: !!bool maybe}", "does not fit its tag"),
    ("work: {vm-config/x: ! x}", "a tag that is not taken"),
    ("work:\n  vm-config/x: !\n", "a tag that is not taken"),
    ("{[a]: b}", "a name that is no text"),
    ("? {a: b}\n: c", "a name that is no text"),
    ("!vault x: y", "a name that is no text"),
    ("a: {<<: x}", "<< merges a mapping"),
    ("a: {<<: [x]}", "<< merges a mapping"),
    ("a: {<<: ~}", "<< merges a mapping"),
    ("b: &b {x: y}\na: {<<: *b, <<: *b}", "<< is given twice"),
    ("work: *none", "alias of nothing"),
    ("work: {}\n--- {}", "line 2, column 1: a second document"),
    ("work: {vm-config/x: \0}", "holds U+0000"),
    ("work: {vm-config/x: \x07}", "holds U+0007"),
    ("work: {vm-config/x: \x9b}", "holds U+009B"),
    ("work: {vm-config/x: x\ufeffy}", "holds U+FEFF"),
    ("work: {vm-config/x: \ud800}", "half of a surrogate pair"),
    ('{"work": {"vm-config/x": "\\ud800"}}', "half of a surrogate pair"),
    ('{"\\udfff": {}}', "half of a surrogate pair"),
])
def test_what_is_no_value_is_told_with_its_place(parser, text, why):
    assert why in refused(text, decrypt=str)


@pytest.mark.parametrize("text, data", [
    ("\ufeff{}", {}),
    ("\ufeffwork: {}", {"work": {}}),
    ('{"work": {"vm-config/x": "\\u0000"}}', {"work": {"vm-config/x": "\0"}}),
    ("work: {vm-config/x: 1:59:59}", {"work": {"vm-config/x": 7199}}),
    ("work: {vm-config/x: 0x1f, vm-config/y: '0x1f'}", {"work": {"vm-config/x": 31, "vm-config/y": "0x1f"}}),
    ("work: {vm-config/x: !!str 12:30, vm-config/y: !!int '7', vm-config/z: ! '7'}", {"work": {"vm-config/x": "12:30", "vm-config/y": 7, "vm-config/z": "7"}}),
    ("work: {vm-config/x: =, vm-config/y: <<}", {"work": {"vm-config/x": "=", "vm-config/y": "<<"}}),
    ("Infinity: {}", {"Infinity": {}}),
    ("NaN: {}", {"NaN": {}}),
    ("9" * 100 + ": {}", {"9" * 100: {}}),
    (".inf: {2026-01-01: x, ~: y, 1:59.5: z, !!str 7: a, '<<': b, = : c}",
     {".inf": {"2026-01-01": "x", "~": "y", "1:59.5": "z", "7": "a", "<<": "b", "=": "c"}}),
    ("-1e999: {}", {"-1e999": {}}),
    ("work: {'<<': x}", {"work": {"<<": "x"}}),
    ("a: &a {x: '1', y: '1'}\nb: &b {y: '2', z: '2'}\nc: {z: '3', <<: [*a, *b]}",
     {"a": {"x": "1", "y": "1"}, "b": {"y": "2", "z": "2"}, "c": {"x": "1", "y": "1", "z": "3"}}),
    ("a: &a {x: '1'}\nb: &b {<<: *a, y: '2'}\nc: {<<: *b}", {"a": {"x": "1"}, "b": {"x": "1", "y": "2"}, "c": {"x": "1", "y": "2"}}),
    ("a: {<<: {x: '1'}, y: '2'}", {"a": {"x": "1", "y": "2"}}),
    ("a: &a x\nb: {*a : y}", {"a": "x", "b": {"x": "y"}}),
    ("a: &a {x: y}\nb: &a {x: z}\nc: *a", {"a": {"x": "y"}, "b": {"x": "z"}, "c": {"x": "z"}}),
    ("&a work: {}", {"work": {}}),
    ("work: |\n  a\n  b\n", {"work": "a\nb\n"}),
    ("", None),
    ("# nothing", None),
    ("---\n...\n", None),
])
def test_what_is_read_with_either_parser(parser, text, data):
    assert parse(text, "src") == data


def test_a_thousand_qubes_may_share_what_they_have():
    keys = ", ".join("vm-config/k%d: value number %d" % (key, key) for key in range(30))
    shared = "base0: &b0 {%s}\nbase1: &b1 {%s}\n" % (keys, keys)
    qubes = "".join("qube%d: {<<: [*b0, *b1], vm-config/own: x}\n" % number for number in range(1000))
    found = parse(shared + qubes, "src")
    assert len(found) == 1002
    assert len(found["qube999"]) == 31


def test_what_would_not_be_read_again_is_not_written():
    for write in (write_json, write_yaml):
        with pytest.raises(Refused, match="what would be written holds too much.*it stands as it was"):
            write({"work": {"vm-config/x": "x" * (LARGEST + 1)}})
        with pytest.raises(Refused, match="holds too much"):
            write({"work": {"k%d" % number: "" for number in range(400000)}})
    # A comma in a text is counted as if a value followed it.
    with pytest.raises(Refused, match="holds too much"):
        write_json({"work": {"vm-config/x": "," * 400000}})


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
@pytest.mark.parametrize("text", ["work: {}", "{}"])
def test_other_encodings_are_named(text, encoding):
    with pytest.raises(Refused, match="src qubes.yml is not UTF-8 but, as it seems, UTF-16"):
        from_bytes(text.encode(encoding), "qubes.yml")


def test_bytes_that_are_not_utf8_are_told_with_their_line():
    with pytest.raises(Refused, match="src qubes.yml is not UTF-8: line 3"):
        from_bytes(b"work:\n  a: b\n  b: \xff\n", "qubes.yml")


# -- vault --


def test_a_vault_value_is_decrypted_to_text():
    text = "work:\n  vm-config/x: !vault |\n    $ANSIBLE_VAULT;1.1;AES256\n    6162\n"
    asked = []
    assert parse(text, "src", lambda cipher: asked.append(cipher) or "12:30\n{{ 1 }}") == {"work": {"vm-config/x": "12:30\n{{ 1 }}"}}
    assert asked == ["$ANSIBLE_VAULT;1.1;AES256\n6162\n"]


@pytest.mark.parametrize("plain", ["\udcff", "\ud800"])
def test_a_vault_value_that_is_no_text_is_refused(plain):
    assert "not UTF-8" in refused("work: {vm-config/x: !vault x}", lambda cipher: plain)


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


def test_json_is_written_as_python_indents_it():
    data = {"b": {"y": "1", "x": "\u017c,\n\"}"}, "a": {}, "\U0001f600": {"{": ",", "z": ""}}
    assert write_json(data) == json.dumps(data, indent=2, sort_keys=True) + "\n"


@pytest.mark.parametrize("half", [r"\ud800", r"\uDFFF", r"\ude00\ud83d", r"\\\uD83D."])
@pytest.mark.parametrize("document", ['"%s"', '{"%s": {}}', '{"a": {"%s": "1"}}', '{"a": {"b": "%s"}}', '{"a": {"b": [["%s"]]}}'])
def test_half_a_pair_is_found_wherever_it_stands(document, half):
    with pytest.raises(Refused, match="half of a surrogate pair"):
        parse(document % half, "src")
    parse(document % r"\ud83d\ude00 \\ud83d", "src")


@pytest.mark.parametrize("opening, closing", [("[", "]"), ('{"a":', "}")])
def test_the_deepest_level_holds_no_more(opening, closing):
    parse(opening * 32 + "1" + closing * 32, "src")
    parse(opening * 32 + "{}" + closing * 32, "src")
    with pytest.raises(Refused, match="nested deeper than 32 levels"):
        parse(opening * 33 + "1" + closing * 33, "src")


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
