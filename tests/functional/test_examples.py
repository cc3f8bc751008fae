# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every file of examples/ and every YAML of README.md, docs/ and the roles' pages, run as a user would; what it did is looked up by other means."""

from __future__ import annotations

import grp
import json
import os
import pathlib
import pwd
import re
import shutil
import subprocess

import packages
import adminlab
import pytest
import yaml
from playing import command, environment, keys, keys_info, play, run

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PAGES = ["README.md", *(str(page.relative_to(ROOT)) for page in [*ROOT.glob("docs/*.md"), *ROOT.glob("roles/*/README.md")])]
MACHINE = ROOT / "tests" / "demo" / "machine.json"
# The keys of a qube that the roles render from.
RENDERED = {"qubes-vm-type": "AppVM", "qubes-timezone": "Asia/Tokyo", "keyboard-layout": "us,se++grp:alt_shift_toggle",
            "qubes-primary-dns": "10.139.1.1", "qubes-secondary-dns": "10.139.1.2", "vm-config/monitors": "1920x1080+0+0 1280x1024+1920+0"}
# On Debian the roles find out by themselves what system it is.
FAMILY = {} if packages.is_debian_like() else {"vmconfig_family": "Debian"}


def blocks(page):
    """The YAML in a page."""
    return re.findall(r"(?ms)^```yaml\n(.*?)^```$", (ROOT / page).read_text())


def give(lab, domid, keys_of_qube):
    for key, value in keys_of_qube.items():
        lab.write("/local/domain/%d/%s" % (domid, key), value)


def held(lab, domid, *names):
    """What a domain holds of these keys, as xenstore-ls shows it."""
    nodes = lab.ls("/local/domain/%d" % domid)
    found = {name: nodes.get("/local/domain/%d/%s" % (domid, name)) for name in names}
    return {name: value.decode() for name, value in found.items() if value is not None}


def files_of(folder):
    """The files below a folder with what is in them, and the links with where they point."""
    paths = [path for path in folder.glob("**/*") if path.is_symlink() or path.is_file()]
    return {str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.read_text() for path in paths}


def ran(done):
    assert done.returncode == 0, done.stdout.decode()
    return done.stdout.decode()


def run_example(folder, name, inventory, args=(), env=None):
    """Runs a playbook of examples/ where a user would copy it to: beside the declaration."""
    for file in (name, "qubes.yml"):
        shutil.copy(ROOT / "examples" / file, folder)
    return ran(run(folder, name, inventory, args, env))


def assert_rendered(root, roles=("timezone", "xkb", "resolver"), zone="Asia/Tokyo", layout="us,se"):
    """What these roles make of RENDERED, and nothing else."""
    files = files_of(root)
    expected = {}
    if "timezone" in roles:
        expected.update({"etc/timezone": zone + "\n", "etc/localtime": "../usr/share/zoneinfo/" + zone})
    if "resolver" in roles:
        expected["etc/resolv.conf"] = "nameserver 10.139.1.1\nnameserver 10.139.1.2\n"
    if "xkb" in roles:
        for name, line in (("etc/default/keyboard", 'XKBLAYOUT="%s"' % layout), ("etc/X11/xorg.conf.d/00-keyboard.conf", '\tOption "XkbLayout" "%s"' % layout)):
            assert line in files[name].splitlines()
            expected[name] = files[name]
        keymap = "etc/X11/qubes-keymap.xkb"
        assert '\txkb_symbols   { include "pc+%s' % layout.split(",", maxsplit=1)[0] in files[keymap]
        expected[keymap] = files[keymap]
    if "display" in roles:
        name = "etc/X11/xorg.conf.d/20-display.conf"
        assert "\t\tVirtual 3200 1080" in files[name].splitlines()
        expected[name] = files[name]
    assert files == expected


# -- one function for each; it asserts what the example did --


