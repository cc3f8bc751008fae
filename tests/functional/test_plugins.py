# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plugins as a user meets them: through ansible-playbook, on a real xenstored and on files, read back by other means."""

from __future__ import annotations

import json
import subprocess

import pytest
from harness import ESCAPES, SEED
from playing import command, environment, keys, keys_info, look_up, play, said

FLEET = {
    "vm%03d" % number: {
        "qubes-timezone": "Europe/Warsaw",
        "keyboard-layout": "us,se++grp:switch",
        "qubes-debug-mode": number % 2 == 0,
        "qubes-vm-updateable": False,
        "qubes-gui-videoram-min": number,
        "qubes-keyboard": None,
        **{"qubes-service/s%d" % service: True for service in range(5)},
        **{"vm-config/k%02d" % key: "%d\n{{ %d }}" % (number, key) for key in range(20)},
    } for number in range(100)
}
# One of the thirty-one is removed, so thirty are there.
STORED = {
    "vm%03d" % number: {
        "qubes-timezone": b"Europe/Warsaw",
        "keyboard-layout": b"us,se++grp:switch",
        "qubes-debug-mode": b"1" if number % 2 == 0 else b"0",
        "qubes-vm-updateable": b"False",
        "qubes-gui-videoram-min": b"%d" % number,
        **{"qubes-service/s%d" % service: b"1" for service in range(5)},
        **{"vm-config/k%02d" % key: b"%d\n{{ %d }}" % (number, key) for key in range(20)},
    } for number in range(100)
}


def domid_of(qube):
    return 100 + int(qube[2:])


def nodes_of(values):
    return {"/local/domain/%d/%s" % (domid_of(qube), key): value for qube, held in values.items() for key, value in held.items()}


# -- a hundred qubes --


def test_thirty_keys_on_each_of_a_hundred_qubes(lab, tmp_path):
    lab.add_domains([(domid_of(qube), qube, {"qubes-keyboard": "old", "qubes-vm-updateable": "False"}) for qube in FLEET])
    (tmp_path / "fleet.json").write_text(json.dumps(FLEET))
    task = {**keys(src="fleet.json"), "diff": True}
    listing = {"ansible.builtin.command": {"argv": ["xenstore-ls", "-f", "/local/domain"]}, "environment": lab.environment(), "check_mode": False}
    with lab.watch("/local/domain") as watch:
        before = lab.tool("ls", "-f", "/local/domain")
        results = play(tmp_path, {
            "in_check_mode": {**task, "check_mode": True},
            "between": listing,
            "applied": task,
            "again": task,
            "again_in_check_mode": {**task, "check_mode": True},
        }, {"dom0": {"vmconfig_store": lab.url}}).results
        events = watch.events

    assert results["between"]["stdout"].encode() == before.rstrip(b"\n")
    nodes = lab.ls("/local/domain")
    expected = nodes_of(STORED)
    assert {node: value for node, value in nodes.items() if node in expected} == expected
    assert not [node for node in nodes if node.endswith("qubes-keyboard")]

    for told in ("changed", "diff", "qubes"):
        assert results["in_check_mode"][told] == results["applied"][told]
    assert results["applied"]["changed"] is True
    assert sorted(results["applied"]["qubes"]) == sorted(FLEET)
    for qube, told in results["applied"]["qubes"].items():
        # qubes-vm-updateable was right already.
        assert set(told["changed_keys"]) == set(told["lasts"]) == set(told["effective"]) == set(FLEET[qube]) - {"qubes-vm-updateable"}
        assert set(told["lasts"].values()) == {"until_restart"}
        assert told["effective"]["vm-config/k00"] == "now"
        assert told["effective"]["qubes-timezone"] == "restart"
    assert len(results["applied"]["diff"]) == 100
    assert "qubes-timezone: 'Europe/Warsaw'" in results["applied"]["diff"][0]["after"]

    # Nothing more to change, so nothing written: each key was written once, and no watch fired for another reason.
    for run in ("again", "again_in_check_mode"):
        assert results[run]["changed"] is False
        assert results[run]["diff"] == []
        assert all(told["changed_keys"] == [] for told in results[run]["qubes"].values())
    assert len(events) == len(set(events)) == 100 * (len(FLEET["vm000"]) - 1)


