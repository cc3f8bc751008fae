# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes ready what the tests and the demo need: system packages and virtual environments under .cache/venv. Standard library only.

As root on Debian it says what it will install and installs it; anyone else is told what is missing, and the command. With NO_INSTALL set
nothing is installed into the system.
"""

from __future__ import annotations

import fcntl
import glob
import hashlib
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import typing as t

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CACHE = os.path.join(ROOT, ".cache")
REQUIREMENTS = os.path.join(ROOT, "tests", "requirements")
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# The newest ansible-core for each controller Python; the oldest that the collection supports, and the newest, with the Pythons that run them.
CORES = {"3.10": "2.17", "3.11": "2.19"}
OLDEST_CORE = ("2.16", ("3.10", "3.11", "3.12"))
NEWEST_CORE = ("2.21", ("3.13", "3.12"))
TARGET_PYTHONS = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13")


class Failed(Exception):
    """Something is missing; the message says what to do."""


class Python(t.NamedTuple):
    """An interpreter by its absolute path, never a shim."""

    version: str
    path: str


class Venv(t.NamedTuple):
    """A virtual environment: `name` is the requirements file, `core` the ansible-core to add, or empty for the one pip chooses."""

    name: str
    python: Python
    core: str = ""

    @property
    def path(self) -> str:
        return os.path.join(CACHE, "venv", "-".join(filter(None, (self.name, self.core))))

    @property
    def bin(self) -> str:
        return os.path.join(self.path, "bin")


def this_python() -> Python:
    return Python("%d.%d" % sys.version_info[:2], sys.executable)


def newest_core(python: Python) -> str:
    return CORES.get(python.version, NEWEST_CORE[0])


def find_pythons() -> t.Dict[str, Python]:
    """The interpreters of this machine, by version: the system's, else pyenv's newest of each."""
    pyenv = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    found = {}
    for version in TARGET_PYTHONS:
        name = "python" + version
        system = [os.path.join(folder, name) for folder in ("/usr/bin", "/usr/local/bin")]
        own = sorted(glob.glob(os.path.join(pyenv, "versions", version + ".*", "bin", name)), key=_numbers, reverse=True)
        path = next((path for path in system + own if os.access(path, os.X_OK)), None)
        if path:
            found[version] = Python(version, path)
    return found


# -- system packages --


def packages(*needs: str) -> None:
    """Installs, or names, the system packages behind `needs`, which are those of _MISSING."""
    missing = list(dict.fromkeys(package for need in needs for package in _MISSING[need]()))
    if not missing:
        return
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    if not shutil.which("apt-get", path=SYSTEM_PATH):
        raise Failed("Missing, under the names that Debian gives them: %s" % " ".join(missing))
    if os.geteuid() != 0 or os.environ.get("NO_INSTALL"):
        raise Failed("System packages are missing. As root: apt-get update && %s" % shlex.join(command))
    say("Installing with apt-get: %s (NO_INSTALL=1 prevents it)" % " ".join(missing))
    env = dict(os.environ, DEBIAN_FRONTEND="noninteractive", PATH=SYSTEM_PATH)
    # A source that cannot be reached does no harm as long as the packages can be installed.
    subprocess.run(["apt-get", "-qq", "update"], env=env, stdin=subprocess.DEVNULL, check=False)
    quiet = ["apt-get", "-qq", "-o", "Dpkg::Use-Pty=0", *command[1:]]
    if subprocess.run(quiet, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False).returncode:
        raise Failed("%s failed" % shlex.join(command))


def _missing_venv() -> t.List[str]:
    # Debian leaves an empty folder of a removed module behind, which counts as a module without a file.
    if all(getattr(importlib.util.find_spec(module), "origin", None) for module in ("ensurepip", "venv")):
        return []
    generic = os.path.realpath("/usr/bin/python3") == os.path.realpath(sys.executable)
    return ["python3-venv" if generic else "python%d.%d-venv" % sys.version_info[:2]]


def _missing_compiler() -> t.List[str]:
    return [] if shutil.which("cc") and os.path.exists("/usr/include/stdio.h") else ["gcc", "libc6-dev"]


def _missing_xkb() -> t.List[str]:
    """Both libraries that make keymaps: what one makes is compared with the other."""
    needed = {"x11-xkb-utils": shutil.which("xkbcomp"), "xkb-data": os.path.isdir("/usr/share/X11/xkb"), "libxkbcommon-tools": shutil.which("xkbcli")}
    return [package for package, found in needed.items() if not found]


def _missing_display() -> t.List[str]:
    """An X server that needs no screen."""
    return [] if shutil.which("Xvfb") and shutil.which("setxkbmap") else ["xvfb", "x11-xkb-utils"]


def _missing_xorg() -> t.List[str]:
    needed = {
        "xserver-xorg-core": ["/usr/lib/xorg/Xorg", "/usr/libexec/Xorg", "/usr/bin/Xorg"],
        "xserver-xorg-video-dummy": glob.glob("/usr/lib*/xorg/modules/drivers/dummy_drv.so"),
        "x11-xserver-utils": ["/usr/bin/xrandr"],
    }
    return [package for package, paths in needed.items() if not any(os.path.exists(path) for path in paths)]


def _missing_ssh() -> t.List[str]:
    """`ansible-test integration` makes a key, and does not start without the program for it."""
    return [] if shutil.which("ssh-keygen") else ["openssh-client"]


def _missing_network() -> t.List[str]:
    """What sets and serves networks, in namespaces of the tests. None of these packages starts anything, or changes the machine's own."""
    programs = {"ip": "iproute2", "nft": "nftables", "sysctl": "procps", "dnsmasq": "dnsmasq-base"}
    return [package for program, package in programs.items() if not shutil.which(program, path=SYSTEM_PATH)]