def from_dom0(lab, folder):
    lab.write("/local/domain/8/qubes-service/tracker", "1")
    said = run_example(folder, "from-dom0.yml", {"hosts": {"localhost": {}}}, env=environment(QUBES_VMCONFIG_STORE=lab.url))
    assert held(lab, 7, "vm-config/timezone", "keyboard-layout", "qubes-service/cups", "vm-config/proxy") == {
        "vm-config/timezone": "Europe/Warsaw", "keyboard-layout": "pl++compose:caps", "qubes-service/cups": "1",
        "vm-config/proxy": "http://10.137.0.1:3128"}
    assert held(lab, 8, "vm-config/timezone", "keyboard-layout", "qubes-service/tracker") == {
        "vm-config/timezone": "America/Argentina/Buenos_Aires", "keyboard-layout": "fr+oss+"}
    for qube in ("sys-net", "sys-firewall", "anon-whonix", "debian-12"):
        assert '"%s"' % qube in said
    assert '"work"' not in said


def from_management_qube(lab, folder):
    with adminlab.AdminLab() as admin:
        admin.add("work", state="Halted")
        admin.add("personal", properties={"keyboard_layout": "fr+oss+"})
        run_example(folder, "from-management-qube.yml", {"hosts": {"localhost": {}}}, env=environment(**admin.environment()))
        assert admin.features("work") == {"vm-config.timezone": "Europe/Warsaw", "service.cups": "1"}
        assert admin.properties("personal") == {}


def clocks_and_monitors(lab, folder):
    with adminlab.AdminLab() as admin:
        admin.add_many({"work": {}, "personal": {}, "vault": {"state": "Halted"}})
        admin.service("qubes.GetDate", "#!/bin/sh\ntest $LAB_QUBE = work || exec date -u -Iseconds\nexec date -u -Iseconds -d '+1 hour'\n")
        for service in ("qubes.SetDateTime", "qubes.SetMonitorLayout"):
            admin.recorder(service)
        for _run in range(2):
            run_example(folder, "clocks-and-monitors.yml", {"hosts": {"localhost": {}}},
                        env=environment(QUBES_VMCONFIG_STATE_DIR=str(folder / "state"), **admin.environment("dom0")))
        assert sorted(admin.records()) == ["personal.qubes.SetMonitorLayout", "work.qubes.SetDateTime", "work.qubes.SetMonitorLayout"]
        assert admin.records()["work.qubes.SetMonitorLayout"] == b"1920 1080 0 0\n2560 1440 1920 0\n"
        assert [call.service for call in admin.calls()].count("qubes.SetMonitorLayout") == 2


def inside_a_qube(lab, folder):
    give(lab, 7, RENDERED)
    inventory = {"hosts": {"localhost": {}}, "vars": {"vmconfig_destdir": str(folder / "root"), **FAMILY}}
    run_example(folder, "inside-a-qube.yml", inventory, env=environment(QUBES_VMCONFIG_STORE=lab.guest(7).url))
    assert_rendered(folder / "root")


def offline_plan(lab, folder):
    shutil.copy(MACHINE, folder)
    said = run_example(folder, "offline-plan.yml", {"hosts": {"localhost": {}}}, ["-e", "copy=%s" % (folder / MACHINE.name)])
    assert (folder / MACHINE.name).read_bytes() == MACHINE.read_bytes()
    for line in ("--- before: work (file)", "+vm-config/proxy: 'http://10.137.0.1:3128'", "+vm-config/timezone: 'Europe/Warsaw'",
                 "-qubes-service/tracker: '1'"):
        assert line in said.splitlines()

    # The copy is made as the comment says.
    comment = "".join(re.findall(r"(?m)^# ?(.*\n)", (ROOT / "examples" / "offline-plan.yml").read_text()))
    tasks = yaml.safe_load(comment[comment.index("- name"):])
    give(lab, 7, RENDERED)
    copy = folder / "copy.json"
    play(folder, dict(zip(("read", "copied"), tasks)), {"dom0": {"vmconfig_store": lab.url}}, {"copy": str(copy)})
    found = json.loads(copy.read_text())["work"]
    assert {key: found[key] for key in RENDERED} == RENDERED
    planned = play(folder, {"planned": keys(qubes={"work": RENDERED}, store="file://%s" % copy)}).results["planned"]
    assert planned["changed"] is False