# -- what is refused --

REFUSED = {
    "a_misspelled_key": ({"qubes-timezon": "UTC"}, ["'qubes-timezon'", "qubes-timezone?"]),
    "a_misspelled_directory": ({"vm-conifg/x": "a"}, ["'vm-conifg/x'", "vm-config/x?"]),
    "a_path_for_a_zone": ({"qubes-timezone": "../../etc/passwd"}, ["'qubes-timezone'", "'../../etc/passwd'", "Europe/Warsaw"]),
    "a_zone_of_two_lines": ({"qubes-timezone": "Europe/Warsaw\nPoland"}, ["'qubes-timezone'", "Europe/Warsaw\\nPoland", "expected a zone"]),
    "no_boolean": ({"qubes-debug-mode": "maybe"}, ["'qubes-debug-mode'", "'maybe'", "expected a boolean"]),
    "no_address": ({"qubes-ip": "10.0.0.999"}, ["'qubes-ip'", "'10.0.0.999'", "expected an IPv4 address"]),
    "a_long_name_of_a_service": ({"qubes-service/" + "a" * 49: True}, ["a" * 49, "at most 48"]),
    "a_value_over_the_stores_size": ({"vm-config/x": "x" * 4096}, ["'vm-config/x'", "bytes at the most", "4096"]),
    "a_nul": ({"vm-config/x": "a\0b"}, ["'vm-config/x'", "a\\x00b", "NUL"]),
    "an_unquoted_time": ({"vm-config/x": 750}, ["'vm-config/x'", "750", "quote it"]),
    "twice_by_its_alias": ({"qubes-vm-updatable": True, "qubes-vm-updateable": True}, ["'qubes-vm-updatable'", "given twice"]),
    "twice_by_a_slash": ({"qubes-timezone": "UTC", "/qubes-timezone": "UTC"}, ["'/qubes-timezone'", "given twice"]),
    "nothing_for_a_qube": (None, ["mapping"]),
}
DUPLICATES = {"json": '{"personal": {"qubes-timezone": "UTC"}, "work": {"qubes-ip": "10.0.0.1", "qubes-ip": "10.0.0.1"}}',
              "yml": "personal: {qubes-timezone: UTC}\nwork:\n  qubes-ip: 10.0.0.1\n  qubes-ip: 10.0.0.1\n"}


@pytest.fixture(name="refused", scope="module")
def refused_tasks(xen, tmp_path_factory):
    """One play of tasks that are all to fail, and the watch events of the time."""
    from conftest import running_lab

    folder = tmp_path_factory.mktemp("refused")
    # A good key stands before the bad ones: it must not be written.
    tasks = {
        "all_at_once": keys(qubes={"personal": {"qubes-timezone": "UTC"}, **{name: bad for name, (bad, says) in REFUSED.items()}}),
        "one": keys(qubes={"personal": {"qubes-timezone": "UTC"}, "work": REFUSED["no_boolean"][0]}),
        "a_secret_beside": keys(qube="personal", keys={"qubes-timezone": "UTC"}, qubes={"work": {"qubes-random-seed": "c2VjcmV0"}}),
        "a_secret": keys(qubes={"personal": {"qubes-timezone": "UTC"}, "work": {"qubes-random-seed": "c2VjcmV0"}}),
    }
    for suffix, text in DUPLICATES.items():
        (folder / ("twice." + suffix)).write_text(text)
        tasks["twice_in_" + suffix] = keys(src="twice." + suffix)
    (folder / "list.yml").write_text("[work]")
    (folder / "null.yml").write_text("personal: {qubes-timezone: UTC}\nwork:\n")
    good = {"work": {"qubes-timezone": "Asia/Tokyo"}}
    tasks.update({
        "a_list_for_src": keys(src="list.yml"),
        "null_in_src": keys(src="null.yml"),
        "no_such_src": keys(src="none.yml"),
        "no_such_remote_src": keys(src=str(folder / "none.yml"), remote_src=True),
        "a_qube_that_is_not_there": keys(qubes={**good, "vault": {"qubes-timezone": "UTC"}}),
        "a_purge_that_is_none": keys(qubes=good, purge=["qubes-sevice/"]),
        "an_access_without_permissions": keys(qubes=good, access="read", store="file://%s/store.json" % folder),
        "no_store": keys(qubes=good, store="http://x"),
        "no_timeout": keys(qubes=good, store_timeout=0),
        "nothing_to_do": keys(),
        "two_forms": keys(qubes=good, qube="work", keys={}),
        "a_qube_without_keys": keys(qube="work"),
        "no_such_access": keys(qubes=good, access="owner"),
    })
    (folder / "store.json").write_text(json.dumps(SEED))
    lab = running_lab()
    try:
        with lab.watch("/local/domain") as watch:
            played = play(folder, tasks, {"dom0": {"vmconfig_store": lab.url}})
            return played, watch.events, (folder / "store.json").read_text()
    finally:
        lab.stop()


