# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The documentation of every plugin is complete, and every example in it works."""

from __future__ import annotations

import glob
import json
import os
import subprocess

import adminlab
import pytest
import yaml
from conftest import running_lab
from playing import command, environment, play

PLUGINS = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "plugins")
with open(os.path.join(os.path.dirname(PLUGINS), "meta", "runtime.yml"), encoding="utf-8") as runtime:
    GROUP = yaml.safe_load(runtime)["action_groups"]["vmconfig"]
# Folders of plugins that are documented; action plugins have the documentation of their modules.
TYPES = {"modules": "module"}
TYPES.update((kind, kind) for kind in ("become", "cache", "callback", "cliconf", "connection", "filter", "httpapi", "inventory", "lookup", "netconf", "shell",
                                       "strategy", "test", "vars"))
# Examples that are written for the inside of a qube.
INSIDE = {"What this qube sees, inside a qube", "The time zone", "Read the keys of this qube"}
LIVE = {"qubes.vmconfig." + name for name in ("uplink_set", "dns_redirect_set", "hostname_set", "xkb_server")}


def plugins():
    """(type, name) of every plugin that this collection has."""
    found = []
    for folder, kind in TYPES.items():
        names = [os.path.basename(path)[:-3] for path in glob.glob(os.path.join(PLUGINS, folder, "[a-z]*.py"))]
        found += [(kind, "qubes.vmconfig." + name) for name in sorted(names)]
    return found


def test_no_folder_of_plugins_is_overlooked():
    documented_elsewhere = {"action", "doc_fragments", "module_utils", "plugin_utils"}
    folders = {name for name in os.listdir(PLUGINS) if os.path.isdir(os.path.join(PLUGINS, name)) and name != "__pycache__"}
    assert folders - documented_elsewhere <= set(TYPES)
    assert len(plugins()) >= 3


