# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How roles write, now and at each start: on trees that somebody prepared, in templates, in several plays, and what a terminal is shown of it."""

from __future__ import annotations

import json
import os
import re

import pytest
import qubesdblab
from harness import ESCAPES, within
from machines import Machine
from playing import run
from starting import SAID, install, start_here

KEYS = {
    "type": "AppVM", "qubes-vm-type": "AppVM", "qubes-vm-persistence": "full", "qubes-timezone": "Europe/Warsaw", "keyboard-layout": "us,se++",
    "qubes-primary-dns": "10.139.1.1", "qubes-service/cups": "1", "vm-config/monitors": "1920x1080+0+0",
}
SECRET = "root:$6$it-is-a-secret:19000:0:99999:7:::\n"
ROLES = ["timezone", "xkb", "resolver", "services", "display"]
ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def store(folder, name="store.json", **qubes):
    (folder / name).write_text(json.dumps(qubes))
    return "file://%s/%s" % (folder, name)


def play(folder, plays, hosts, *args, variables=None):
    (folder / "play.yml").write_text(json.dumps([{"hosts": "all", "gather_facts": False, **each} for each in plays]))
    return run(folder, "play.yml", {"hosts": hosts, "vars": variables or {}}, args)


def reason(done, host):
    """Why a host failed."""
    found = re.findall(r"(?m)^fatal: \[%s\]: FAILED! => (.*)$" % host, done.stdout.decode())
    assert len(found) == 1, done.stdout.decode()[-3000:]
    return json.loads(found[0])["msg"]


# -- trees: what is in them, and what a role that writes there says; {outside} is beside them. Add yours --

TREES = {
    "links-that-lead-out": ({"etc/X11": "{outside}", "run/qubes-service": "{outside}", "etc/default": "../../outside"}, {}),
    "links-of-the-root": ({"etc/X11": "/", "run": "/tmp", "etc/default": "/root"}, {}),
    "secret-of-this-machine": ({"etc/vconsole.conf": "{outside}/shadow"}, {}),
    "secret-of-the-tree": ({"etc/vconsole.conf": "shadow"}, {"xkb": "vconsole.conf"}),
    "fifo": ({"etc/vconsole.conf": os.mkfifo}, {"xkb": "vconsole.conf"}),
    "directory": ({"etc/vconsole.conf": os.mkdir}, {"xkb": "vconsole.conf"}),
    "large": ({"etc/vconsole.conf": lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 1 << 30)}, {"xkb": "vconsole.conf"}),
    "fifos": ({"etc/resolv.conf": os.mkfifo, "run/qubes-service/cups": os.mkfifo}, {"resolver": "resolv.conf", "services": "cups"}),
}


def tree(folder, name):
    outside = folder / "outside"
    outside.mkdir(exist_ok=True)
    (outside / "shadow").write_text(SECRET)
    (outside / "shadow").chmod(0o644)
    root = folder / name
    (root / "etc").mkdir(parents=True)
    (root / "etc/shadow").write_text(SECRET)
    (root / "etc/shadow").chmod(0o640)
    for path, made in TREES[name][0].items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(made, str):
            (root / path).symlink_to(made.format(outside=outside))
        else:
            made(root / path)
    return root


def looked_at(folder, root):
    """That nothing is beside the root, and no secret in it."""
    assert [path.name for path in (folder / "outside").iterdir()] == ["shadow"]
    for found, dummy, names in os.walk(root):
        for name in names:
            path = os.path.join(found, name)
            if os.path.isfile(path) and not os.path.islink(path) and name != "shadow" and os.path.getsize(path) < 1 << 20:
                with open(path, encoding="utf-8") as stream:
                    assert "secret" not in stream.read(), path


@pytest.fixture(name="daemon", scope="module")
def qubesdb_with_the_keys():
    with qubesdblab.QubesdbLab() as lab:
        lab.add_own({"name": "it", **KEYS})
        yield lab


