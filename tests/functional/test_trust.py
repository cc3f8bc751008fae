# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A qube may write anything into its keys: it is never evaluated, does nothing to a terminal, and a secret is nowhere to be seen."""

from __future__ import annotations

import json
import os
import unicodedata

import pytest
from harness import ESCAPES, UnsafeLoader, yaml
from playing import environment, keys, keys_info, look_up, play, said

SECRET = "c2VjcmV0IGVudHJvcHkgb2YgdGhlIHF1YmU="
OTHER_SECRET = "YW5vdGhlciBzZWNyZXQgb2YgdGhlIHF1YmU="


# -- templates --


@pytest.fixture(name="hostile", scope="module")
def hostile_everywhere(xen, tmp_path_factory):
    """One play that moves a hostile value along every way there is; where it stands, and the marker that it would leave."""
    from conftest import running_lab

    folder = tmp_path_factory.mktemp("hostile")
    marker = folder / "MARKER"
    value = "{{ lookup('pipe', 'touch %s') }}" % marker
    others = {"vm-config/more": "{%% set x = lookup('pipe', 'touch %s') %%}" % marker, "vm-config/comment": "{# x #}", "vm-config/item": "{{ item }}"}
    values = {"vm-config/x": value, **others}
    (folder / "store.json").write_text(json.dumps({"work": {**values, "qubes-timezone": value}}))
    (folder / "store.yml").write_text("work:\n" + "".join("  %s: %s\n" % (key, json.dumps(text)) for key, text in values.items()))
    (folder / "unsafe.yml").write_text("work:\n" + "".join("  %s: !unsafe %s\n" % (key, json.dumps(text)) for key, text in values.items()))
    (folder / "show.j2").write_text("{{ read.qubes.work.config.vm_config.x }}\n{{ found }}\n")
    for name in ("json", "yml", "unsafe"):
        (folder / ("target_%s.json" % name)).write_text('{"work": {}}')
    lab = running_lab()
    try:
        # The last: a list of it, as a template engine with native types would see one.
        for key, text in {**values, "qubes-timezone": value, "vm-config/listed": "[%s]" % value}.items():
            lab.write("/local/domain/7/" + key, text)
        lab.write("/local/domain/8/name", value)
        tasks = {}
        for name, url in {"live": lab.url, "json": "file://%s" % (folder / "store.json"), "yml": "file://%s" % (folder / "store.yml"),
                          "unsafe": "file://%s" % (folder / "unsafe.yml")}.items():
            read = "result_of_info_" + name
            found = "{{ lookup('qubes.vmconfig.key', 'vm-config/x', qube='work', store=%r) }}" % url
            tasks.update({
                "info_" + name: keys_info(qubes=["work"], raw=True, store=url),
                "debug_" + name: {"ansible.builtin.debug": {"msg": "{{ %s }}" % read}},
                "debug_var_" + name: {"ansible.builtin.debug": {"var": read + ".qubes.work.raw"}},
                "fact_" + name: {"ansible.builtin.set_fact": {"again": "{{ %s.qubes.work.config.vm_config.x }}" % read}},
                "fact_used_" + name: {"ansible.builtin.set_fact": {"said": "{{ again }}"}},
                "loop_" + name: {"ansible.builtin.debug": {"msg": "{{ item }}"}, "loop": "{{ %s.qubes.work.config.vm_config.values() | list }}" % read},
                "lookup_" + name: look_up(["vm-config/x"], qube="work", store=url),
                "lookup_glob_" + name: look_up(["vm-config/*"], qube="work", store=url),
                "lookup_typed_" + name: look_up(["vm-config/x"], qube="work", store=url, typed="true"),
                "lookup_twice_" + name: {"ansible.builtin.set_fact": {"said": "{{ found }}"}, "vars": {"found": found}},
            })
            tasks["template_" + name] = {"ansible.builtin.template": {"src": "show.j2", "dest": str(folder / ("shown_" + name))},
                                         "vars": {"read": "{{ %s }}" % read, "found": found}}
        tasks.update({
            "invalid_lookup": look_up(["qubes-timezone"], qube="work", store=lab.url),
            "domains": keys_info(qubes=["*"], keys=["name"], raw=True, store=lab.url),
            "no_such_qube": keys_info(qubes=["vault"], store=lab.url),
            "src_json": keys(src="store_for_src.json", store="file://%s" % (folder / "target_json.json")),
            "src_yml": keys(src="store.yml", store="file://%s" % (folder / "target_yml.json")),
            "src_unsafe": keys(src="unsafe.yml", store="file://%s" % (folder / "target_unsafe.json")),
            "written_back": keys(qube="work", keys={"vm-config/new": "x"}, store="file://%s" % (folder / "store.yml")),
        })
        (folder / "store_for_src.json").write_text(json.dumps({"work": values}))
        yield play(folder, tasks, env=environment(ANSIBLE_PIPELINING="0")), folder, value, values
    finally:
        lab.stop()


