# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the programs of the lab: Xen's own, installed or unpacked from Debian's packages into <checkout>/.cache, and what `cc` builds.

Nothing here needs root. $XENLAB_CACHE names another cache folder; removing the folder fetches and builds again.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import glob
import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
from typing import Dict, Iterator, List, NamedTuple, Optional

HERE = os.path.dirname(os.path.abspath(__file__))
CACHE = os.environ.get("XENLAB_CACHE") or os.path.join(os.path.dirname(os.path.dirname(HERE)), ".cache")
TOOLS = ("read", "write", "ls", "list", "exists", "rm", "chmod", "watch")

# Never $PATH: there, inside `xenlab.py run`, `xenstore-read` is a wrapper that talks to that lab.
SYSTEM_BIN = os.pathsep.join(("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"))
FETCH_TIMEOUT = 600

# The machine's own hooks after `apt-get update` (caches, desktop services) are for root's lists, not for these.
APT_CONF = """\
Dir::State "%(work)s/state";
Dir::State::status "/var/lib/dpkg/status";
Dir::Cache "%(work)s/cache";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::http::Timeout "60";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""


class LabUnavailable(RuntimeError):
    """This machine cannot run the lab; the message says why."""


class Program(NamedTuple):
    """A program: its path, and env, what it needs in its environment."""

    path: str
    env: Dict[str, str]


class Xen(NamedTuple):
    """xenstored: path; tools: the directory of xenstore-*; env: what both need in their environment."""

    xenstored: str
    tools: str
    env: Dict[str, str]


def is_debian_like() -> bool:
    """True where the lab can fetch what it lacks, so that LabUnavailable is a failure and not a reason to skip."""
    return bool(shutil.which("apt-get") and shutil.which("dpkg-deb") and os.path.exists("/var/lib/dpkg/status"))


@functools.lru_cache(maxsize=None)
def have_xen() -> Xen:
    """The installed xenstored and tools, else the cached ones, else fetched ones. Raises LabUnavailable."""
    if platform.system() != "Linux":
        raise LabUnavailable("the lab needs Linux, this is %s" % platform.system())
    return _installed() or _unpacked() or _fetched()


@functools.lru_cache(maxsize=None)
def libxenstore() -> str:
    """The path of libxenstore.so.4, as the tools load it. Raises LabUnavailable."""
    xen = have_xen()
    for line in _ldd(os.path.join(xen.tools, "xenstore-read"), xen.env):
        found = re.match(r"\s*libxenstore\.so\S* => (/\S+)", line)
        if found:
            return os.path.realpath(found.group(1))
    raise LabUnavailable("%s/xenstore-read does not load libxenstore" % xen.tools)


@functools.lru_cache(maxsize=None)
def unpacked(package: str, path: str) -> Program:
    """The program `path` of a Debian package that must not be installed, because it would take over the machine's network. Raises LabUnavailable."""
    installed = "/" + path
    if os.access(installed, os.X_OK):
        return Program(installed, {})
    root = os.path.join(_cache("deb"), package)
    with _locked(root + ".lock"):
        if not os.path.isdir(root):
            if not is_debian_like():
                raise LabUnavailable("there is no %s, and without apt-get and dpkg-deb it cannot be fetched" % installed)
            _unpack(package, root)
    libraries = [folder for pattern in ("usr/lib/*", "lib/*", "usr/lib/*/systemd", "lib/systemd", "usr/lib/systemd") for folder in glob.glob(
        os.path.join(root, pattern)) if glob.glob(os.path.join(folder, "*.so*"))]
    # Older releases have /lib beside /usr/lib.
    found = next((each for each in (path, path.replace("usr/", "", 1)) if os.access(os.path.join(root, each), os.X_OK)), path)
    program = Program(os.path.join(root, found), {"LD_LIBRARY_PATH": os.pathsep.join(libraries)})
    missing = [line.split()[0] for line in _ldd(program.path, program.env) if "not found" in line]
    if missing or not os.access(program.path, os.X_OK):
        raise LabUnavailable("the package %s holds no %s that runs here; it lacks %s" % (package, path, ", ".join(missing) or "the program"))
    return program


