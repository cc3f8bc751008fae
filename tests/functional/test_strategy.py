# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Roles and playbooks under dom0's default strategy, as far as the lab has it: they do what they do under `linear`."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess
import textwrap

import dom0lab
import pytest
import yaml
from ansible.release import __version__
from machines import NETVM
from playing import command, environment, run

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
ROLES = ["timezone", "hostname", "xkb", "uplink", "resolver", "services", "dns_redirect", "vm_config", "display"]
QUBE = {"qubes-vm-type": "AppVM", "qubes-timezone": "Asia/Tokyo", "qubes-primary-dns": "10.139.1.1", "qubes-secondary-dns": "10.139.1.2"}
QUBES = ["work", "personal", "anon-whonix"]
PASSWORD = "a password of the tests"
OLD = [int(part) for part in __version__.split(".")[:2]] < [2, 19]


class Dom0:
    """Qubes in a file, whose files are rendered below a directory, by either strategy."""

    def __init__(self, folder, keys=None):
        self.folder = folder
        self.store = folder / "store.json"
        self.store.write_text(json.dumps(keys or {qube: QUBE for qube in QUBES}))
        self.qubes = list(keys or QUBES)
        self.hosts = {qube: {} for qube in self.qubes}
        self.of_group, self.of_all = {}, {}

    def play(self, playbook, *args, after="drops", proxied=True):
        (self.folder / "vault-password").write_text(PASSWORD)
        more = dom0lab.environment(os.environ["ANSIBLE_COLLECTIONS_PATH"], after) if proxied else {}
        inventory = {
            "hosts": {"localhost": {"ansible_connection": "local"}},
            "children": {"qubes": {"hosts": self.hosts, "vars": self.of_group}},
            "vars": {"vmconfig_store": "file://%s" % self.store, "vmconfig_destdir": str(self.folder / "root" / "{{ inventory_hostname }}"),
                     "vmconfig_family": "Debian", "ansible_connection": "qubes" if proxied else "local", **self.of_all}}
        done = run(self.folder, playbook, inventory, args, environment(**more))
        return done.returncode, done.stdout.decode()

    def tree(self):
        """The files that were rendered, and what is in them."""
        root = self.folder / "root"
        paths = [path for path in sorted(root.glob("**/*")) if path.is_symlink() or not path.is_dir()]
        return {str(path.relative_to(root)): os.readlink(path) if path.is_symlink() else path.read_text() for path in paths}

    def keys(self):
        return json.loads(self.store.read_text())


@pytest.fixture(name="dom0")
def three_qubes(tmp_path):
    return Dom0(tmp_path)


def both(folder, keys, playbook, *args, write=None, prepare=None):
    """Plays under the strategy and under `linear`, and returns what the strategy made. Both make the same."""
    made = []
    for name in ("proxied", "linear"):
        (folder / name).mkdir()
        dom0 = Dom0(folder / name, keys)
        for file, text in (write or {}).items():
            (folder / name / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / name / file).write_text(text)
        if prepare:
            prepare(dom0)
        code, said = dom0.play(playbook, *args, proxied=name == "proxied")
        assert code == 0, said
        made.append((dom0.tree(), dom0.keys(), said))
    assert made[0][0] == made[1][0]
    assert made[0][1] == made[1][1]
    return made[0]


def failures(said):
    return {host: int(failed) for host, failed in re.findall(r"(?m)^([\w-]+) +: ok=.* failed=(\d+) ", said)}


def listed(said):
    """What the last play of an audit lists."""
    return re.findall(r'(?m)^ {8}"(.*)",?$', said[said.index("PLAY [List what differs]"):])


def test_the_playbook_of_the_readme(tmp_path):
    playbook, = re.findall(r"(?ms)^```yaml\n(.*?)^```$", (ROOT / "README.md").read_text())
    tree, keys, said = both(tmp_path, None, "site.yml", write={"site.yml": playbook})
    assert tree["work/etc/timezone"] == "Europe/Warsaw\n" and tree["personal/etc/timezone"] == "Asia/Tokyo\n"
    assert "anon-whonix/etc/timezone" not in tree and "anon-whonix/etc/resolv.conf" in tree
    assert 'XKBLAYOUT="pl"' in tree["work/etc/default/keyboard"]
    assert keys["work"]["qubes-service/cups"] == "1"
    for qube in QUBES:
        assert "QUBESOS [disp-mgmt-%s: PLAY Each qube renders its files from what it sees]" % qube in said


def test_templates_in_a_role_of_ones_own_go_along(tmp_path):
    tasks, = re.findall(r"(?ms)^  ```yaml\n(.*?)^  ```$", (ROOT / "docs" / "dom0.md").read_text())
    play = [{"name": "Render", "hosts": "qubes", "gather_facts": False, "roles": ["ours", "qubes.vmconfig.timezone"]}]
    tree, dummy, dummy = both(tmp_path, None, "site.yml", write={
        "roles/ours/tasks/main.yml": textwrap.dedent(tasks), "roles/ours/templates/timezone/timezone.j2": "# ours\n{{ zone }}\n",
        "site.yml": yaml.safe_dump(play)})
    assert tree["work/etc/timezone"] == "# ours\nAsia/Tokyo\n"


