# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Debian 12 from debootstrap, in namespaces of its own: its systemd is process 1, it is reached through ssh, and it can be restarted."""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import shlex
import signal
import subprocess
import time
from typing import List

import packages
from debootstrap import debootstrap

INCLUDED = "cron,dbus,ifupdown,iproute2,nftables,openssh-server,procps,python3,systemd,systemd-resolved,systemd-sysv,tzdata,x11-xkb-utils"
GROUPS = "/sys/fs/cgroup"
OF_ITS_OWN = ["unshare", "--mount", "--net", "--pid", "--cgroup", "--uts", "--ipc", "--fork", "--kill-child"]
# What is written stays until the process that this is ends; each line that it reads is a start.
KEPT = """
mount -t tmpfs tmpfs "$2"
mkdir "$2/up" "$2/work" "$2/tree"
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/up,workdir=$2/work" "$2/tree"
cd "$2/tree"
echo ready
while read -r line; do
    # It ends with this script, and that with the tests, however they end.
    setpriv --pdeathsig KILL %s sh -ec "$3" sh "$4" "$5" < /dev/null > /dev/null 2>&1 || :
    echo off
done
""" % " ".join(OF_ITS_OWN)
START = """
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs -o mode=755 run run
mount -t tmpfs -o mode=755 dev dev
for name in null zero full random urandom tty; do touch dev/$name; mount --bind /dev/$name dev/$name; done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
touch dev/console
if [ -d /sys/fs/cgroup/unified ]; then
    mount -t tmpfs cgroup sys/fs/cgroup
    mkdir sys/fs/cgroup/systemd sys/fs/cgroup/unified
    mount -t cgroup2 cgroup2 sys/fs/cgroup/unified
    mount -t cgroup -o none,name=systemd systemd sys/fs/cgroup/systemd
else
    mount -t cgroup2 cgroup2 sys/fs/cgroup
fi
mkdir run/qubes
mount --bind "$2" run/qubes
ip link set lo up
ip link add eth0 address "$1" type veth peer name of-eth0
ip link set of-eth0 up
# Whoever asks these resolvers is refused at once; of those that do not answer sshd waits at each login.
ip address add 10.139.1.1/32 dev lo
ip address add 10.139.1.2/32 dev lo
exec env -i container=lab PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot . /lib/systemd/systemd
"""
PATIENCE = 60