@pytest.mark.parametrize("name", TREES)
def test_at_each_start_a_tree_is_written_and_read_as_if_it_was_all(daemon, tmp_path, name):
    root = tree(tmp_path, name)
    install(tmp_path / "installed", ROLES, "RedHat")
    with within(30.0):
        dummy, said = start_here(root, daemon.url, tmp_path / "installed")
    looked_at(tmp_path, root)
    for role, named in TREES[name][1].items():
        assert re.search("(?m)^qubes-vmconfig: %s: .*%s" % (role, named), "\n".join(said)), said
    # The others go on.
    assert os.readlink(root / "etc/localtime") == "../usr/share/zoneinfo/Europe/Warsaw"


@pytest.mark.parametrize("role", ["xkb", *(pytest.param(role, marks=pytest.mark.long) for role in ("services", "display", "resolver"))])
def test_now_a_tree_is_written_and_read_as_if_it_was_all(tmp_path, role):
    hosts = {}
    for name in TREES:
        root = tree(tmp_path / role, name) if (tmp_path / role).mkdir(exist_ok=True) is None else None
        hosts[name] = {"vmconfig_destdir": str(root)}
    variables = {"vmconfig_store": store(tmp_path, **dict.fromkeys(TREES, KEYS)), "vmconfig_family": "RedHat"}
    done = play(tmp_path, [{"roles": ["qubes.vmconfig." + role]}], hosts, variables=variables)
    for name, (dummy, refusals) in TREES.items():
        looked_at(tmp_path / role, tmp_path / role / name)
        if role in refusals:
            assert refusals[role] in reason(done, name)


# -- templates, and what each role asks for itself --


@pytest.fixture(name="machine")
def one_machine(tmp_path):
    machine = Machine(tmp_path, "it")
    machine.run("rm", "-rf", "/etc/localtime", "/etc/timezone", "/etc/resolv.conf", "/etc/systemd", "/etc/qubes")
    machine.run("mkdir", "-p", "/etc/systemd/system")
    yield machine
    machine.stop()


def on(machine, tmp_path, keys, roles, *args):
    variables = {"ansible_python_interpreter": machine.python, "vmconfig_family": "Debian", "vmconfig_store": store(tmp_path, it={**KEYS, **keys})}
    return play(tmp_path, [{"roles": [{"role": "qubes.vmconfig." + role, "vars": more} for role, more in roles]}], {"it": variables}, *args)


TEMPLATE = {"type": "TemplateVM", "qubes-vm-type": "TemplateVM"}


@pytest.mark.parametrize("second", ["resolver", *(pytest.param(role, marks=pytest.mark.long) for role in ("timezone", "services"))])
def test_each_role_asks_whether_it_may_write_in_a_template(machine, tmp_path, second):
    first = "resolver" if second == "timezone" else "timezone"
    done = on(machine, tmp_path, TEMPLATE, [(first, {"vmconfig_apply": "boot"}), (second, {"vmconfig_apply": "now"})])
    assert "it is a template" in reason(done, "it")
    assert machine.run("sh", "-c", "ls -d /etc/resolv.conf /etc/timezone /etc/localtime /run/qubes-service 2>/dev/null", check=False) == ""


def test_a_later_role_may_be_for_each_start_alone(machine, tmp_path):
    done = on(machine, tmp_path, {}, [("timezone", {"vmconfig_apply": "now"}), ("resolver", {"vmconfig_apply": "boot"})])
    assert done.returncode == 0, done.stdout.decode()[-3000:]
    assert machine.run("cat", "/etc/timezone") == "Europe/Warsaw\n"
    assert list(json.loads(machine.run("cat", "/" + SAID))["roles"]) == ["resolver"]
    assert machine.run("sh", "-c", "ls /etc/resolv.conf 2>/dev/null", check=False) == ""