def test_nothing_of_it_was_evaluated(hostile):
    assert not os.path.exists(hostile[1] / "MARKER")


@pytest.mark.parametrize("store", ["live", "json", "yml", "unsafe"])
def test_it_arrives_as_it_is(hostile, store):
    played, folder, value, values = hostile
    results = played.results
    config = results["info_" + store]["qubes"]["work"]["config"]["vm_config"]
    assert {"vm-config/" + name: text for name, text in config.items() if name != "listed"} == values
    assert said(results["fact_used_" + store]) == value
    assert said(results["lookup_" + store]) == said(results["lookup_typed_" + store]) == [value]
    assert said(results["lookup_twice_" + store]) == value
    assert said(results["lookup_glob_" + store])[0]["vm-config/x"] == value
    assert (folder / ("shown_" + store)).read_text() == "%s\n%s\n" % (value, value)
    assert results["debug_" + store]["msg"]["qubes"]["work"]["raw"]["vm-config/x"] == value
    assert value in [each["msg"] for each in results["loop_" + store]["results"]]


@pytest.mark.parametrize("name", ["json", "yml", "unsafe"])
def test_a_declaration_is_stored_as_it_is(hostile, name):
    played, folder, value, values = hostile
    assert played.results["src_" + name]["changed"] is True
    assert json.loads((folder / ("target_%s.json" % name)).read_text()) == {"work": values}


def test_a_file_store_that_is_written_back_marks_it(hostile):
    played, folder, value, values = hostile
    text = (folder / "store.yml").read_text()
    assert yaml.load(text, UnsafeLoader) == {"work": {**values, "vm-config/new": "x"}}
    assert text.count("!unsafe") == len(values)


def test_an_error_quotes_it_without_evaluating_it(hostile):
    assert hostile[0].results["invalid_lookup"]["failed"] is True
    assert "touch" in hostile[0].results["invalid_lookup"]["msg"]


# -- terminals --


def acts_on_a_terminal(output):
    """What in Ansible's raw output a terminal would act on, but for the ends of its own lines."""
    return sorted({hex(ord(character)) for character in output.decode("utf-8", "surrogateescape")
                   if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and character != "\n"})