def test_the_example_for_dom0(dom0):
    for name in ("from-dom0.yml", "qubes.yml"):
        shutil.copy(ROOT / "examples" / name, dom0.folder)
    code, said = dom0.play("from-dom0.yml")
    assert code == 0, said
    assert dom0.keys()["work"]["vm-config/timezone"] == "Europe/Warsaw"


@pytest.mark.long
def test_apply_does_what_it_does_otherwise(tmp_path):
    declaration = {"work": {"qubes-timezone": "Europe/Warsaw"}, "personal": {"qubes-service/cups": True}}
    tree, keys, said = both(tmp_path, None, "qubes.vmconfig.apply", "-e", "vmconfig_declaration=declaration.json", "--diff",
                            write={"declaration.json": json.dumps(declaration)})
    assert tree["work/etc/timezone"] == "Europe/Warsaw\n" and tree["personal/run/qubes-service/cups"] == ""
    assert keys["personal"]["qubes-service/cups"] == "1"
    assert failures(said) == {"localhost": 0, **{qube: 0 for qube in QUBES}}
    # --diff is shipped
    assert re.search(r"(?m)^.*\+nameserver 10\.139\.1\.1", said)


@pytest.mark.long
def test_each_role_does_what_it_does_otherwise(tmp_path):
    """Alone, and two of them in one play."""
    pairs = [[role] for role in ROLES] + [[role, "timezone"] for role in ROLES[1:]]
    plays = [{"name": "Render " + " ".join(roles), "hosts": "qubes", "gather_facts": False,
              "roles": ["qubes.vmconfig." + role for role in roles]} for roles in pairs]

    def prepare(dom0):
        dom0.of_group = {"vm_config_files": [{"name": "proxy", "dest": "/etc/proxy"}]}

    tree, dummy, said = both(tmp_path, {"sys-net": NETVM}, "site.yml", write={"site.yml": yaml.safe_dump(plays, sort_keys=False)}, prepare=prepare)
    assert failures(said)["sys-net"] == 0
    for path in ("etc/timezone", "etc/default/keyboard", "etc/resolv.conf", "run/qubes-service/cups", "etc/qubes-vmconfig/dns-redirect.nft", "etc/proxy",
                 "etc/X11/xorg.conf.d/20-display.conf"):
        assert "sys-net/" + path in tree


@pytest.mark.long
@pytest.mark.parametrize("secret", [
    pytest.param("group_vars/qubes/secret.yml", marks=pytest.mark.skipif(OLD, reason="NOT WITH THIS ANSIBLE-CORE, see docs/dom0.md")), "secret.yml"])
def test_variables_come_from_everywhere(tmp_path, secret):
    """Of the group, the host, the command line, and a file that is encrypted as a whole, which dom0 decrypts."""
    def prepare(dom0):
        dom0.of_all = {"timezone_zone": "UTC"}
        dom0.of_group = {"resolver_servers": ["192.0.2.{{ number }}"], "number": 53}
        dom0.hosts["personal"] = {"resolver_servers": ["192.0.2.7"]}
        encrypt(dom0.folder, secret, "services_states: {of-the-vault: true}\n")

    named = [] if "/" in secret else ["-e", "@" + secret]
    tree = both(tmp_path, None, "qubes.vmconfig.apply", *named, "--vault-password-file", "vault-password", "-e", "vmconfig_declaration=declaration.json",
                "-e", "timezone_zone=America/Lima", write={"declaration.json": "{}"}, prepare=prepare)[0]
    assert {tree["%s/etc/timezone" % qube] for qube in QUBES} == {"America/Lima\n"}
    assert tree["work/etc/resolv.conf"] == "nameserver 192.0.2.53\n" and tree["personal/etc/resolv.conf"] == "nameserver 192.0.2.7\n"
    assert tree["work/run/qubes-service/of-the-vault"] == ""