def test_each_role_has_its_own_directory_and_takes_over_for_itself(machine, tmp_path):
    machine.put("/usr/lib/qubes/init/functions")
    done = on(machine, tmp_path, {}, [("timezone", {"vmconfig_take_over": True}), ("resolver", {}), ("display", {"vmconfig_destdir": str(tmp_path / "image")})])
    assert done.returncode == 0, done.stdout.decode()[-3000:]
    assert machine.run("cat", "/etc/timezone") == "Europe/Warsaw\n"
    assert machine.run("sh", "-c", "ls /etc/resolv.conf /etc/X11/xorg.conf.d/20-display.conf 2>/dev/null", check=False) == ""
    assert (tmp_path / "image/etc/X11/xorg.conf.d/20-display.conf").exists()
    assert machine.run("cat", "/etc/qubes/protected-files.d/qubes-vmconfig") == "/etc/timezone\n"


# -- plays --


def test_a_later_play_reads_again(tmp_path):
    """Of the same name, and after the keys were set."""
    url = store(tmp_path, it=KEYS)
    render = {"name": "Render", "roles": ["qubes.vmconfig.timezone", "qubes.vmconfig.resolver"]}
    change = {"name": "Set", "tasks": [{"name": "Set", "qubes.vmconfig.keys": {"qube": "it", "keys": {"qubes-timezone": "Asia/Tokyo"}}}]}
    done = play(tmp_path, [render, change, render], {"it": {"vmconfig_destdir": str(tmp_path / "image")}},
                variables={"vmconfig_store": url, "vmconfig_family": "Debian"})
    assert done.returncode == 0, done.stdout.decode()[-3000:]
    assert (tmp_path / "image/etc/timezone").read_text() == "Asia/Tokyo\n"


def test_a_role_may_be_chosen_by_its_tag(tmp_path):
    roles = [{"role": "qubes.vmconfig.timezone", "tags": "zone"}, {"role": "qubes.vmconfig.resolver", "tags": "names"}]
    done = play(tmp_path, [{"roles": roles}], {"it": {"vmconfig_destdir": str(tmp_path / "image")}}, "--tags", "names",
                variables={"vmconfig_store": store(tmp_path, it=KEYS), "vmconfig_family": "Debian"})
    assert done.returncode == 0, done.stdout.decode()[-3000:]
    assert os.listdir(tmp_path / "image/etc") == ["resolv.conf"]


# -- what a terminal is shown --

# Values, each for a key of its own. Add yours.
EVIL = {
    "title": "\x1b]0;title\x07", "clear": "\x1b[2J", "bidi": "\u202eexe.txt\u2069", "c1": "\x9b31m", "back": "x\r\b\bok", "line": "a\u2028b", "all": ESCAPES,
    "invisible": "\u200b\u200f\ufeff", "tab": "a\tb\n",
}


def test_no_diff_brings_to_the_terminal_what_it_acts_on(tmp_path):
    root = tmp_path / "image"
    (root / "etc/it").mkdir(parents=True)
    # What is there is as little to be trusted.
    (root / "etc/it/title").write_text("\x1b[31mbefore \x9b\u202e\n")
    (root / "etc/it/clear").symlink_to("\x1b[31m\u202e")
    (root / "etc/it/bidi").write_bytes(b"\xff\xfe\x9b\n")
    declared = [{"name": name, "dest": "/etc/it/" + name} for name in EVIL] + [{"name": "title", "dest": "/etc/it/\u202e\x9b-named"}]
    variables = {"vmconfig_store": store(tmp_path, it={**KEYS, **{"vm-config/" + name: value for name, value in EVIL.items()}}),
                 "vmconfig_family": "Debian", "vmconfig_destdir": str(root), "vm_config_files": declared}
    for args in (["--check", "--diff"], ["--diff"]):
        done = play(tmp_path, [{"roles": ["qubes.vmconfig.vm_config"]}], {"it": variables}, *args)
        text = done.stdout.decode()
        assert done.returncode == 0, text[-3000:]
        assert not ACTING.findall(text), ascii(text)
        assert text.count("+++ after") == len(declared) and "\\x1b]0;title\\x07" in text and "\\u202eexe.txt" in text and "a\tb" in text
        assert "-\\x1b[31mbefore \\u009b\\u202e" in text and "a symbolic link to \\x1b[31m\\u202e" in text and "\\xff\\xfe\\x9b" in text
    for name, value in EVIL.items():
        assert (root / "etc/it" / name).read_bytes().decode() == (value if value.endswith("\n") else value + "\n")