def failure(played, name):
    result = played.results[name]
    assert result["failed"] is True
    assert "Traceback" not in json.dumps(result)
    return result["msg"]


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_qube_the_key_the_value_and_what_was_expected(refused, name):
    """One message lists all that is wrong; each entry is whole."""
    message = failure(refused[0], "all_at_once")
    entry, = [each for each in message.split("; (") if "'%s'" % name in each]
    for text in REFUSED[name][1]:
        assert text in entry
    assert message.startswith("%d problems, nothing was written" % len(REFUSED))
    assert "personal" not in message


@pytest.mark.parametrize("name, says", [
    ("one", ["qube 'work', key 'qubes-debug-mode': the value 'maybe' is refused: expected a boolean", "Nothing was written"]),
    ("a_secret_beside", ["mutually exclusive"]),
    ("a_secret", ["'work'", "'qubes-random-seed'", "only be removed", "Nothing was sent"]),
    ("twice_in_json", ["twice.json", "'qubes-ip'", "given twice"]),
    ("twice_in_yml", ["twice.yml", "'qubes-ip'", "given twice"]),
    ("a_list_for_src", ["list.yml", "mapping"]),
    ("null_in_src", ["'work'", "mapping"]),
    ("no_such_src", ["none.yml"]),
    ("no_such_remote_src", ["none.yml", "No such file"]),
    ("a_qube_that_is_not_there", ["'vault'", "xenstore://", "'work', 'personal'"]),
    ("a_purge_that_is_none", ["'qubes-sevice/'", "qubes-service/"]),
    ("an_access_without_permissions", ["access", "read", "permissions", "store.json"]),
    ("no_store", ["'http://x'", "xenstore:///PATH"]),
    ("no_timeout", ["store_timeout"]),
    ("nothing_to_do", ["qubes", "src"]),
    ("two_forms", ["mutually exclusive"]),
    ("a_qube_without_keys", ["keys"]),
    ("no_such_access", ["access", "owner"]),
])
def test_refused(refused, name, says):
    message = failure(refused[0], name)
    for text in says:
        assert text in message


def test_what_is_refused_is_not_written(refused):
    assert refused[1] == []
    assert json.loads(refused[2]) == SEED


# -- the ways to declare, and the stores --

VAULT_PASSWORD = "correct horse"


def vault(folder, *args, text=""):
    """Encrypts with ansible-vault."""
    command_line = [command("ansible-vault"), *args, "--vault-password-file", "password"]
    return subprocess.run(command_line, input=text, stdout=subprocess.PIPE, check=True, encoding="utf-8", env=environment(), cwd=folder).stdout