@pytest.mark.parametrize("kind", ["xenstore", "file"])
def test_no_escape_sequence_reaches_the_terminal(lab, tmp_path, kind):
    """Through diffs, in check mode and not, and through the errors of modules and of the lookup."""
    hostile = "before " + ESCAPES
    if kind == "xenstore":
        url = lab.url
        for key in ("vm-config/x", "vm-config/gone", "qubes-timezone"):
            lab.write("/local/domain/7/" + key, hostile)
        lab.write("/local/domain/7/vm-config/bytes", b"\x9b31m\x1b[2J\xff")
        lab.write("/local/domain/8/name", hostile)
    else:
        url = "file://%s" % (tmp_path / "store.json")
        work = {"vm-config/x": hostile, "vm-config/gone": hostile, "qubes-timezone": hostile, hostile: "x"}
        (tmp_path / "store.json").write_text(json.dumps({"work": work, hostile: {}}))
    ours = ESCAPES + " after"
    wanted = {"vm-config/x": ours, "vm-config/gone": None, "vm-config/new": ours, "qubes-timezone": "UTC", "vm-config/bytes": None}
    write = keys(qubes={"work": wanted}, store=url)
    played = play(tmp_path, {
        "invalid": {**look_up(["qubes-timezone"], qube="work", store=url)},
        "check": {**write, "check_mode": True},
        "write": write,
        "refused_value": keys(qubes={"work": dict.fromkeys(["qubes-timezone", "qubes-ip", "qubes-debug-mode", "keyboard-layout"], hostile)}, store=url),
        "refused_name": keys(qubes={"work": {hostile: "x"}}, store=url),
        "refused_qube": keys(qubes={hostile + "x": {"qubes-timezone": "UTC"}}, store=url),
        "refused_purge": keys(qubes={"work": {}}, purge=[hostile], store=url),
        "no_qube": keys_info(qubes=["vault"], store=url),
        "no_key": look_up(["vm-config/none"], qube="work", store=url),
        "no_name": look_up(["x" + ESCAPES.replace("[", "")], qube="work", store=url),
        "no_option": {"ansible.builtin.debug": {"msg": "{{ lookup('qubes.vmconfig.key', 'name', **bad) }}"}, "vars": {"bad": {"x\x1b[2J": 1}}},
    }, args=["--diff"])
    diff = played.results["write"]["diff"][0]
    assert "before \\x1b[31mred\\x1b]0;title\\x07\\u009b2J\\u202etxt.exe\\u2066\\u2028end\\u0085" in diff["before"]
    assert "\\u202etxt.exe\\u2066\\u2028end\\u0085 after" in diff["after"]
    assert played.results["check"]["diff"] == played.results["write"]["diff"]
    for name in ("invalid", "refused_value", "refused_name", "refused_qube", "refused_purge", "no_qube", "no_key", "no_name", "no_option"):
        assert played.results[name]["failed"] is True, name
        assert "\x1b" not in played.results[name]["msg"]
        assert "\u202e" not in played.results[name]["msg"]
    assert "+vm-config/new: " in played.text
    assert acts_on_a_terminal(played.output) == []


# -- secrets --


@pytest.fixture(name="told", scope="module")
def everything_that_is_told_of_a_secret(xen, tmp_path_factory):
    """One play at -vvvv with a diff and a log, over all that could show the secret: what it printed, logged and returned."""
    from conftest import running_lab

    folder = tmp_path_factory.mktemp("secret")
    lab = running_lab()
    try:
        lab.write("/local/domain/7/qubes-random-seed", SECRET)
        path = folder / "store.json"
        path.write_text(json.dumps({"work": {"qubes-random-seed": SECRET, "qubes-timezone": "UTC"}}))
        (folder / "number.yml").write_text("work:\n  qubes-random-seed: [%s]\n" % SECRET)
        (folder / "broken.yml").write_text("work:\n  qubes-random-seed: @%s\n" % SECRET)
        (folder / "half.json").write_text('{"work": {"qubes-random-seed": "%s' % SECRET)
        (folder / "declared.yml").write_text("work:\n  qubes-random-seed: %s\n" % OTHER_SECRET)
        (folder / "declared_broken.yml").write_text("work:\n  qubes-random-seed: @%s\n" % OTHER_SECRET)
        # Where Ansible itself shows a line of the playbook, the value is not in it.
        (folder / "vars.json").write_text(json.dumps({"other_secret": OTHER_SECRET}))
        store = "file://%s" % path
        tasks = {}
        for name, url in {"live": lab.url, "file": store}.items():
            tasks.update({
                "info_" + name: keys_info(qubes=["work"], raw=True, store=url),
                "all_" + name: keys_info(qubes=["work"], keys=["*"], raw=True, store=url),
                "asked_" + name: keys_info(qubes=["work"], keys=["qubes-random-seed"], raw=True, store=url),
                "lookup_" + name: look_up(["qubes-random-seed"], qube="work", store=url),
                "lookup_glob_" + name: look_up(["*"], qube="work", store=url),
                "other_key_" + name: keys(qube="work", keys={"qubes-timezone": "Asia/Tokyo"}, store=url),
                "would_remove_" + name: {**keys(qube="work", keys={"qubes-random-seed": None}, store=url), "check_mode": True},
                "remove_" + name: keys(qube="work", keys={"qubes-random-seed": None}, store=url),
            })
        tasks.update({
            "set": keys(qubes={"work": {"qubes-random-seed": "{{ other_secret }}"}}, store=lab.url),
            "set_bytes": keys(qube="work", keys={"/qubes-random-seed": {"base64": "{{ other_secret }}"}}, store=lab.url),
            "set_list": keys(qube="work", keys={"qubes-random-seed": ["{{ other_secret }}"]}, store=lab.url),
            "set_text": keys(qube="work", keys="qubes-random-seed={{ other_secret }}", store=lab.url),
            "set_json": keys(qubes="{{ {'work': {'qubes-random-seed': other_secret}} | to_json }}", store=lab.url),
            "set_unknown": keys(qube="work", keys={"qubes-random-seed": "{{ other_secret }}"}, unknown="allow", store=lab.url),
            "src": keys(src="declared.yml", store=lab.url),
            "src_broken": keys(src="declared_broken.yml", store=lab.url),
            "remote": keys(src=str(folder / "declared.yml"), remote_src=True, store=lab.url),
            "remote_broken": keys(src=str(folder / "declared_broken.yml"), remote_src=True, store=lab.url),
        })
        for name in ("number.yml", "broken.yml", "half.json"):
            tasks["shape_" + name.replace(".", "_")] = keys_info(store="file://%s" % (folder / name))
            tasks["lookup_shape_" + name.replace(".", "_")] = look_up(["qubes-timezone"], qube="work", store="file://%s" % (folder / name))
        log = folder / "ansible.log"
        with lab.watch("/local/domain/7") as watch:
            played = play(folder, tasks, args=["-vvvv", "--diff", "-e", "@vars.json"], env=environment(ANSIBLE_LOG_PATH=str(log)))
            events = watch.events
        return played, log.read_text(), events, lab.ls("/local/domain/7"), json.loads(path.read_text())
    finally:
        lab.stop()