EVIL_FILES = {
    "owner": {"dest": "/etc/x", "content": "x", "owner": "\x1b[2J\u202e"}, "mode": {"dest": "/etc/x", "content": "x", "mode": "\x1b[2J"},
    "folder": {"dest": "/etc/\x1b[2J/../x", "content": "x"}, "template": {"dest": "/etc/x", "src": "\x1b[2J\u202e.j2"},
    "link": {"dest": "/etc/\u202elink/x", "content": "x"}, "two": {"dest": "\x9b", "content": "x", "src": "y"},
}


def test_no_error_brings_to_the_terminal_what_it_acts_on(tmp_path):
    (tmp_path / "image/etc").mkdir(parents=True)
    (tmp_path / "image/etc/\u202elink").symlink_to("nowhere")
    tasks = [{"name": name, "ignore_errors": True, "qubes.vmconfig.render": {"destdir": str(tmp_path / "image"), "files": [file]}}
             for name, file in EVIL_FILES.items()]
    done = play(tmp_path, [{"tasks": tasks}], {"it": {"vmconfig_store": store(tmp_path, it=KEYS)}})
    text = done.stdout.decode()
    # Where the task stands in the playbook is shown by Ansible itself, in the form of the playbook.
    assert text.count("fatal: [it]: FAILED!") == len(EVIL_FILES) and "Traceback" not in text, text[-3000:]
    assert not ACTING.findall(text), ascii(text)


# Tasks that give what is of another type than what is taken, or a template that fails, and what their errors name. Add yours.
WRONG = {
    "template-that-divides": ({"render": {"files": [{"dest": "/etc/x", "src": "zero.j2"}]}}, "zero.j2"),
    "template-of-a-python-error": ({"render": {"files": [{"dest": "/etc/x", "src": "python.j2"}]}}, "python.j2"),
    "template-in-a-list": ({"render": {"files": [{"dest": "/etc/x", "src": ["zero.j2"]}]}}, "src is"),
    "template-that-is-a-number": ({"render": {"files": [{"dest": "/etc/x", "src": 7}]}}, "src is"),
    "variables-in-a-list": ({"render": {"files": [{"dest": "/etc/x", "src": "zero.j2", "vars": ["x"]}]}}, "vars is"),
    "variables-as-text": ({"render": {"files": [{"dest": "/etc/x", "src": "zero.j2", "vars": "x=y"}]}}, "vars is"),
    "files-as-text": ({"render": {"files": "x"}}, "files has to be a list"),
    "config-in-a-list": ({"render": {"files": [{"dest": "/etc/x", "content": ""}], "config": ["x"]}}, "config is a list; expected a dictionary"),
    "states-as-a-mapping": ({"place_info": {"states": {"x": "y"}}}, "states"),
    "role-in-a-list": ({"render": {"role": ["timezone"]}}, "there is no role"),
    "role-that-is-none": ({"render": {"role": "time"}}, "there is no role 'time'; the roles are display, "),
    "apply-that-is-none": ({"render": {"role": "timezone", "apply": "later"}}, "vmconfig_apply is 'later'"),
    "paths-as-a-mapping": ({"place_info": {"paths": {"x": "y"}}}, "paths"),
}


