# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A machine on which nobody installed anything: a minimal Debian with git, make and ca-certificates, as a folder that commands run in.

Each command has namespaces of its own, so what is mounted for it, and all that it started, ends with it, however that is. It has no way to
write to this machine but the folder: what is in /proc/sys and /sys is read-only.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import shutil
import subprocess
import time
from typing import Dict, List, NamedTuple

import surroundings
from debootstrap import debootstrap

SOURCES = pathlib.Path(__file__).resolve().parent.parent.parent
INCLUDED = "ca-certificates,git,make"
# The ansible-core that a user of the release's Python gets.
CORES = {"bookworm": "2.19", "trixie": "2.21"}
# With its packages a release changes; after so many days it is fetched again.
DAYS = 30
OF_ITS_OWN = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child"]
# The shell stays as process 1, for it waits for whatever is left behind.
INSIDE = """
cd "$1"
writable=$2
shift 2
mount -t proc proc proc
for each in proc/sys/*; do
    if [ "$each" != "$writable" ]; then mount --bind "$each" "$each"; mount -o remount,bind,ro "$each"; fi
done
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 dev dev
for name in null zero full random urandom tty; do touch dev/$name; mount --bind /dev/$name dev/$name; done
mkdir dev/pts dev/shm
chmod 1777 dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
hostname fresh
status=0
chroot . "$@" || status=$?
exit $status
"""
USER = "newcomer"


class Done(NamedTuple):
    """What a command printed, and its exit code."""

    code: int
    output: str


def unavailable(release: str) -> str:
    """Why there can be no such machine here; empty where there can."""
    if release not in CORES:
        raise ValueError("%r is none of %s" % (release, ", ".join(CORES)))
    if os.geteuid() != 0:
        return "a root for it is made by root alone"
    tried = [*OF_ITS_OWN, "mount", "-t", "tmpfs", "none", "/mnt"]
    done = subprocess.run(tried, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
    if done.returncode:
        return "namespaces: " + done.stdout.strip()
    if not shutil.which("debootstrap", path="/usr/sbin:/sbin:/usr/bin"):
        return "debootstrap is not installed"
    return surroundings.unreachable(release)


def tarball(release: str, cache: pathlib.Path) -> pathlib.Path:
    """The minimal Debian, from the cache, or made when there is none that is young enough."""
    kind = hashlib.sha256((INCLUDED + surroundings.mirror()).encode()).hexdigest()[:8]
    path = cache / "debian" / ("%s-fresh-%s.tar.gz" % (release, kind))
    if path.exists() and time.time() - path.stat().st_mtime < DAYS * 86400:
        return path
    folder, half = path.with_suffix(".root~"), path.with_suffix(".gz~")
    debootstrap(release, INCLUDED, str(folder))
    line = ["tar", "-C", str(folder), "--exclude=./var/cache/apt/archives/*.deb", "-c", "--use-compress-program=gzip -1", "-f", str(half), "."]
    subprocess.run(line, timeout=600, check=True)
    half.rename(path)
    shutil.rmtree(folder)
    return path


class Machine:
    """One such machine. What its commands say is in its log."""

    def __init__(self, archive: pathlib.Path, root: pathlib.Path, log: pathlib.Path) -> None:
        self.root, self._log = root, log
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        subprocess.run(["tar", "-C", str(root), "-xzf", str(archive)], check=True, timeout=600)
        for name in ("resolv.conf", "hosts"):
            if os.path.exists("/etc/" + name):
                self.put("/etc/" + name, pathlib.Path("/etc", name).read_bytes())
        self.put("/etc/apt/apt.conf.d/90surroundings", surroundings.apt_configuration().encode())
        self.put(surroundings.BUNDLE, surroundings.certificates())
        self.succeed("useradd", "--create-home", "--shell", "/bin/bash", USER)

    def put(self, path: str, content: bytes) -> None:
        target = pathlib.Path(str(self.root) + path)
        if target.is_symlink():
            target.unlink()
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)

    def read(self, path: str) -> str:
        return pathlib.Path(str(self.root) + path).read_text(encoding="utf-8")

    def run(self, *argv: str, user: str = "root", cwd: str = "~", network: bool = True, timeout: float = 1200, **more: str) -> Done:
        """Runs a command as a login of that user would, in a folder of its home."""
        home = "/root" if user == "root" else "/home/" + user
        env: Dict[str, str] = {"HOME": home, "USER": user, "LOGNAME": user, "SHELL": "/bin/bash", "TERM": "dumb",
                               "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", **surroundings.variables(), **more}
        become: List[str] = [] if user == "root" else ["setpriv", "--reuid", user, "--regid", user, "--init-groups", "--reset-env"]
        given = ["env", "-i", "--chdir=" + cwd.replace("~", home), *["%s=%s" % pair for pair in env.items()], *argv]
        # The settings of a network of its own are its own too.
        own, writable = ([], "") if network else (["--net"], "proc/sys/net")
        line = [*OF_ITS_OWN, *own, "sh", "-ec", INSIDE, "sh", str(self.root), writable, *become, *given]
        self._log.parent.mkdir(parents=True, exist_ok=True)
        # Into a file and not through a pipe, so that it can be read while it runs, and after a kill.
        with open(self._log, "ab") as sink, open(self._log, "rb") as source:
            sink.write(("\n%s@fresh:%s$ %s\n" % (user, cwd, " ".join(argv))).encode())
            sink.flush()
            source.seek(0, os.SEEK_END)
            begun = time.monotonic()
            with subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT) as process:
                try:
                    process.wait(timeout)
                except subprocess.TimeoutExpired:
                    process.kill()
                    sink.write(b"ended after %d s\n" % timeout)
            sink.write(b"[exit code %d after %d s]\n" % (process.returncode, time.monotonic() - begun))
            return Done(process.returncode, source.read().decode("utf-8", "replace"))

    def succeed(self, *argv: str, **more) -> str:
        """What a command prints, which has to end well."""
        done = self.run(*argv, **more)
        assert done.code == 0, "%s ended with %d:\n%s" % (" ".join(argv), done.code, done.output[-5000:])
        return done.output

    def clone(self, user: str = "root") -> None:
        """Puts a clone of the sources into a home: all that git tracks or would track, as one commit."""
        folder = "%s/qubes.vmconfig" % ("/root" if user == "root" else "/home/" + user)
        shutil.copytree(SOURCES, str(self.root) + folder, symlinks=True, ignore=shutil.ignore_patterns(".git", ".cache", "build", "output", "__pycache__"))
        self.succeed("chown", "-R", "%s:%s" % (user, user), folder)
        commit = "git init -q && git add -A && git -c user.name=fresh -c user.email=fresh@localhost commit -qm 'All of it'"
        self.succeed("sh", "-ec", commit, user=user, cwd=folder)

    def have_ansible(self, core: str) -> None:
        """Builds the collection in root's clone, and installs Ansible as a user does who has none."""
        self.succeed("make", "build", cwd="~/qubes.vmconfig")
        self.succeed("python3", "-m", "venv", "ansible")
        self.succeed("ansible/bin/pip", "install", "--quiet", "ansible-core~=%s.0" % core)

    def lacks(self, programs) -> List[str]:
        """Those of the programs that nobody finds there."""
        return [name for name in programs if self.run("sh", "-c", 'command -v "$1"', "sh", name).code]

    def remove(self) -> None:
        shutil.rmtree(self.root)