def _missing_units() -> t.List[str]:
    """What checks units; systemd itself need not run."""
    return [] if shutil.which("systemd-analyze", path=SYSTEM_PATH) else ["systemd"]


def _missing_debian() -> t.List[str]:
    """What makes a Debian to test on, which needs root."""
    return [] if os.geteuid() or os.path.exists("/usr/sbin/debootstrap") else ["debootstrap"]


_MISSING = {
    "debian": _missing_debian, "units": _missing_units, "venv": _missing_venv, "compiler": _missing_compiler,
    "xkb": _missing_xkb, "display": _missing_display, "xorg": _missing_xorg, "ssh": _missing_ssh, "network": _missing_network,
}


# -- virtual environments --


def ready(venv: Venv) -> None:
    """Builds it, unless it is there and was built from the same requirements."""
    if _is_ready(venv):
        return
    os.makedirs(CACHE, exist_ok=True)
    with open(os.path.join(CACHE, "lock"), "w", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        if not _is_ready(venv):
            _build(venv)


def _is_ready(venv: Venv) -> bool:
    try:
        with open(os.path.join(venv.path, "stamp"), encoding="utf-8") as stream:
            return stream.read() == _stamp(venv) and os.path.exists(os.path.join(venv.bin, "python"))
    except FileNotFoundError:
        return False


def _build(venv: Venv) -> None:
    say("Building %s with Python %s" % (os.path.relpath(venv.path, ROOT), venv.python.version))
    shutil.rmtree(venv.path, ignore_errors=True)
    core = ["ansible-core~=%s.0" % venv.core] if venv.core else []
    install = [os.path.join(venv.bin, "python"), "-m", "pip", "install", "--disable-pip-version-check", "-qq"]
    for step in (
        [venv.python.path, "-m", "venv", venv.path],
        install + ["-r", os.path.join(REQUIREMENTS, venv.name + ".txt")] + core,
    ):
        if subprocess.run(step, stdin=subprocess.DEVNULL, check=False).returncode:
            raise Failed("%s failed" % shlex.join(step))
    # Written last: a virtual environment without it is one that was interrupted.
    with open(os.path.join(venv.path, "stamp"), "w", encoding="utf-8") as stream:
        stream.write(_stamp(venv))


def _stamp(venv: Venv) -> str:
    """All that the virtual environment depends on. Its path is part of it, for scripts name it in their first line."""
    digest = hashlib.sha256()
    for part in (*venv.python, venv.core, venv.path):
        digest.update(part.encode() + b"\0")
    _hash_requirements(venv.name + ".txt", digest)
    return digest.hexdigest()


def _hash_requirements(name: str, digest: t.Any) -> None:
    with open(os.path.join(REQUIREMENTS, name), "rb") as stream:
        content = stream.read()
    digest.update(content)
    for included in re.findall(r"(?m)^-r (\S+)", content.decode()):
        _hash_requirements(included, digest)


def say(text: str) -> None:
    print("--- " + text, flush=True)


def _numbers(text: str) -> t.List[int]:
    return [int(number) for number in re.findall(r"\d+", text)]