@pytest.fixture(name="docs", scope="module")
def what_ansible_doc_shows():
    done = subprocess.run([command("ansible-doc"), "--metadata-dump", "--no-fail-on-errors", "qubes.vmconfig"], env=environment(), check=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", timeout=120)
    return json.loads(done.stdout)["all"]


def described(options):
    """Every description in a tree of options or of results, by its path."""
    for name, option in options.items():
        yield name, option.get("description")
        for below in ("suboptions", "contains"):
            for path, description in described(option.get(below) or {}):
                yield "%s.%s" % (name, path), description


@pytest.mark.parametrize("kind, name", plugins())
def test_everything_is_documented(docs, kind, name):
    shown = docs[kind][name]
    assert "error" not in shown
    doc = shown["doc"]
    assert doc["short_description"]
    assert doc["description"]
    assert doc["author"]
    assert doc["version_added"]
    for path, description in (*described(doc.get("options", {})), *described(shown["return"])):
        assert description and all(text.strip() for text in ([description] if isinstance(description, str) else description)), path
    assert shown["return"]
    assert all(result.get("type") for result in shown["return"].values())
    if kind == "module":
        assert all(result.get("returned") for result in shown["return"].values())
        assert set(doc["attributes"]) >= {"check_mode", "diff_mode", "idempotent", "platform"}
        assert ("action_group" in doc["attributes"]) == (name.rpartition(".")[2] in GROUP)
        assert all(attribute["support"] for attribute in doc["attributes"].values())


@pytest.mark.parametrize("kind, name", plugins())
def test_every_plugin_has_an_example_of_itself(docs, kind, name):
    examples = docs[kind][name]["examples"]
    assert name in examples
    for task in yaml.safe_load(examples):
        assert task["name"]


@pytest.fixture(name="examples", scope="module")
def every_example_run(xen, docs, tmp_path_factory):
    """All examples in one play for dom0 and one for a qube's inside; each with what it returned."""
    folder = tmp_path_factory.mktemp("examples")
    (folder / "qubes.yml").write_text("work:\n  qubes-timezone: Europe/Warsaw\nhalted:\n  qubes-timezone: UTC\n")
    lab = running_lab()
    admin = adminlab.AdminLab()
    admin.start()
    try:
        admin.add_many({"work": {}, "personal": {}, "vault": {"state": "Halted"}, "windows": {}})
        for service in ("GetDate", "StartApp", "VMExec", "SetMonitorLayout", "SetGuiMode", "WaitForSession"):
            admin.service("qubes." + service, "#!/bin/sh\nexec date -u -Iseconds\n")
        keys = {"qubes-vm-type": "AppVM", "qubes-timezone": "Asia/Tokyo", "qubes-service/cups": "1", "qubes-service/old": "1", "vm-config/x": "1",
                "qubes-ip": "10.137.0.12", "qubes-gateway": "10.138.2.5", "keyboard-layout": "us", "qubes-tools/os": "Linux"}
        for domid in (7, 8):
            for key, value in keys.items():
                lab.write("/local/domain/%d/%s" % (domid, key), value)
        lab.add_domain(9, "anon-whonix", keys)
        tasks = {}
        for kind, name in plugins():
            for number, task in enumerate(yaml.safe_load(docs[kind][name]["examples"])):
                # As it stands, with nothing but a name to find its result by; what it registers itself keeps its own.
                tasks["%s_%s_%d" % (kind, name.replace(".", "_"), number)] = task
        inside = {label: task for label, task in tasks.items() if task["name"] in INSIDE}
        outside = {label: task for label, task in tasks.items() if label not in inside}
        env = environment(XENSTORED_PATH=lab.socket, QUBES_VMCONFIG_STORE=lab.url, QUBES_VMCONFIG_STATE_DIR=str(folder / "state"), **admin.environment())
        played = [run_examples(folder / place, chosen, hosts, env, folder / "qubes.yml")
                  for place, chosen, hosts in (("outside", outside, {"dom0": {}}), ("inside", inside, {"guest": {"vmconfig_store": lab.guest(7).url}}))]
        return (tasks, played, lab.ls("/local/domain/7"), lab.ls("/local/domain/9"), lab.perms("/local/domain/7/vm-config/ticket"), admin.features("work"),
                folder / "outside" / "root")
    finally:
        admin.stop()
        lab.stop()


def run_examples(folder, tasks, hosts, env, source):
    os.mkdir(folder)
    os.link(source, folder / "qubes.yml")
    (folder / "qube.issue.j2").write_text("This is a qube.\n")
    # What they write is written there, for a qube where the host is none.
    qube = {"vmconfig_qube": "work"} if "dom0" in hosts else {}
    return play(folder, tasks, hosts, {"vmconfig_destdir": str(folder / "root"), "vmconfig_family": "Debian", **qube}, env=env)


def results_of(examples):
    results = {}
    for played in examples[1]:
        results.update(played.results)
    return results


def test_every_example_works(examples):
    # What sets a machine that runs has nothing to do for a directory; its tests have machines.
    failed = {label: result.get("msg") for label, result in results_of(examples).items()
              if result.get("failed") or result.get("skipped") and LIVE.isdisjoint(examples[0][label])}
    assert failed == {}
    assert sorted(results_of(examples)) == sorted(examples[0])
    for played in examples[1]:
        assert "NOT DEFINED" not in played.text
        assert "WARNING" not in played.text.replace("[WARNING]: Platform", "")
        assert "DEPRECAT" not in played.text


def test_the_examples_did_what_they_say(examples):
    work, whonix, perms, settings, root = examples[2:]
    home = "/local/domain/7/"
    assert work[home + "qubes-timezone"] == b"Europe/Warsaw"
    assert work[home + "qubes-service/cups"] == b"1"
    assert work[home + "vm-config/proxy"] == b"http://10.137.0.1:3128"
    assert work[home + "keyboard-layout"] == b"us,se++grp:alt_shift_toggle"
    assert home + "qubes-service/old" not in work
    assert "/local/domain/9/qubes-timezone" not in whonix
    assert work[home + "vm-config/ticket"] == b"4711"
    assert perms == ["n0"]
    assert (root / "etc/issue.d/qube.issue").read_text() == "This is a qube.\n" and os.readlink(root / "etc/my-service/current") == "token"
    assert settings == {"service.cups": "1", "vm-config.timezone": "Europe/Warsaw"}