@pytest.fixture(name="declared", scope="module")
def declared_in_all_ways(xen, tmp_path_factory):
    """One play over all forms of a declaration; each task has a file store of its own."""
    folder = tmp_path_factory.mktemp("declared")
    (folder / "password").write_text(VAULT_PASSWORD)
    declaration = "work:\n  vm-config/x: '{{ 40 + 2 }}'\n  vm-config/y: !unsafe '{{ 40 + 2 }}'\n  qubes-timezone: Asia/Tokyo\n"
    (folder / "plain.yml").write_text(declaration)
    (folder / "plain.json").write_text(json.dumps({"work": {"vm-config/x": "{{ 40 + 2 }}", "vm-config/y": "{{ 40 + 2 }}", "qubes-timezone": "Asia/Tokyo"}}))
    (folder / "whole.yml").write_text(declaration)
    vault(folder, "encrypt", "whole.yml")
    value = vault(folder, "encrypt_string", "--stdin-name", "vm-config/x", text="{{ 40 + 2 }}").strip("\n")
    (folder / "value.yml").write_text("work:\n  %s\n  vm-config/y: '{{ 40 + 2 }}'\n  qubes-timezone: Asia/Tokyo\n" % value.replace("\n", "\n  "))
    (folder / "value_only.yml").write_text((folder / "value.yml").read_text())
    stores = {}

    def place(name, seed=None):
        stores[name] = folder / (name + ".store.json")
        stores[name].write_text(json.dumps(SEED if seed is None else seed))
        return "file://%s" % stores[name]

    services = {"work": {"qubes-service/%s" % name: "1" for name in ("cups", "old", "older")}, "personal": {"qubes-service/old": "1"}}
    zone = {"qubes-timezone": "Asia/Tokyo"}
    tasks = {
        "plain_yml": keys(src="plain.yml", store=place("plain_yml")),
        "plain_json": keys(src="plain.json", store=place("plain_json")),
        "whole": keys(src="whole.yml", store=place("whole")),
        "value": keys(src="value.yml", store=place("value")),
        "remote": keys(src=str(folder / "plain.json"), remote_src=True, store=place("remote")),
        "remote_vault": keys(src=str(folder / "whole.yml"), remote_src=True, store=place("remote_vault")),
        "remote_vault_value": keys(src=str(folder / "value_only.yml"), remote_src=True, store=place("remote_vault_value")),
        "one_qube": keys(qube="work", keys=zone, store=place("one_qube")),
        "variables": {**keys(qube="{{ name }}", keys="{{ zone }}", store=place("variables")), "vars": {"name": "work", "zone": zone}},
        "numbers": {**keys(qube="work", keys={"qubes-service/x": "{{ on }}", "qubes-gui-videoram-min": "{{ 40 + 2 }}"}, store=place("numbers")),
                    "vars": {"on": "{{ 1 == 1 }}"}},
        "skipped": keys(qubes={"work": zone, "vault": zone}, missing="skip", store=place("skipped")),
        "all_skipped": keys(qubes={"vault": zone}, missing="skip", store=place("all_skipped")),
        "purged": {**keys(qubes={"work": {"qubes-service/cups": True, "qubes-service/new": False}}, purge=["qubes-service/"],
                          store=place("purged", services)), "diff": True},
        "purged_all": keys(qubes={"work": {}, "personal": {}}, purge=["qubes-service"], store=place("purged_all", services)),
        "unknown": keys(qube="work", keys={"no-such-key": "x", "other/no.such:key": "y"}, unknown="allow", store=place("unknown")),
        "bytes": keys(qube="work", keys={"vm-config/x": {"base64": "/wo="}}, store=place("bytes")),
        "a_yaml_store": keys(qube="work", keys={"vm-config/x": "12:30"}, store="file://%s" % (folder / "store.yml")),
        # by variables
        "of_the_target": keys(qube="work", keys=zone),
        "of_the_delegate": {**keys(qube="work", keys=zone), "delegate_to": "other"},
        "of_the_environment": {**keys(qube="work", keys=zone), "delegate_to": "bare"},
        "of_the_tasks_environment": {**keys(qube="work", keys=zone), "delegate_to": "bare",
                                     "environment": {"QUBES_VMCONFIG_STORE": place("of_the_tasks_environment")}},
        "option_before_variable": keys(qube="work", keys=zone, store=place("option_before_variable")),
        "by_module_defaults": {**keys(qube="work", keys=zone), "delegate_to": "bare",
                               "module_defaults": {"group/qubes.vmconfig.vmconfig": {"store": place("by_module_defaults")}}},
    }
    (folder / "store.yml").write_text("work: {qubes-timezone: UTC}\n")
    hosts = {
        "dom0": {"vmconfig_store": "{{ scheme }}" + place("of_the_target")[4:], "scheme": "file"},
        "other": {"vmconfig_store": place("of_the_delegate")},
        "bare": {},
    }
    played = play(folder, tasks, hosts, args=["--vault-password-file", "password"], env=environment(QUBES_VMCONFIG_STORE=place("of_the_environment")))
    return played, {name: json.loads(path.read_text()) for name, path in stores.items()}, folder


