# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All roles on a Debian of its own, made by debootstrap and reached through ssh, as a standalone qube without the agent would be."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess

import packages
import pytest
from machines import NETVM
from playing import environment, run

pytestmark = pytest.mark.long
INCLUDED = "ifupdown,iproute2,nftables,openssh-server,procps,python3,tzdata,x11-xkb-utils"
BEGIN = """
mount -t tmpfs tmpfs "$2"
mkdir "$2/up" "$2/work" "$2/tree"
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/up,workdir=$2/work" "$2/tree"
mount -t proc proc "$2/tree/proc"
mount -t sysfs sysfs "$2/tree/sys"
mount --rbind /dev "$2/tree/dev"
ip link set lo up
ip link add eth0 address %s type veth peer name of-eth0
ip link set of-eth0 up
# Whoever asks a resolver is refused at once; of one that does not answer sshd waits for each login.
ip address add 10.139.1.1/32 dev lo
ip address add 10.139.1.2/32 dev lo
mkdir -p "$2/tree/run/sshd" "$2/tree/etc/ssh"
# What the first login and the first task of any play leave behind.
mkdir -p -m 700 "$2/tree/root/.ansible/tmp"
touch "$2/tree/tmp" "$2/tree/var/log/lastlog" "$2/tree/var/log/wtmp"
echo ready
exec chroot "$2/tree" cat
""" % NETVM["qubes-mac"]
# Without what each login changes.
LISTED = r"find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /tmp -o -path /var/log -o -path /root \) -prune -o -printf '%p %y %m %u %C@ [%l]\n'"
STATE = LISTED + "; ip -details address; ip route show table all; ip -6 route; nft list ruleset; sysctl net.ipv4.ip_forward"


class Debian:
    """The machine, in namespaces of its own; whatever is written goes with it."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "machine").mkdir()
        self._process = subprocess.Popen(  # pylint: disable=consider-using-with
            ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-ec", BEGIN, "sh", debootstrapped(), str(folder / "machine")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if self._process.stdout.readline() != b"ready\n":
            raise RuntimeError(self._process.communicate()[1].decode())
        with open("/proc/%d/task/%d/children" % (self._process.pid, self._process.pid), encoding="ascii") as stream:
            inside = stream.read().split()[0]
        self.enter = ["nsenter", "--target", inside, "--mount", "--net", "--pid", "--root", "--wd"]
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")], check=True)
        self.run("sh", "-c", "cat > /etc/ssh/authorized_keys", stdin=(folder / "key.pub").read_text())
        daemon = [*self.enter, "/usr/sbin/sshd", "-i", "-o", "UsePAM=no", "-o", "PrintLastLog=no", "-o", "PermitRootLogin=yes",
                  "-o", "AuthorizedKeysFile=/etc/ssh/authorized_keys"]
        self.ssh = ["-F", "/dev/null", "-i", str(folder / "key"), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                    "-o", "ProxyCommand=" + shlex.join(daemon)]

    def run(self, *argv, stdin=""):
        done = subprocess.run([*self.enter, *argv], input=stdin.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False)
        assert done.returncode == 0, (argv, done.stderr.decode())
        return done.stdout.decode()

    def state(self):
        return [line for line in self.run("sh", "-c", STATE).splitlines() if "valid_lft" not in line and "/etc/keys.json" not in line]

    def see(self, keys):
        self.run("sh", "-c", "cat > /etc/keys.json", stdin=json.dumps({"machine": keys}))

    def play(self, name, *args):
        inventory = {"hosts": {"machine": {
            "ansible_connection": "ssh", "ansible_host": "machine", "ansible_user": "root", "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_ssh_common_args": shlex.join(self.ssh), "vmconfig_store": "file:///etc/keys.json", "vmconfig_qube": "machine",
            "vm_config_files": [{"name": "proxy", "dest": "/etc/proxy", "mode": "0600"}]}}}
        done = run(self.folder, "qubes.vmconfig." + name, inventory, args, environment(ANSIBLE_SSH_CONTROL_PATH_DIR=str(self.folder / "cp")))
        return done.returncode, done.stdout.decode()

    def stop(self):
        self._process.kill()
        self._process.communicate()


def debootstrapped():
    """A minimal Debian 12 in the cache; made once, and again where that was interrupted."""
    root = os.path.join(packages.CACHE, "debian", "bookworm")
    if not os.path.exists(root):
        shutil.rmtree(root + "~", ignore_errors=True)
        os.makedirs(os.path.dirname(root), exist_ok=True)
        done = subprocess.run(["debootstrap", "--variant=minbase", "--include=" + INCLUDED, "bookworm", root + "~", "http://deb.debian.org/debian"],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=1200, check=False)
        assert done.returncode == 0, done.stdout.decode()[-2000:]
        os.rename(root + "~", root)
    return root


@pytest.fixture(name="debian", scope="module")
def one_debian(tmp_path_factory):
    if os.geteuid() != 0:
        pytest.skip("NOT ROOT, so debootstrap makes no Debian to test on")
    debian = Debian(tmp_path_factory.mktemp("debian"))
    yield debian
    debian.stop()


def changed(text):
    return set(re.findall(r"changed=([0-9]+)", text))


def test_a_whole_debian_is_configured_from_its_keys(debian):
    debian.see(NETVM)
    before = debian.state()
    code, text = debian.play("audit", "-e", "audit_fail_on_drift=true")
    assert code == 2 and "/etc/localtime differs" in text and "interface eth0 differs" in text, text
    assert debian.state() == before
    code, text = debian.play("apply")
    assert code == 0, text
    after = debian.state()
    code, text = debian.play("apply")
    assert code == 0 and changed(text) == {"0"}, text
    assert debian.state() == after
    assert debian.run("date", "-d", "@0", "+%Z %H:%M").strip() == "CET 01:00"
    assert debian.run("readlink", "/etc/localtime").strip() == "../usr/share/zoneinfo/Europe/Warsaw"
    assert debian.run("cat", "/etc/resolv.conf") == "nameserver 10.139.1.1\nnameserver 10.139.1.2\n"
    assert debian.run("stat", "-c", "%a %s", "/etc/proxy").split() == ["600", str(len(NETVM["vm-config/proxy"]) + 1)]
    assert "default via 10.138.2.5 dev eth0" in debian.run("ip", "route")
    assert debian.run("nft", "list", "chain", "ip", "qubes", "dnat-dns").count("10.139.1.") == 8
    assert debian.run("ifquery", "--list", "-i", "/etc/network/interfaces").split()
    assert "XKBLAYOUT=\"us,se\"" in debian.run("cat", "/etc/default/keyboard")


def test_what_is_broken_or_gone_stands_as_it_was(debian):
    debian.see(NETVM)
    debian.play("apply")
    before = debian.state()
    debian.see({**NETVM, "qubes-primary-dns": "10.139.1.1\nnameserver 6.6.6.6"})
    code, text = debian.play("apply")
    assert code == 2 and "key qubes-primary-dns: the value '10.139.1.1\\\\nnameserver 6.6.6.6' is refused" in text, text
    debian.see({key: NETVM[key] for key in ("type", "qubes-vm-type", "qubes-vm-persistence")})
    code, text = debian.play("apply")
    assert code == 0, text
    changes = {line for line in set(before) ^ set(debian.state()) if "/run/qubes-service" not in line}
    assert changes == set()