def plain_xen(lab, folder):
    run_example(folder, "plain-xen.yml", {"hosts": {"localhost": {}}}, env=environment(XENSTORED_PATH=lab.socket))
    names = ("qubes-vm-type", "qubes-timezone", "qubes-ip", "qubes-gateway")
    assert held(lab, 7, *names) == dict(zip(names, ("AppVM", "Europe/Warsaw", "10.137.0.12", "10.137.0.7")))
    assert held(lab, 8, *names) == dict(zip(names, ("AppVM", "UTC")))


def declaration(lab, folder):
    shutil.copy(ROOT / "examples" / "qubes.yml", folder)
    shutil.copy(MACHINE, folder)
    result = play(folder, {"declared": keys(src="qubes.yml", store="file://%s" % (folder / MACHINE.name))}).results["declared"]
    assert result["changed"] is True, result
    wanted = yaml.safe_load((folder / "qubes.yml").read_text())
    on_the_wire = {True: "1", False: "0"}
    expected = json.loads(MACHINE.read_text())
    for qube, declared in wanted.items():
        expected[qube].update({key: on_the_wire.get(value, value) for key, value in declared.items()})
        expected[qube] = {key: value for key, value in expected[qube].items() if value is not None}
    assert json.loads((folder / MACHINE.name).read_text()) == expected


def readme(lab, folder):
    """Its first play sets what its second renders from."""
    without_qubes(folder, assert_inventories_name_the_group(folder))
    playbook, = blocks("README.md")
    (folder / "site.yml").write_text(playbook)
    give(lab, 7, RENDERED)
    lab.add_domain(9, "anon-whonix", RENDERED)
    qubes = {"work": {"vmconfig_store": lab.guest(7).url}, "anon-whonix": {"vmconfig_store": lab.guest(9).url}}
    inventory = {"hosts": {"localhost": {}}, "children": {"qubes": {"hosts": qubes}},
                 "vars": {"vmconfig_destdir": str(folder / "{{ inventory_hostname }}"), **FAMILY}}
    ran(run(folder, "site.yml", inventory, env=environment(QUBES_VMCONFIG_STORE=lab.url)))
    assert held(lab, 7, "vm-config/timezone", "qubes-service/cups") == {"vm-config/timezone": "Europe/Warsaw", "qubes-service/cups": "1"}
    assert held(lab, 9, "qubes-timezone") == {}
    assert_rendered(folder / "work", zone="Europe/Warsaw", layout="pl")
    assert_rendered(folder / "anon-whonix", roles=["xkb", "resolver"])