def test_what_is_of_another_type_is_one_error(tmp_path):
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates/zero.j2").write_text("{{ 1 / 0 }}")
    (tmp_path / "templates/python.j2").write_text("{{ [] + {} }}")
    (tmp_path / "image").mkdir()
    tasks = [{"name": name, "ignore_errors": True, "qubes.vmconfig." + module: {"destdir": str(tmp_path / "image"), **options}}
             for name, (task, _said) in WRONG.items() for module, options in task.items()]
    done = play(tmp_path, [{"tasks": tasks}], {"it": {"vmconfig_store": store(tmp_path, it=KEYS)}})
    text = done.stdout.decode()
    found = [json.loads(each)["msg"] for each in re.findall(r"(?m)^fatal: \[it\]: FAILED! => (.*)$", text)]
    assert len(found) == len(WRONG), text[-3000:]
    for message, (name, (_task, said)) in zip(found, WRONG.items()):
        assert said in message and not re.search("object (has no|is not)|Unexpected failure|must be an iterable", message), (name, message)
    assert not list((tmp_path / "image").iterdir())


# -- a role of one's own --

TEXTS = {
    "json": '{"a": 1}\n', "list": "[1, 2]\n", "number": "0644\n", "boolean": "true", "null": "null",
    "expression": "{{ '{{' }} x }}", "date": "2026-01-02", "none": "",
    "float": "1.10\n", "spaces": "  x  \n\n", "quotes": "'x'", "backslash": "a\\nb\\\\c\n", "umlaut": "\u00e4\u20ac\n",
    "python": "{'a': None}", "yaml": "a: b\n",
}


def test_a_role_of_ones_own_renders_texts_as_they_are(tmp_path):
    own = tmp_path / "roles/own"
    for folder in ("tasks", "templates"):
        (own / folder).mkdir(parents=True)
    for name, text in TEXTS.items():
        (own / "templates" / (name + ".j2")).write_text(text, encoding="utf-8")
    (own / "templates/managed.j2").write_text(
        "# {{ ansible_managed }}\n{% if true %}\n{{ number }} {{ config.timezone }} {{ read_keys_found.config.timezone }} {{ machine.family }}\n{% endif %}\n")
    files = [{"dest": "/etc/own/" + name, "src": name + ".j2"} for name in [*TEXTS, "managed"]] + [
        {"dest": "/etc/own/content", "content": "{{ '[1]' }}", "mode": "0600"},
        {"dest": "/etc/own/link", "link": "content"}, {"dest": "/etc/own/gone", "absent": True}]
    files[-4]["vars"] = {"number": "007"}
    tasks = [{"name": "Read the keys", "ansible.builtin.include_role": {"name": "qubes.vmconfig.read_keys", "public": True}},
             {"name": "Render", "qubes.vmconfig.render": {"files": files}, "register": "own_rendered"},
             {"name": "Show", "ansible.builtin.debug": {"msg": "{{ own_rendered.changed_files | length }} changed"}}]
    (own / "tasks/main.yml").write_text(json.dumps(tasks))
    hosts = {"it": {"vmconfig_destdir": str(tmp_path / "image"), "vmconfig_store": store(tmp_path, it=KEYS), "vmconfig_family": "Debian"}}
    (tmp_path / "image/etc/own").mkdir(parents=True)
    (tmp_path / "image/etc/own/gone").write_text("")
    for args, changed in ((["--check"], len(files)), ([], len(files)), ([], 0)):
        done = play(tmp_path, [{"roles": ["own"]}], hosts, *args)
        assert done.returncode == 0 and "%d changed" % changed in done.stdout.decode(), done.stdout.decode()[-3000:]
        assert "/etc/own/gone" not in done.stdout.decode()
    found = {path.name: os.readlink(path) if path.is_symlink() else path.read_bytes().decode() for path in (tmp_path / "image/etc/own").iterdir()}
    assert found == {**{name: text.replace("{{ '{{' }}", "{{") for name, text in TEXTS.items()},
                     "managed": "# Ansible managed\n007 Europe/Warsaw Europe/Warsaw Debian\n", "content": "[1]", "link": "content"}
    assert os.stat(tmp_path / "image/etc/own/content").st_mode & 0o7777 == 0o600