TEMPLATES = {"vm-config/x": "{{ 40 + 2 }}", "vm-config/y": "{{ 40 + 2 }}", "qubes-timezone": "Asia/Tokyo"}


@pytest.mark.parametrize("name", ["plain_yml", "plain_json", "whole", "value", "remote"])
def test_a_declaration_in_a_file_is_taken_as_it_is(declared, name):
    played, stores, folder = declared
    assert played.results[name]["changed"] is True, played.results[name]
    assert stores[name]["work"] == {**SEED["work"], **TEMPLATES}


@pytest.mark.parametrize("name", ["remote_vault", "remote_vault_value"])
def test_vault_is_the_controllers(declared, name):
    played, stores, folder = declared
    assert "only the controller" in failure(played, name)
    assert stores[name] == SEED


@pytest.mark.parametrize("name", [
    "one_qube", "variables", "skipped", "of_the_target", "of_the_delegate", "of_the_environment", "of_the_tasks_environment", "option_before_variable",
    "by_module_defaults"])
def test_the_key_is_in_the_store_that_was_meant(declared, name):
    played, stores, folder = declared
    assert played.results[name]["changed"] is True, played.results[name]
    assert stores[name] == {**SEED, "work": {**SEED["work"], "qubes-timezone": "Asia/Tokyo"}}


def test_a_qube_that_is_not_there_is_skipped_and_told(declared):
    played, stores, folder = declared
    assert played.results["skipped"]["missing"] == ["vault"]
    assert list(played.results["skipped"]["qubes"]) == ["work"]
    assert played.results["all_skipped"]["changed"] is False
    assert stores["all_skipped"] == SEED


def test_purged(declared):
    played, stores, folder = declared
    assert stores["purged"]["work"] == {"qubes-service/cups": "1", "qubes-service/new": "0"}
    assert stores["purged"]["personal"] == {"qubes-service/old": "1"}
    assert played.results["purged"]["diff"] == [{
        "before_header": "work (file)", "after_header": "work (file)",
        "before": "qubes-service/old: '1'\nqubes-service/older: '1'\n", "after": "qubes-service/new: '0'\n"}]
    assert stores["purged_all"] == {"work": {}, "personal": {}}


def test_other_values(declared):
    played, stores, folder = declared
    assert stores["numbers"]["work"]["qubes-service/x"] == "1"
    assert stores["numbers"]["work"]["qubes-gui-videoram-min"] == "42"
    assert stores["unknown"]["work"]["no-such-key"] == "x"
    assert stores["unknown"]["work"]["other/no.such:key"] == "y"
    assert stores["bytes"]["work"]["vm-config/x"] == {"base64": "/wo="}
    assert "12:30" in (folder / "store.yml").read_text()
    assert played.results["one_qube"]["qubes"]["work"]["lasts"] == {"qubes-timezone": "persistent"}


# -- access, guests, and reading --

ODD = {
    "qubes-timezone": "../../etc/passwd",
    "vm-config/esc": ESCAPES,
    "vm-config/template": "{{ 40 + 2 }}",
    "qubes-service/cups": "1",
    "keyboard-layout": "us,se++grp:switch",
}
NETWORK = {"qubes-ip": "10.137.0.9", "qubes-netmask": "255.255.255.0", "qubes-gateway": "10.137.0.1", "qubes-primary-dns": "10.139.1.1"}


READ_IN_CHECK_MODE = ["default", "everything", "raw", "guest_default", "guest_self", "offline_default", "offline_raw", "typed"]