def assert_inventories_name_the_group(folder):
    """Those of the README are what ansible-inventory reads, and have the group that its playbook is for."""
    inventories = re.findall(r"(?ms)^```ini\n(.*?)^```$", (ROOT / "README.md").read_text())
    assert len(inventories) == 3
    for text in inventories:
        (folder / "hosts.ini").write_text(text)
        done = subprocess.run([command("ansible-inventory"), "-i", "hosts.ini", "--list"], cwd=str(folder), env=environment(), check=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
        found = json.loads(done.stdout)
        assert found["qubes"]["hosts"] == ["work", "anon-whonix"]
        assert all({"ansible_user", "vmconfig_store"} & set(found["_meta"]["hostvars"][host]) for host in found["qubes"]["hosts"])
    return inventories[-1]


def without_qubes(folder, inventory):
    """On a file, as the README says, only below the test's own folder."""
    (folder / "hosts.ini").write_text(inventory.replace("/tmp/", "%s/" % folder))
    (folder / "machine.json").write_text(re.search(r"is `(\{.*?\})` at first", (ROOT / "README.md").read_text()).group(1))
    (folder / "file.yml").write_text(blocks("README.md")[0])
    given = [word for name, value in FAMILY.items() for word in ("-e", "%s=%s" % (name, value))]
    done = subprocess.run([command("ansible-playbook"), "-i", "hosts.ini", "file.yml", *given], cwd=str(folder), env=environment(),
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300, check=False)
    ran(done)
    assert json.loads((folder / "machine.json").read_text())["work"] == {
        "keyboard-layout": "pl++compose:caps", "qubes-service/cups": "1", "vm-config/timezone": "Europe/Warsaw"}
    assert (folder / "rendered" / "work" / "etc" / "timezone").read_text() == "Europe/Warsaw\n"


def coming_from(lab, folder):
    """Its two plays set a service and read it again."""
    first, second = blocks("docs/coming-from.md")
    env = environment(QUBES_VMCONFIG_STORE=lab.url)
    for text in (first, second):
        (folder / "site.yml").write_text(text)
        said = ran(run(folder, "site.yml", {"hosts": {"localhost": {}}}, env=env))
    assert held(lab, 7, "qubes-service/cups") == {"qubes-service/cups": "1"}
    assert '"cups": true' in said


def page_of_roles(lab, folder):
    """It shows the tasks of a role of one's own."""
    dummy, tasks = blocks("docs/roles.md")
    for path, text in (("tasks/main.yml", tasks), ("templates/qube.issue.j2", "{{ ansible_managed }}: {{ config.name }}\n")):
        (folder / "roles/own" / path).parent.mkdir(parents=True)
        (folder / "roles/own" / path).write_text(text)
    (folder / "site.yml").write_text("- hosts: work\n  gather_facts: false\n  roles: [own]\n")
    give(lab, 7, {**RENDERED, "name": "work"})
    ran(run(folder, "site.yml", {"hosts": {"work": {"vmconfig_store": lab.guest(7).url, "vmconfig_destdir": str(folder / "root"), **FAMILY}}}))
    assert files_of(folder / "root") == {"etc/issue.d/qube.issue": "Ansible managed: work\n"}


def page_of_stores(lab, folder):
    """It shows a file store."""
    store, = blocks("docs/stores.md")
    (folder / "store.yml").write_text(store)
    result = play(folder, {"read": keys_info(qubes=["work"], keys=["*"], raw=True, store="file://%s" % (folder / "store.yml"))}).results["read"]
    assert result["qubes"]["work"]["raw"] == {
        "qubes-timezone": "Europe/Warsaw", "qubes-service/cups": "1", "vm-config/motto": "{{ not templated }}", "vm-config/logo": {"base64": "iVBORw0KGgo="}}


def page_of_role(role):
    def page(lab, folder):
        playbook, = blocks("roles/%s/README.md" % role)
        (folder / "site.yml").write_text(playbook)
        give(lab, 7, RENDERED)
        inventory = {"children": {"qubes": {"hosts": {"work": {"vmconfig_store": lab.guest(7).url}}}},
                     "vars": {"vmconfig_destdir": str(folder / "root"), **FAMILY}}
        said = ran(run(folder, "site.yml", inventory, ["-v"]))
        # What was read is all that read_keys has to show.
        assert role != "read_keys" or '"timezone": "Asia/Tokyo"' in said
        assert_rendered(folder / "root", roles=[role])

    return page


NETWORK = {"qubes-vm-type": "ProxyVM", "qubes-mac": "00:16:3e:5e:6c:00", "qubes-ip": "10.137.0.12", "qubes-gateway": "10.138.2.5",
           "qubes-netvm-network": "10.137.0.12", "qubes-netvm-primary-dns": "10.139.1.1", "qubes-primary-dns": "10.139.1.2"}


def page_of_network(role, expected):
    """As the pages of the other roles, on a root in which systemd-networkd is enabled. Each of the files that are expected has a line."""

    def page(lab, folder):
        playbook, = blocks("roles/%s/README.md" % role)
        (folder / "site.yml").write_text(playbook)
        give(lab, 7, NETWORK)
        wants = folder / "root/etc/systemd/system/multi-user.target.wants"
        wants.mkdir(parents=True)
        (wants / "systemd-networkd.service").symlink_to("/usr/lib/systemd/system/systemd-networkd.service")
        inventory = {"children": {"qubes": {"hosts": {"work": {"vmconfig_store": lab.guest(7).url}}}},
                     "vars": {"vmconfig_destdir": str(folder / "root"), **FAMILY}}
        before = files_of(folder / "root")
        ran(run(folder, "site.yml", inventory))
        written = {name: text for name, text in files_of(folder / "root").items() if name not in before}
        assert set(written) == set(expected)
        assert all(line in written[name].splitlines() for name, line in expected.items())

    return page


def page_of_services(lab, folder):
    playbook, = blocks("roles/services/README.md")
    (folder / "site.yml").write_text(playbook)
    give(lab, 7, {**RENDERED, "qubes-service/cups": "1", "qubes-service/clocksync": "0"})
    inventory = {"children": {"qubes": {"hosts": {"work": {"vmconfig_store": lab.guest(7).url}}}},
                 "vars": {"vmconfig_destdir": str(folder / "root"), **FAMILY}}
    ran(run(folder, "site.yml", inventory))
    # What a key names, and what is on by default in such a qube.
    on = ["run/qubes-service/" + name for name in ("cups", "meminfo-writer", "qubes-update-check")]
    assert files_of(folder / "root") == dict.fromkeys([*on, "run/qubes/this-is-appvm"], "")


def page_of_hostname(lab, folder):
    """On a root whose file of hosts has another name."""
    (folder / "site.yml").write_text(blocks("roles/hostname/README.md")[0])
    (folder / "root" / "etc").mkdir(parents=True)
    (folder / "root" / "etc" / "hosts").write_text("127.0.0.1 localhost\n127.0.1.1 before\n")
    give(lab, 7, {**RENDERED, "name": "work"})
    inventory = {"children": {"qubes": {"hosts": {"work": {"vmconfig_store": lab.guest(7).url}}}},
                 "vars": {"vmconfig_destdir": str(folder / "root"), "vmconfig_family": "Debian"}}
    ran(run(folder, "site.yml", inventory))
    assert files_of(folder / "root") == {
        "etc/hosts": "127.0.0.1 localhost\n127.0.1.1 work\n", "etc/hostname": "work\n",
        "etc/sysctl.d/81-qubes-hostname.conf": "# Ansible managed\nkernel.hostname = work\n"}


def page_of_boot(lab, folder):
    """It takes away what another role has installed."""
    (folder / "install.yml").write_text("- hosts: qubes\n  gather_facts: false\n  roles: [qubes.vmconfig.timezone]\n  vars: {vmconfig_apply: boot}\n")
    (folder / "site.yml").write_text(blocks("roles/boot/README.md")[0])
    give(lab, 7, RENDERED)
    inventory = {"children": {"qubes": {"hosts": {"work": {"vmconfig_store": lab.guest(7).url}}}},
                 "vars": {"vmconfig_destdir": str(folder / "root"), **FAMILY}}
    ran(run(folder, "install.yml", inventory))
    assert "usr/lib/qubes-vmconfig/play.json" in {os.path.relpath(path, folder / "root") for path in (folder / "root").rglob("*.json")}
    ran(run(folder, "site.yml", inventory))
    assert files_of(folder / "root") == {}


def page_of_vm_config(lab, folder):
    """With SecureDrop's client; the owner is whoever runs the tests, for this machine has no such user."""
    page = "roles/vm_config/README.md"
    playbook, client = blocks(page)
    me, group = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
    (folder / "site.yml").write_text(playbook)
    (folder / "client.yml").write_text(client.replace("owner: user", "owner: " + me).replace("group: user", "group: " + group))
    (folder / "templates").mkdir()
    (folder / "templates" / "config.json.j2").write_text(re.findall(r"(?m)^```jinja\n(.*\{\{ value \}\}.*\n)```$", (ROOT / page).read_text())[0])
    give(lab, 7, {**RENDERED, "vm-config/proxy": "http://10.137.0.1:3128", "vm-config/SD_SUBMISSION_KEY_FPR": "65A1B5FF"})
    host = {"vmconfig_store": lab.guest(7).url}
    inventory = {"children": {"qubes": {"hosts": {"work": host}}}, "hosts": {"sd-app": host}, "vars": {"vmconfig_destdir": str(folder / "root"), **FAMILY}}
    ran(run(folder, "site.yml", inventory))
    ran(run(folder, "client.yml", inventory))
    assert files_of(folder / "root") == {
        "etc/proxy": "http://10.137.0.1:3128\n",
        "home/user/.config/SDCLIENT/config.json": '{"journalist_key_fingerprint": "65A1B5FF"}\n'}


UPLINK = {"etc/systemd/network/10-qubes-uplink.network": "Address=10.137.0.12/32"}
REDIRECT = {
    "etc/qubes-vmconfig/dns-redirect.nft": "add rule ip qubes dnat-dns ip daddr 10.139.1.1 udp dport 53 dnat to 10.139.1.2",
    "etc/sysctl.d/81-qubes-vmconfig.conf": "net.ipv4.ip_forward = 1",
    "etc/systemd/system/qubes-vmconfig-dns-redirect.service": "ExecStart=/usr/sbin/nft -f /etc/qubes-vmconfig/dns-redirect.nft",
    "etc/systemd/system/multi-user.target.wants/qubes-vmconfig-dns-redirect.service": "../qubes-vmconfig-dns-redirect.service",
}
RUNS = {
    "examples/clocks-and-monitors.yml": clocks_and_monitors,
    "examples/from-dom0.yml": from_dom0,
    "examples/from-management-qube.yml": from_management_qube,
    "examples/inside-a-qube.yml": inside_a_qube,
    "examples/offline-plan.yml": offline_plan,
    "examples/plain-xen.yml": plain_xen,
    "examples/qubes.yml": declaration,
    "README.md": readme,
    "docs/coming-from.md": coming_from,
    "docs/roles.md": page_of_roles,
    "docs/stores.md": page_of_stores,
    "roles/boot/README.md": page_of_boot,
    "roles/dns_redirect/README.md": page_of_network("dns_redirect", REDIRECT),
    "roles/display/README.md": page_of_role("display"),
    "roles/hostname/README.md": page_of_hostname,
    "roles/read_keys/README.md": page_of_role("read_keys"),
    "roles/resolver/README.md": page_of_role("resolver"),
    "roles/services/README.md": page_of_services,
    "roles/timezone/README.md": page_of_role("timezone"),
    "roles/uplink/README.md": page_of_network("uplink", UPLINK),
    "roles/vm_config/README.md": page_of_vm_config,
    "roles/xkb/README.md": page_of_role("xkb"),
}


def shown():
    """Every example that a user finds."""
    return sorted(["examples/" + name for name in os.listdir(ROOT / "examples")] + [page for page in PAGES if blocks(page)])


# Of the roles' pages, which differ in little, one is enough for a short run.
LONG = [page for page in shown() if page.startswith("roles/") and "timezone" not in page or page == "examples/inside-a-qube.yml"]


@pytest.mark.parametrize("example", [pytest.param(example, marks=pytest.mark.long if example in LONG else ()) for example in shown()])
def test_it_does_what_it_says(example, lab, tmp_path):
    assert example in RUNS, "no test runs it: add it to RUNS"
    RUNS[example](lab, tmp_path)


def test_what_is_run_is_there():
    assert set(RUNS) <= set(shown())