def unavailable() -> str:
    """Why there can be none here; empty where there can."""
    if os.geteuid() != 0:
        return "debootstrap needs root"
    done = subprocess.run([*OF_ITS_OWN, "mount", "-t", "tmpfs", "none", "/mnt"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.stdout.strip() if done.returncode else "".join(["%s cannot be written" % each for each in _hierarchies() if not os.access(each, os.W_OK)])


class Debian:
    """The machine. Its own sockets of QubesDB are those of a folder; what is written into it stays over a restart, and goes with the object."""

    def __init__(self, folder, mac: str, sockets: str) -> None:
        (folder / "machine").mkdir()
        # A child of the group that we are in, which the machine takes for all that there is.
        self._groups = [os.path.join(each, "vmconfig-test-%d" % os.getpid()) for each in _hierarchies()]
        for group in self._groups:
            os.makedirs(group, exist_ok=True)
        enter = "".join(["echo $$ > %s/cgroup.procs\n" % shlex.quote(group) for group in self._groups])
        given = [debootstrapped(), str(folder / "machine"), START, mac, sockets]
        self._process = subprocess.Popen(  # pylint: disable=consider-using-with
            ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "sh", "-ec", enter + KEPT, "sh", *given],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._enter: List[str] = []
        self._folder = folder
        try:
            if self._process.stdout.readline() != "ready\n":
                raise RuntimeError(self._process.stderr.read())
            self.start()
            self._open()
        except BaseException:
            self.stop()
            raise

    def _open(self) -> None:
        """Lets a key of ours in."""
        folder = self._folder
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")], check=True)
        self.put("/etc/ssh/authorized_keys", (folder / "key.pub").read_text())
        self.put("/etc/ssh/sshd_config.d/key.conf", "AuthorizedKeysFile /etc/ssh/authorized_keys\nUsePAM no\n")
        self.run("systemctl", "restart", "ssh")
        # What the first login and the first task of any play leave behind.
        self.run("sh", "-c", "mkdir -p -m 700 ~root/.ansible/tmp; touch /tmp /var/log/lastlog /var/log/wtmp")

    def start(self) -> None:
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        begin = time.monotonic()
        state = ""
        # Degraded is what some unit makes it that cannot run in a namespace.
        while state not in ("running", "degraded"):
            if time.monotonic() > begin + PATIENCE:
                raise RuntimeError("the Debian did not start within %d s: %s" % (PATIENCE, state))
            time.sleep(0.2)
            self._enter = self._entrance()
            state = self.run("systemctl", "is-system-running", check=False).strip() if self._enter else ""

    def _entrance(self) -> List[str]:
        """How to get into it: by its process 1, which is the child of the unshare that the script is waiting for."""
        process = self._process.pid
        for dummy in range(2):
            with open("/proc/%d/task/%d/children" % (process, process), encoding="ascii") as stream:
                children = stream.read().split()
            if not children:
                return []
            process = int(children[0])
        with open("/proc/%d/comm" % process, encoding="ascii") as stream:
            if stream.read() != "systemd\n":
                return []
        return ["nsenter", "--target", str(process), "--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup", "--root", "--wd"]

    def restart(self) -> None:
        self.run("systemctl", "--no-block", "poweroff")
        assert select.select([self._process.stdout], [], [], PATIENCE)[0], "the Debian did not go off within %d s" % PATIENCE
        assert self._process.stdout.readline() == "off\n"
        self.start()

    def stop(self) -> None:
        # With its process 1 all others of the machine end; without one there are none.
        if self._enter:
            os.kill(int(self._enter[2]), signal.SIGKILL)
        self._process.kill()
        self._process.communicate(timeout=PATIENCE)
        for group in self._groups:
            _remove(group)

    def run(self, *argv: str, stdin: str = "", check: bool = True) -> str:
        """What a command prints."""
        done = subprocess.run([*self._enter, *argv], input=stdin.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE, check=False)
        assert not check or done.returncode == 0, (argv, done.stdout.decode(), done.stderr.decode())
        return done.stdout.decode()

    def put(self, path: str, text: str = "", mode: str = "644") -> None:
        self.run("sh", "-ec", 'mkdir -p "$(dirname "$1")"; cat > "$1"; chmod "$2" "$1"', "sh", path, mode, stdin=text)

    @property
    def variables(self):
        """What an inventory has to say of it."""
        # Its network alone: what would run as one of its processes from outside would keep it from ending.
        client = self._folder / ("ssh-" + self._enter[2])
        client.write_text("#!/bin/sh\nexec nsenter --target %s --net ssh \"$@\"\n" % self._enter[2])
        client.chmod(0o755)
        options = ["-F", "/dev/null", "-i", str(self._folder / "key"), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
        return {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_user": "root", "ansible_python_interpreter": "/usr/bin/python3",
                "ansible_ssh_executable": str(client), "ansible_ssh_common_args": shlex.join(options), "ansible_ssh_transfer_method": "piped",
                "ansible_control_path": "%s.socket" % client}


def _hierarchies() -> List[str]:
    """Where a process has its group, of those that systemd needs."""
    mixed = os.path.isdir(os.path.join(GROUPS, "unified"))
    found = []
    with open("/proc/self/cgroup", encoding="ascii") as stream:
        for line in stream:
            dummy, name, path = line.rstrip("\n").split(":", 2)
            if name == "":
                found.append(os.path.join(GROUPS, *(["unified"] if mixed else []), path.lstrip("/")))
            elif name == "name=systemd" and mixed:
                found.append(os.path.join(GROUPS, "systemd", path.lstrip("/")))
    return found


def _remove(group: str) -> None:
    """A group and those in it, from the innermost on."""
    for folder, _folders, _files in os.walk(group, topdown=False):
        # Of processes that have just ended a group is rid a moment later.
        for dummy in range(50):
            with contextlib.suppress(OSError):
                os.rmdir(folder)
                break
            time.sleep(0.1)


def debootstrapped() -> str:
    """A minimal Debian 12 in the cache; made once, and again where that was interrupted or where more is to be in it."""
    root = os.path.join(packages.CACHE, "debian", "bookworm-" + hashlib.sha256(INCLUDED.encode()).hexdigest()[:8])
    if not os.path.exists(root):
        debootstrap("bookworm", INCLUDED, root + "~")
        os.rename(root + "~", root)
    return root