@pytest.fixture(name="inspected", scope="module")
def read_and_looked_up(xen, tmp_path_factory):
    """One play that reads in every way, in dom0, in a guest and offline; the same play in check mode; and the watch events of both."""
    from conftest import running_lab

    folder = tmp_path_factory.mktemp("inspected")
    lab = running_lab()
    try:
        lab.add_domain(9, "odd", {"domid": "9", "qubes-vm-type": "AppVM", **NETWORK, **ODD})
        lab.write("/local/domain/9/vm-config/bytes", b"\xff\n")
        lab.write("/local/domain/9/vm-config/denied", b"for dom0")
        lab.tool("chmod", "/local/domain/9/vm-config/denied", "n0")
        lab.write("/local/domain/9/not-in-the-table", b"1")
        store = folder / "store.json"
        store.write_text(json.dumps({"odd": {**ODD, "vm-config/bytes": {"base64": "/wo="}, "vm-config/time": "12:30", "qubes-random-seed": "c2VjcmV0",
                                             "qubes-vm-updateable": "False"}, "work": {}}))
        hosts = {"dom0": {"vmconfig_store": lab.url}, "guest": {"vmconfig_store": lab.guest(9).url}, "offline": {"vmconfig_store": "file://%s" % store}}
        tasks = {
            "default": keys_info(),
            "everything": keys_info(qubes=["*"]),
            "raw": keys_info(qubes=["odd"], raw=True),
            "named": keys_info(qubes=["odd", "work"], keys=["qubes-timezone", "/keyboard-layout"]),
            "globs": keys_info(qubes=["odd"], keys=["qubes-serv*", "vm-config/t*", "not-in*"], raw=True),
            "by_domid": keys_info(qubes=["9"], keys=["qubes-service/*"]),
            "address_only": keys_info(qubes=["odd"], keys=["qubes-ip"]),
            "gateway_only": keys_info(qubes=["odd"], keys=["qubes-gateway"]),
            "no_such_qube": keys_info(qubes=["vault"]),
            "a_secret": keys_info(qubes=["odd"], keys=["qubes-random-seed"]),
            "no_name": keys_info(qubes=["odd"], keys=["a b"]),
            "guest_default": {**keys_info(raw=True), "delegate_to": "guest"},
            "guest_self": {**keys_info(qubes=["self"], keys=["qubes-service/*"]), "delegate_to": "guest"},
            "guest_other": {**keys_info(qubes=["work"]), "delegate_to": "guest"},
            "guest_all": {**keys_info(qubes=["*"]), "delegate_to": "guest"},
            "guest_writes": {**keys(qube="self", keys={"qubes-timezone": "UTC"}), "delegate_to": "guest", "check_mode": False},
            "offline_default": {**keys_info(), "delegate_to": "offline"},
            "offline_raw": {**keys_info(qubes=["odd"], keys=["*"], raw=True), "delegate_to": "offline"},
            "offline_self": {**keys_info(qubes=["self"]), "delegate_to": "offline"},
            # the lookup, on the controller
            "one": look_up(["qubes-service/cups"], qube="odd"),
            "typed": look_up(["qubes-service/cups", "qubes-vm-updateable", "keyboard-layout", "vm-config/time"], qube="odd", typed="true"),
            "text": look_up(["qubes-service/cups", "qubes-vm-updateable", "keyboard-layout", "vm-config/time"], qube="odd"),
            "glob": look_up(["qubes-service/*", "none/*"], qube="odd"),
            "typed_glob": look_up(["qubes-service/*"], qube="odd", typed="true"),
            "every_free_text": look_up(["vm-config/*"], qube="odd"),
            "absent": look_up(["qubes-ip"], qube="odd"),
            "with_default": look_up(["qubes-ip"], qube="odd", default="10.0.0.1"),
            "with_none": look_up(["qubes-ip"], qube="odd", default="none"),
            "unknown_option": look_up(["qubes-ip"], qube="odd", defualt="x"),
            "secret": look_up(["qubes-random-seed"], qube="odd", default="x"),
            "secret_by_slash": look_up(["/qubes-random-seed"], qube="odd"),
            "secret_by_glob": look_up(["qubes-random*"], qube="odd"),
            "invalid": look_up(["qubes-timezone"], qube="odd"),
            "invalid_with_default": look_up(["qubes-timezone"], qube="odd", default="UTC"),
            "invalid_in_glob": look_up(["*zone"], qube="odd"),
            "bad_name": look_up(["a b"], qube="odd"),
            "no_qube": look_up(["qubes-ip"], qube="vault", default="x"),
            "own": look_up(["qubes-ip"], default="x"),
            "live": {**look_up(["qubes-ip"], qube="odd"), "vars": {"vmconfig_controller_store": lab.url}},
            "by_option": look_up(["qubes-ip"], qube="odd", store=lab.url),
            "bad_store": look_up(["qubes-ip"], qube="odd", store="http://x"),
            "many": look_up(["vm-config/time"] * 500 + ["qubes-service/cups"], qube="odd"),
        }
        variables = {"vmconfig_controller_store": "file://%s" % store}
        with lab.watch("/local/domain") as watch:
            plain = play(folder, tasks, hosts, variables)
            checked = play(folder, {name: tasks[name] for name in READ_IN_CHECK_MODE}, hosts, variables, args=["--check", "--diff"])
            assert watch.events == []
        access = play(folder, {
            access + mode: {**keys(qube="work", keys={"vm-config/ticket": "4711"}, access=access), "check_mode": mode == "_check", "diff": True}
            for access in ("none", "read", "write") for mode in ("_check", "", "_again")}, hosts)
        perms = lab.perms("/local/domain/7/vm-config/ticket")
        return plain, checked, access, perms
    finally:
        lab.stop()