def test_a_secret_is_in_no_output_no_log_and_no_result(told):
    played, log, events, nodes, stored = told
    for where, text in {"the output": played.text, "the log": log, "the results": json.dumps(played.results)}.items():
        for secret in (SECRET, OTHER_SECRET):
            lines = [line for line in text.splitlines() if secret.rstrip("=") in line] if where != "the results" else []
            assert not lines, "%s: %s" % (where, lines[0][:600])
    assert [name for name, result in played.results.items() if SECRET.rstrip("=") in json.dumps(result) or OTHER_SECRET.rstrip("=") in json.dumps(result)] == []
    # There was something to see.
    assert "qubes-random-seed" in played.text
    assert len(log) > 10000


@pytest.mark.parametrize("form", ["set", "set_bytes", "set_list", "set_text", "set_json", "set_unknown", "src"])
def test_setting_a_secret_is_refused_before_it_is_sent(told, form):
    result = told[0].results[form]
    assert result["failed"] is True
    assert "qubes-random-seed" in result["msg"]
    assert "Nothing was sent" in result["msg"]


def test_a_secret_in_a_file_of_the_target_is_refused_there(told):
    result = told[0].results["remote"]
    assert result["failed"] is True
    assert "'qubes-random-seed'" in result["msg"]


@pytest.mark.parametrize("store", ["live", "file"])
def test_a_secret_can_be_removed_and_the_diff_hides_it(told, store):
    played, log, events, nodes, stored = told
    for name in ("would_remove_", "remove_"):
        assert played.results[name + store]["diff"][0]["before"] == "qubes-random-seed: (a secret)\n"
        assert played.results[name + store]["changed"] is True
    assert "/local/domain/7/qubes-random-seed" not in nodes
    assert stored == {"work": {"qubes-timezone": "Asia/Tokyo"}}


def test_nothing_else_was_written(told):
    assert sorted(told[2]) == ["/local/domain/7/qubes-random-seed", "/local/domain/7/qubes-timezone"]


@pytest.mark.parametrize("store", ["live", "file"])
def test_reading_leaves_a_secret_out(told, store):
    results = told[0].results
    assert "random_seed" not in results["info_" + store]["qubes"]["work"]["config"]
    assert "qubes-random-seed" not in results["all_" + store]["qubes"]["work"]["raw"]
    assert results["all_" + store]["qubes"]["work"]["raw"]["qubes-timezone"] == "UTC"
    for name in ("asked_", "lookup_"):
        assert results[name + store]["failed"] is True
        assert "secret" in results[name + store]["msg"]