@functools.lru_cache(maxsize=None)
def files_of(package: str, release: str) -> str:
    """The folder with what is in the package, of that release of Debian; for files alone, as nothing that it needs is there. Raises LabUnavailable."""
    root = os.path.join(_cache("deb"), "%s-%s" % (package, release))
    with _locked(root + ".lock"):
        if not os.path.isdir(root):
            if not is_debian_like():
                raise LabUnavailable("without apt-get and dpkg-deb there is no %s of %s" % (package, release))
            with tempfile.TemporaryDirectory(prefix="fetch.", dir=os.path.dirname(root)) as work:
                os.chmod(work, 0o755)
                conf = _apt(work)
                with open(os.path.join(work, "sources.list"), "w") as stream:
                    stream.write("deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian %s main\n" % release)
                with open(conf, "a") as stream:
                    stream.write('Dir::Etc::sourcelist "%s/sources.list";\nDir::Etc::sourceparts "-";\n' % work)
                debs = os.path.join(work, "debs")
                _run(["apt-get", "-c", conf, "--quiet", "update"])
                _run(["apt-get", "-c", conf, "--quiet", "download", package], cwd=debs)
                for deb in os.listdir(debs):
                    _run(["dpkg-deb", "-x", os.path.join(debs, deb), os.path.join(work, "root")])
                os.rename(os.path.join(work, "root"), root)
    return root


@functools.lru_cache(maxsize=None)
def built(source: str, program: bool = False) -> str:
    """The path of the shared library, or of the program, built from the C file `source` of this folder. Raises LabUnavailable."""
    path = os.path.join(HERE, source)
    with open(path, "rb") as stream:
        digest = hashlib.sha256(stream.read()).hexdigest()[:16]
    name = "%s-%s-%s%s" % (os.path.splitext(source)[0], platform.machine(), digest, "" if program else ".so")
    target = os.path.join(_cache("lab"), name)
    if not os.path.exists(target):
        _compile(path, target, [] if program else ["-shared", "-fPIC"])
    return target


# -- Xen --


def _installed() -> Optional[Xen]:
    elsewhere = shutil.which("xenstored", path=SYSTEM_BIN)
    daemons = _newest("/usr/lib/xen-*/bin/xenstored") + ([elsewhere] if elsewhere else [])
    reader = shutil.which("xenstore-read", path=SYSTEM_BIN)
    return Xen(daemons[0], os.path.dirname(reader), {}) if daemons and reader else None


def _unpacked() -> Optional[Xen]:
    return _in_root(os.path.join(CACHE, "xen", "root"))


def _in_root(root: str) -> Optional[Xen]:
    daemons = _newest(os.path.join(root, "usr/lib/xen-*/bin/xenstored"))
    libraries = glob.glob(os.path.join(root, "usr/lib/*/libxenstore.so.4"))
    if not daemons or not libraries:
        return None
    return Xen(daemons[0], os.path.join(root, "usr/bin"), {"LD_LIBRARY_PATH": os.path.dirname(libraries[0])})


def _fetched() -> Xen:
    if not is_debian_like():
        raise LabUnavailable("xenstored and xenstore-read are not installed, and without apt-get and dpkg-deb they cannot be fetched")
    cache = _cache("xen")
    with _locked(os.path.join(cache, "lock")):
        xen = _unpacked()
        if xen:
            return xen
        with tempfile.TemporaryDirectory(prefix="fetch.", dir=cache) as work:
            os.chmod(work, 0o755)
            _fetch_into(work)
            root = os.path.join(cache, "root")
            shutil.rmtree(root, ignore_errors=True)
            os.rename(os.path.join(work, "root"), root)
    found = _unpacked()
    if not found:
        raise LabUnavailable("the unpacked packages hold no xenstored")
    return found


def _apt(work: str) -> str:
    """The configuration with which apt keeps everything in a folder of ours."""
    for folder in ("state/lists/partial", "cache/archives/partial", "debs", "root"):
        os.makedirs(os.path.join(work, folder))
    conf = os.path.join(work, "apt.conf")
    with open(conf, "w") as stream:
        stream.write(APT_CONF % {"work": work})
    return conf