@pytest.fixture(name="results", params=[0, 1], ids=["", "in check mode"])
def results_of_reading(request, inspected):
    """Reading is the same in check mode."""
    return inspected[request.param].results


@pytest.fixture(name="told")
def results_outside_of_check_mode(inspected):
    return inspected[0].results


def test_all_qubes_are_read_by_default(results):
    assert sorted(results["default"]["qubes"]) == sorted(results["everything"]["qubes"]) == ["odd", "personal", "work"]
    assert results["default"]["changed"] is False
    assert results["default"]["qubes"]["work"]["config"]["timezone"] == "UTC"
    assert results["default"]["qubes"]["work"]["config"]["services"] == {"cups": True}
    assert results["default"]["qubes"]["work"]["invalid"] == {}
    assert "raw" not in results["default"]["qubes"]["work"]


def test_what_is_invalid_is_set_apart_and_escaped(results):
    odd = results["default"]["qubes"]["odd"]
    assert list(odd["invalid"]) == ["qubes-timezone", "vm-config/bytes"] or list(odd["invalid"]) == ["qubes-timezone"]
    assert odd["invalid"]["qubes-timezone"]["value"] == "'../../etc/passwd'"
    assert "Europe/Warsaw" in odd["invalid"]["qubes-timezone"]["reason"]
    assert "timezone" not in odd["config"]
    assert odd["config"]["keyboard"] == {"layout": "us,se", "variant": "", "options": "grp:switch"}
    assert odd["config"]["vm_config"]["template"] == "{{ 40 + 2 }}"
    assert odd["config"]["vm_config"]["esc"] == ESCAPES
    assert odd["config"]["network"] == {
        "ip": "10.137.0.9", "netmask": "255.255.255.0", "gateway": "10.137.0.1", "primary_dns": "10.139.1.1", "prefix": 24, "dns": ["10.139.1.1"]}
    assert odd["denied"] == []


def test_raw_is_exact(results):
    raw = results["raw"]["qubes"]["odd"]["raw"]
    assert {key: raw[key] for key in ODD} == ODD
    assert raw["vm-config/bytes"] == {"base64": "/wo="}
    assert raw["vm-config/denied"] == "for dom0"
    assert results["offline_raw"]["qubes"]["odd"]["raw"]["vm-config/bytes"] == {"base64": "/wo="}
    assert "qubes-random-seed" not in results["offline_raw"]["qubes"]["odd"]["raw"]


def test_names_and_globs(told):
    named = told["named"]["qubes"]
    assert named["odd"]["config"] == {"keyboard": {"layout": "us,se", "variant": "", "options": "grp:switch"}}
    assert list(named["odd"]["invalid"]) == ["qubes-timezone"]
    assert named["work"]["config"] == {"timezone": "UTC"}
    globs = told["globs"]["qubes"]["odd"]
    assert globs["config"] == {"services": {"cups": True}, "vm_config": {"template": "{{ 40 + 2 }}"}}
    assert sorted(globs["raw"]) == ["not-in-the-table", "qubes-service/cups", "vm-config/template"]
    assert told["by_domid"]["qubes"]["9"]["config"] == {"services": {"cups": True}}