def encrypt(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    (folder / "vault-password").write_text(PASSWORD)
    subprocess.run([command("ansible-vault"), "encrypt", "--vault-password-file", "vault-password", name], cwd=folder, env=environment(), check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)


def test_a_value_that_is_encrypted_in_place_is_shipped_as_it_is(dom0):
    """As docs/dom0.md says: it fails where it is used, and nothing is written. An encrypted declaration is read in dom0, and works."""
    done = subprocess.run([command("ansible-vault"), "encrypt_string", "--vault-password-file", "/dev/stdin", "--name", "timezone_zone", "UTC"],
                          input=PASSWORD.encode(), env=environment(), check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60)
    (dom0.folder / "group_vars").mkdir()
    (dom0.folder / "group_vars" / "qubes.yml").write_text(done.stdout.decode())
    encrypt(dom0.folder, "declaration.json", json.dumps({"work": {"qubes-timezone": "Europe/Warsaw"}}))
    code, said = dom0.play("qubes.vmconfig.apply", "--vault-password-file", "vault-password", "-e", "vmconfig_declaration=declaration.json",
                           "-e", "vmconfig_hosts=work")
    assert code == 2 and "no vault secrets" in said.lower(), said
    assert dom0.tree() == {}
    assert dom0.keys()["work"]["qubes-timezone"] == "Europe/Warsaw"


def test_tags_and_check_mode_are_shipped(dom0):
    code, said = dom0.play("qubes.vmconfig.apply", "--tags", "timezone", "--check")
    assert code == 0 and dom0.tree() == {}, said
    code, said = dom0.play("qubes.vmconfig.apply", "--tags", "timezone")
    assert code == 0 and set(dom0.tree()) == {"%s/etc/%s" % (qube, name) for qube in QUBES for name in ("timezone", "localtime")}, said


@pytest.mark.parametrize("after", ["goes_on", *(pytest.param(after, marks=pytest.mark.long) for after in ("drops", "ends"))])
def test_an_audit_of_a_qube_that_drifted_fails_and_names_the_file(dom0, after):
    assert dom0.play("qubes.vmconfig.apply")[0] == 0
    (dom0.folder / "root" / "work" / "etc" / "timezone").write_text("UTC\n")
    before = dom0.tree()
    code, said = dom0.play("qubes.vmconfig.audit", "-e", "audit_fail_on_drift=true", after=after)
    assert code == 2, said
    assert '"work: /etc/timezone differs (qubes.vmconfig.timezone)"' in said and '"personal: nothing differs"' in said
    assert dom0.tree() == before
    if after != "ends":
        assert listed(said) == [
            "work: ended with a failure, and nothing else was heard of it: what it printed above says what differs, or why it could not be compared",
            "personal: nothing differs, for it was compared elsewhere and ended well there",
            "anon-whonix: nothing differs, for it was compared elsewhere and ended well there"]


@pytest.mark.long
def test_an_audit_of_qubes_in_which_nothing_differs(dom0):
    assert dom0.play("qubes.vmconfig.apply", "-e", "vmconfig_hosts=work")[0] == 0
    (dom0.folder / "declaration.json").write_text(json.dumps({"work": {"qubes-timezone": "Asia/Tokyo"}}))
    options = ["-e", "vmconfig_hosts=work", "-e", "vmconfig_declaration=declaration.json"]
    code, said = dom0.play("qubes.vmconfig.audit", *options, "-e", "audit_fail_on_drift=true", after="goes_on")
    assert code == 0, said
    assert listed(said) == ["the declaration: nothing differs", "work: nothing differs, for it was compared elsewhere and ended well there", "Nothing differs."]
    # Without it the exit code tells nothing, so the list says where to look.
    code, said = dom0.play("qubes.vmconfig.audit", *options)
    assert code == 0 and "Nothing differs." not in said, said
    assert listed(said)[0].startswith("work: was compared elsewhere, and what differs is in what it printed above")


@pytest.mark.long
def test_apply_and_audit_in_one_playbook(dom0):
    (dom0.folder / "site.yml").write_text("".join("- name: Run it\n  import_playbook: qubes.vmconfig.%s\n" % name for name in ("apply", "audit")))
    code, said = dom0.play("site.yml", "-e", "audit_fail_on_drift=true", "-e", "vmconfig_hosts=work", after="goes_on")
    assert code == 0, said
    assert dom0.tree()["work/etc/timezone"] == "Asia/Tokyo\n"
    assert listed(said)[-1] == "Nothing differs."


def test_dom0_itself_does_not_reach_into_a_qube(dom0):
    """What is there in dom0 alone is a file here, which the disposable does not have either."""
    (dom0.folder / "dom0").mkdir()
    (dom0.folder / "dom0" / "qubesd.sock").touch()
    options = ["-e", "vmconfig_qubesd=%s/dom0/qubesd.sock" % dom0.folder, "-e", "vmconfig_hosts=work"]
    for playbook in ("qubes.vmconfig.apply", "qubes.vmconfig.audit"):
        # The connection of Qubes under `linear`, as after `strategy = linear` in ansible.cfg.
        env = {**dom0lab.environment("/nowhere"), "ANSIBLE_STRATEGY": "linear"}
        inventory = {"hosts": {"localhost": {"ansible_connection": "local"}, "work": {}},
                     "vars": {"ansible_connection": "qubes", "vmconfig_store": "file://%s" % dom0.store, "vmconfig_destdir": str(dom0.folder / "root")}}
        done = run(dom0.folder, playbook, inventory, options, environment(**env))
        assert done.returncode == 2 and b"work: this is dom0, where a play for a qube may run under the strategy" in done.stdout, done.stdout.decode()
        assert dom0.tree() == {}
