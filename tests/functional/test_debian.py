# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All roles on a Debian that was started by its own systemd and is reached through ssh: a standalone qube without the agent, and an AppVM with it."""

from __future__ import annotations

import re

import pytest
import qubesdblab
from debian import Debian, unavailable
from machines import NETVM
from playing import environment, run

pytestmark = pytest.mark.long
DAEMON = """[Unit]
ConditionPathExists=/run/qubes-service/my-daemon
[Service]
ExecStart=/bin/sleep infinity
[Install]
WantedBy=multi-user.target
"""
KEYS = {**NETVM, "qubes-service/my-daemon": "1", "qubes-service/crond": "1"}
# Without what each login and the journal change.
STATE = r"""
find / /run/qubes-service -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /tmp -o -path /var/log -o -path /root -o -path /run/user \) -prune \
    -o -printf '%p %y %m %u %C@ [%l]\n' 2> /dev/null
ip -details address
ip route show table all
ip -6 route
nft list ruleset
sysctl net.ipv4.ip_forward
resolvectl dns
systemctl show --property=ActiveState,InvocationID cron my-daemon systemd-resolved
true
"""


class Qube:
    """The machine with its QubesDB, and playbooks that are run on it from outside."""

    def __init__(self, folder, lab):
        self.folder, self.lab = folder, lab
        lab.add_own(KEYS)
        self.machine = Debian(folder, NETVM["qubes-mac"], lab.folder)
        self.machine.put("/etc/systemd/system/my-daemon.service", DAEMON)
        self.run = self.machine.run
        self.run("systemctl", "daemon-reload")
        self.run("systemctl", "enable", "my-daemon.service")

    def state(self):
        return [line for line in self.run("sh", "-c", STATE).splitlines() if "valid_lft" not in line]

    def play(self, name, **variables):
        host = {**self.machine.variables, "services_units": {"my-daemon": ["my-daemon.service"]},
                "vm_config_files": [{"name": "proxy", "dest": "/etc/proxy", "mode": "0600"}], **variables}
        done = run(self.folder, "qubes.vmconfig." + name, {"hosts": {"machine": host}}, (), environment())
        return done.returncode, done.stdout.decode()

    def active(self, unit):
        return self.run("systemctl", "is-active", unit, check=False).strip()

    def zone(self):
        return self.run("date", "-d", "@0", "+%Z %H:%M").strip()


@pytest.fixture(name="qube", scope="module")
def one_qube(tmp_path_factory):
    if unavailable():
        pytest.skip("NO DEBIAN OF ITS OWN, so nothing was tested on one: " + unavailable())
    with qubesdblab.QubesdbLab() as lab:
        qube = Qube(tmp_path_factory.mktemp("debian"), lab)
        yield qube
        qube.machine.stop()
        assert lab.violations("self") == []


def changed(text):
    return set(re.findall(r"machine .* changed=([0-9]+)", text))


def test_an_audit_touches_nothing(qube):
    before = qube.state()
    code, text = qube.play("audit")
    assert code == 0, text
    for said in ("/etc/localtime", "interface eth0", "/etc/resolv.conf", "chain dnat-dns", "/etc/proxy", "/run/qubes-service/my-daemon"):
        assert "%s differs" % said in text
    assert set(before) ^ set(qube.state()) == set()


def test_one_start_does_it_all(qube):
    """As in a template: only what renders at each start is installed, and the next start has to do, in the right order, what a play would."""
    code, text = qube.play("apply", vmconfig_apply="boot")
    assert code == 0, text
    assert not any(each in qube.run("ip", "route", "show", "table", "all") for each in ("10.137.0.12", "10.138.2.5"))
    qube.machine.restart()
    assert_configured(qube)
    code, text = qube.play("apply", vmconfig_apply="both")
    assert code == 0 and changed(text) == {"0"}, text


def assert_configured(qube):
    """By what the programs say that use the files."""
    assert qube.active("qubes-vmconfig") == "active", qube.run("journalctl", "--no-pager", "-b", "-u", "qubes-vmconfig")
    assert qube.zone() == "CET 01:00"
    assert qube.run("cat", "/etc/resolv.conf") == "nameserver 10.139.1.1\nnameserver 10.139.1.2\n"
    assert "Global: 10.139.1.1 10.139.1.2" in qube.run("resolvectl", "dns")
    assert qube.run("stat", "-c", "%a", "/etc/proxy") == "600\n" and qube.run("cat", "/etc/proxy") == NETVM["vm-config/proxy"] + "\n"
    assert "10.137.0.12/32" in qube.run("ip", "address", "show", "dev", "eth0")
    assert "default via 10.138.2.5 dev eth0" in qube.run("ip", "route")
    assert redirects(qube) == ["10.139.1.1 udp 10.139.1.1", "10.139.1.1 tcp 10.139.1.1", "10.139.1.2 udp 10.139.1.2", "10.139.1.2 tcp 10.139.1.2"]
    assert qube.run("sysctl", "-n", "net.ipv4.ip_forward") == "1\n"
    assert "XKBLAYOUT=\"us,se\"" in qube.run("cat", "/etc/default/keyboard")
    assert qube.active("my-daemon") == "active"