def test_what_was_not_asked_for_is_not_taken_for_absent(told):
    """The netmask and the resolver are there, so nothing stands in for them."""
    assert told["address_only"]["qubes"]["odd"]["config"]["network"].get("prefix") in (None, 24)
    assert told["gateway_only"]["qubes"]["odd"]["config"]["network"].get("dns") in (None, ["10.139.1.1"])


def test_inside_a_guest(results):
    own = results["guest_default"]["qubes"]
    assert list(own) == ["self"]
    assert own["self"]["denied"] == ["vm-config/denied"]
    assert own["self"]["raw"]["vm-config/template"] == "{{ 40 + 2 }}"
    assert results["guest_self"]["qubes"]["self"]["config"] == {"services": {"cups": True}}


def test_offline(results):
    assert sorted(results["offline_default"]["qubes"]) == ["odd", "work"]
    assert results["offline_default"]["qubes"]["work"] == {"config": {}, "invalid": {}, "denied": []}


@pytest.mark.parametrize("name, says", [
    ("no_such_qube", ["'vault'", "xenstore://", "work"]),
    ("a_secret", ["'qubes-random-seed'", "secret"]),
    ("no_name", ["'a b'"]),
    ("guest_other", ["only self"]),
    ("guest_all", ["only self"]),
    ("guest_writes", ["only dom0", "EACCES", "'qubes-timezone'", "'self'"]),
    ("offline_self", ["'self'", "store.json"]),
    ("absent", ["'odd'", "'qubes-ip'", "store.json", "default"]),
    ("unknown_option", ["'defualt'", "default"]),
    ("secret", ["'qubes-random-seed'", "secret"]),
    ("secret_by_slash", ["'qubes-random-seed'", "secret"]),
    ("invalid", ["'odd'", "'qubes-timezone'", "'../../etc/passwd'", "Europe/Warsaw"]),
    ("invalid_with_default", ["'odd'", "'qubes-timezone'", "'../../etc/passwd'"]),
    ("invalid_in_glob", ["'odd'", "'qubes-timezone'", "'../../etc/passwd'"]),
    ("bad_name", ["'a b'"]),
    ("no_qube", ["'vault'", "store.json"]),
    ("own", ["'self'", "store.json"]),
    ("bad_store", ["'http://x'", "xenstore:///PATH"]),
])
def test_reading_what_cannot_be_read(told, name, says):
    assert told[name]["failed"] is True
    for text in says:
        assert text in told[name]["msg"]


def test_the_lookup_in_any_mode(results):
    assert said(results["typed"]) == [True, False, {"layout": "us,se", "variant": "", "options": "grp:switch"}, "12:30"]


def test_the_lookup(told):
    assert said(told["one"]) == ["1"]
    assert said(told["text"]) == ["1", "False", "us,se++grp:switch", "12:30"]
    assert said(told["glob"]) == [{"qubes-service/cups": "1"}, {}]
    assert said(told["typed_glob"]) == [{"qubes-service/cups": True}]
    assert said(told["with_default"]) == ["10.0.0.1"]
    assert said(told["with_none"]) == [None]
    assert said(told["secret_by_glob"]) == [{}]
    assert said(told["live"]) == said(told["by_option"]) == ["10.137.0.9"]
    assert said(told["many"]) == ["12:30"] * 500 + ["1"]
    assert said(told["every_free_text"]) == [
        {"vm-config/bytes": {"base64": "/wo="}, "vm-config/esc": ESCAPES, "vm-config/template": "{{ 40 + 2 }}", "vm-config/time": "12:30"}]


def test_access(inspected):
    access, perms = inspected[2].results, inspected[3]
    for name in ("none", "read", "write"):
        assert access[name + "_check"]["changed"] is access[name]["changed"] is True
        assert access[name + "_check"]["diff"] == access[name]["diff"]
        assert "access=%s" % name in access[name]["diff"][0]["after"]
        assert access[name + "_again"]["changed"] is False
    assert perms == ["n0", "b7"]