def _fetch_into(work: str) -> None:
    conf = _apt(work)
    # One unreachable source among many makes this fail with all we need fetched; what is missing shows below.
    update = _run(["apt-get", "-c", conf, "--quiet", "update"], check=False)
    utils = _newest_utils(conf, update)
    names = [utils, "xenstore-utils"] + _xen_libraries(conf, utils)
    debs = os.path.join(work, "debs")
    _run(["apt-get", "-c", conf, "--quiet", "download"] + names, cwd=debs)
    for deb in sorted(os.listdir(debs)):
        _run(["dpkg-deb", "-x", os.path.join(debs, deb), os.path.join(work, "root")])
    _check_complete(os.path.join(work, "root"))


def _unpack(package: str, root: str) -> None:
    """The package and the libraries that it needs and the machine lacks."""
    with tempfile.TemporaryDirectory(prefix="fetch.", dir=os.path.dirname(root)) as work:
        os.chmod(work, 0o755)
        conf = _apt(work)
        _run(["apt-get", "-c", conf, "--quiet", "update"], check=False)
        plan = _run(["apt-get", "-c", conf, "--simulate", "--no-install-recommends", "install", package])
        names = [name for name in re.findall(r"(?m)^Inst (\S+)", plan) if name == package or name.startswith("lib")]
        debs = os.path.join(work, "debs")
        _run(["apt-get", "-c", conf, "--quiet", "download", *names], cwd=debs)
        for deb in sorted(os.listdir(debs)):
            _run(["dpkg-deb", "-x", os.path.join(debs, deb), os.path.join(work, "root")])
        os.rename(os.path.join(work, "root"), root)


def _newest_utils(conf: str, update: str) -> str:
    names = _run(["apt-cache", "-c", conf, "pkgnames", "xen-utils-"]).split()
    utils = [name for name in names if re.match(r"xen-utils-\d+\.\d+$", name)]
    if not utils:
        raise LabUnavailable("apt names no xen-utils-X.YY; `apt-get update` said:\n%s" % update[-2000:])
    return max(utils, key=_version)


def _xen_libraries(conf: str, utils: str) -> List[str]:
    no = ["--no-%s" % kind for kind in ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")]
    lines = _run(["apt-cache", "-c", conf, "depends", "--recurse"] + no + [utils, "xenstore-utils"]).splitlines()
    return sorted({line for line in lines if re.match(r"libxen[a-z0-9.+-]*$", line)})


def _check_complete(root: str) -> None:
    xen = _in_root(root)
    if not xen:
        raise LabUnavailable("the packages hold no xenstored of /usr/lib/xen-*/bin")
    for program in (xen.xenstored, os.path.join(xen.tools, "xenstore-read")):
        missing = [line.split()[0] for line in _ldd(program, xen.env) if "not found" in line]
        if missing:
            raise LabUnavailable("%s lacks %s" % (os.path.basename(program), ", ".join(missing)))


# -- C --


def _compile(source: str, target: str, form: List[str]) -> None:
    compiler = shutil.which("cc")
    if not compiler:
        raise LabUnavailable("the lab needs a C compiler, and there is no `cc`")
    handle, unfinished = tempfile.mkstemp(dir=os.path.dirname(target))
    os.close(handle)
    try:
        _run([compiler] + form + ["-O2", "-Wall", "-o", unfinished, source, "-ldl"])
        os.chmod(unfinished, 0o755)
        os.rename(unfinished, target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(unfinished)


# -- small things --


def _cache(name: str) -> str:
    folder = os.path.join(CACHE, name)
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise LabUnavailable("the lab's cache cannot be made: %s" % error) from None
    return folder


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    with open(path, "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _run(command: List[str], check: bool = True, cwd: Optional[str] = None) -> str:
    env = dict(os.environ, LC_ALL="C")
    try:
        done = subprocess.run(
            command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=FETCH_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LabUnavailable("%s: %s" % (" ".join(command), error)) from None
    output = done.stdout.decode(errors="replace")
    if check and done.returncode:
        raise LabUnavailable("%s failed:\n%s" % (" ".join(command), output[-2000:]))
    return output


def _ldd(program: str, env: Dict[str, str]) -> List[str]:
    done = subprocess.run(["ldd", program], env=dict(os.environ, **env), stdout=subprocess.PIPE, check=False)
    return done.stdout.decode().splitlines()


def _version(name: str) -> List[int]:
    return [int(number) for number in re.findall(r"\d+", name)]


def _newest(pattern: str) -> List[str]:
    return sorted(glob.glob(pattern), key=lambda path: _version(path.split("/xen-")[-1]), reverse=True)