def redirects(qube):
    """From which address and protocol to where."""
    rules = qube.run("nft", "list", "chain", "ip", "qubes", "dnat-dns")
    return [" ".join(found) for found in re.findall(r"ip daddr (\S+) (udp|tcp) dport 53 dnat to (\S+)", rules)]


def test_a_start_renders_what_the_keys_say_then(qube):
    for key, value in {
            "qubes-timezone": "Asia/Tokyo", "qubes-ip": "10.137.0.77", "qubes-primary-dns": "10.139.1.2", "qubes-secondary-dns": "10.139.1.1",
            "keyboard-layout": "de", "vm-config/proxy": "none", "qubes-service/my-daemon": "0"}.items():
        qube.lab.put("self", key, value)
    qube.machine.restart()
    assert qube.zone() == "JST 09:00"
    assert "10.137.0.77/32" in qube.run("ip", "address", "show", "dev", "eth0") and "10.137.0.12/" not in qube.run("ip", "address")
    assert "Global: 10.139.1.2 10.139.1.1" in qube.run("resolvectl", "dns")
    assert redirects(qube) == ["10.139.1.1 udp 10.139.1.2", "10.139.1.1 tcp 10.139.1.2", "10.139.1.2 udp 10.139.1.1", "10.139.1.2 tcp 10.139.1.1"]
    assert "XKBLAYOUT=\"de\"" in qube.run("cat", "/etc/default/keyboard")
    assert qube.run("cat", "/etc/proxy") == "none\n"
    assert qube.active("my-daemon") == "inactive"


def test_a_play_does_it_at_once_and_nothing_twice(qube):
    for key, value in KEYS.items():
        qube.lab.put("self", key, value)
    code, text = qube.play("apply")
    assert code == 0, text
    assert_configured(qube)
    after = qube.state()
    code, text = qube.play("apply")
    assert code == 0 and changed(text) == {"0"}, text
    assert qube.state() == after


def test_what_is_switched_off_is_stopped(qube):
    assert (qube.active("cron"), qube.active("my-daemon")) == ("active", "active")
    qube.lab.put("self", "qubes-service/my-daemon", "0")
    qube.lab.put("self", "qubes-service/crond", "0")
    code, text = qube.play("apply")
    assert code == 0 and "changed: [machine] => (item=cron.service)" in text, text
    assert (qube.active("cron"), qube.active("my-daemon")) == ("inactive", "inactive")


def test_what_is_broken_or_gone_stands_as_it_was(qube):
    assert qube.play("apply")[0] == 0
    before = qube.state()
    qube.lab.put("self", "qubes-primary-dns", "10.139.1.1\nnameserver 6.6.6.6")
    code, text = qube.play("apply")
    assert code == 2 and "key qubes-primary-dns: the value '10.139.1.1\\\\nnameserver 6.6.6.6' is refused" in text, text
    assert qube.state() == before
    for key in KEYS:
        if key not in ("name", "type", "qubes-vm-type", "qubes-vm-persistence"):
            qube.lab.remove("self", key)
    code, text = qube.play("apply")
    assert code == 0, text
    assert [line for line in set(before) ^ set(qube.state()) if "/run/qubes-service" not in line] == []


def test_an_appvm_with_the_agent_renders_by_a_hook_in_what_it_keeps(qube):
    for key, value in {**KEYS, "qubes-vm-persistence": "rw-only"}.items():
        qube.lab.put("self", key, value)
    qube.machine.put("/usr/lib/qubes/init/functions")
    code, text = qube.play("apply", vmconfig_apply="boot", vmconfig_take_over=True)
    assert code == 0, text
    # As it is after a start, when /etc is the template's and the agent has set the zone of before.
    qube.run("sh", "-ec", "rm -rf /etc/qubes-vmconfig /etc/systemd/system/qubes-vmconfig* /usr/lib/qubes-vmconfig")
    qube.run("ln", "-sfn", "../usr/share/zoneinfo/UTC", "/etc/localtime")
    qube.run("sh", "-ec", "for hook in /rw/config/rc.local.d/*.rc; do test -x $hook; $hook; done")
    assert qube.zone() == "CET 01:00"
    assert qube.run("cat", "/etc/resolv.conf") == "nameserver 10.139.1.1\nnameserver 10.139.1.2\n"
    assert "/etc/resolv.conf" in qube.run("cat", "/rw/config/protected-files.d/qubes-vmconfig").splitlines()
    code, text = qube.play("apply", vmconfig_apply="boot", vmconfig_take_over=True)
    assert code == 0 and changed(text) == {"0"}, text
    # And all of it is taken away again.
    code, text = qube.play("apply", vmconfig_apply="boot", vmconfig_take_over=True, vmconfig_boot="absent")
    assert code == 0, text
    assert qube.run("find", "/rw/config", "-name", "qubes-vmconfig.rc", "-o", "-name", "*.pyz", "-o", "-name", "*.json") == ""
