# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real xenstored without Xen and without root, with guests.

In Python: `with XenLab() as lab: ...`. In a shell: `xenlab.py run [--domains FILE.json] -- COMMAND...`.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import mmap
import os
import re
import select
import shlex
import shutil
import signal
import socket as sockets
import subprocess
import sys
import tempfile
import time
from typing import Callable, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import packages  # noqa: E402
import wire  # noqa: E402
from guests import FIRST_RESERVED_DOMID, MACHINE_SIZE, PAGE, RINGS  # noqa: E402
from packages import LabUnavailable  # noqa: E402, F401

Text = Union[str, bytes]
Keys = Mapping[str, Text]

SOCKET_PATH_MAX = 107
LONGEST_NAME = len("/xenstored.socket")
WAIT = 15.0  # seconds, for everything the lab waits for
TOOL_WAIT = 60.0  # seconds: `xenstore-ls` of a fleet is slow
ROOM_MAX = 4000  # bytes, of the 4096 of a message
VIRQ_DOM_EXC_PORT = 1
RUNNING, DYING = b"r", b"d"


class LabError(RuntimeError):
    """The lab did not do what was asked; the message holds the end of the daemon's log."""


class ToolFailed(RuntimeError):
    """A xenstore-* program failed. `status` is its exit status, `output` and `errors` are bytes."""

    def __init__(self, command: Sequence[Text], status: int, output: bytes, errors: bytes) -> None:
        super().__init__("%s: exit status %d: %s" % (_shown(command), status, errors.decode(errors="replace").strip()))
        self.status = status
        self.output = output
        self.errors = errors


class Guest(NamedTuple):
    """Where domain `domid` finds its XenStore: each connection to `socket` is one open of the device; `device` is a pty."""

    domid: int
    socket: str
    device: str

    @property
    def url(self) -> str:
        return "xenstore://" + self.socket


class Watch:
    """What a watch on a path has fired since it was set. Reading `events` or `count` first waits for all that happened before."""

    def __init__(self, connection: wire.Wire, path: str) -> None:
        self._connection = connection
        connection.request(wire.WATCH, wire.strings(path, "lab"))
        self._settle()
        connection.events.remove(path)  # xenstored fires once when a watch is set

    @property
    def events(self) -> List[str]:
        """The paths, in the order of the changes."""
        self._settle()
        return list(self._connection.events)

    @property
    def count(self) -> int:
        return len(self.events)

    def clear(self) -> None:
        self._settle()
        self._connection.events.clear()

    def _settle(self) -> None:
        # Events and replies of a connection come in one order, so this reply follows every event of what was done before.
        self._connection.request(wire.READ, wire.strings("/"))


class XenLab:
    """One xenstored with its domains, in `directory` (default: a short temporary one, removed by stop()).

    start() and add_domain() need no particular thread, but the lab ends with the thread that started it. Errors: LabUnavailable where the
    lab cannot run, LabError where it did not do what it should, OSError with the daemon's errno for a refused operation.
    """

    def __init__(self, directory: Optional[str] = None) -> None:
        self._xen = packages.have_xen()
        self._library = packages.built("hypervisor.c")
        self._own_directory = directory is None
        self.directory = _short_directory() if directory is None else os.path.abspath(directory)
        if len(self.directory) + LONGEST_NAME > SOCKET_PATH_MAX:
            raise ValueError("%s is too long for the paths of UNIX sockets" % self.directory)
        self._daemon: Optional[subprocess.Popen[bytes]] = None
        self._bridge: Optional[subprocess.Popen[bytes]] = None
        self._machine: Optional[mmap.mmap] = None

    def __enter__(self) -> XenLab:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def socket(self) -> str:
        """Dom0's socket."""
        return os.path.join(self.directory, "xenstored.socket")

    @property
    def url(self) -> str:
        return "xenstore://" + self.socket

    # -- the daemon --

    def start(self) -> None:
        """Starts xenstored with an empty store and no domain but dom0."""
        if self._daemon and self._daemon.poll() is None:
            raise LabError("the lab is running")
        self._end_children()
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        self._power_on()
        env = dict(os.environ, **self._xen.env)
        env.update(XENLAB_DIR=self.directory, XENLAB_PARENT=str(os.getpid()), LD_PRELOAD=self._library)
        env.update(XENSTORED_RUNDIR=self.directory, XENSTORED_ROOTDIR=self.directory, XENSTORED_PATH=self.socket)
        self._daemon = self._spawn([self._xen.xenstored, "-N", "-F", self._path("xenstored.pid")], env, "xenstored")
        try:
            self._wait("xenstored to answer at %s" % self.socket, self._answers)
        except LabError:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends every process of the lab; harmless when nothing runs."""
        self._end_children()
        if self._own_directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    def kill(self) -> None:
        """kill -9 of xenstored: the socket stays behind and refuses, guests are left waiting, the store is lost."""
        _end(self._running_daemon())

    def restart(self) -> None:
        """A new xenstored at the same socket, empty; domains are to be added again."""
        self._end_children()
        self.start()

    def pause(self) -> None:
        """Stops the daemon in its tracks: clients connect, and hear nothing."""
        os.kill(self.pid, signal.SIGSTOP)
        self._wait("xenstored to be stopped", lambda: _state_of(self.pid) == "T")

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)
        self._wait("xenstored to go on", lambda: _state_of(self.pid) != "T")

    @property
    def pid(self) -> int:
        return self._running_daemon().pid

    # -- domains --

    def add_domain(self, domid: int, name: str, keys: Optional[Keys] = None, introduce: bool = True) -> None:
        """Makes /local/domain/DOMID, owned by dom0 and readable by the domain, with `name` and `keys` (relative paths) beneath it.

        Introduced, the domain exists for the daemon: it may be named in permissions, and guest() is its side. Otherwise there are nodes
        alone, and the daemon ignores the domain's entry in their permissions.
        """
        self.add_domains([(domid, name, keys or {})], introduce=introduce)

    def add_domains(self, domains: Iterable[Tuple[int, str, Keys]], introduce: bool = False) -> None:
        """As add_domain() for many, some 40,000 nodes a second; introduced, 1,500 domains of 30 keys take half a minute instead."""
        with self.connect() as store:
            store.pipeline(request for domain in domains for request in self._birth(*domain, introduce=introduce))

    def remove_domain(self, domid: int) -> None:
        """The domain ends, as the hypervisor and a toolstack end it: its nodes go, and so does what it owns elsewhere."""
        self._tell_bridge("close", domid)
        with self.connect() as store:
            if _introduced(store, domid):
                self._set_state(domid, DYING)
                self._wait("xenstored to release domain %d" % domid, lambda: not _introduced(store, domid))
            self._set_state(domid, b"\0")
            with contextlib.suppress(FileNotFoundError):
                store.request(wire.RM, wire.strings(_home(domid)))

    def guest(self, domid: int) -> Guest:
        """The side of an introduced domain."""
        with self.connect() as store:
            if not _introduced(store, domid):
                raise LabError("domain %d is not introduced" % domid)
        self._tell_bridge("open", domid)
        return Guest(domid, self._path("guest.%d" % domid), self._path("xenbus.%d" % domid))

    def _birth(self, domid: int, name: str, keys: Keys, introduce: bool) -> Iterator[wire.Request]:
        if not 0 <= domid < FIRST_RESERVED_DOMID:
            raise ValueError("no domid: %r" % domid)
        if introduce and domid:
            self._reset_ring(domid)
            self._set_state(domid, RUNNING)
            yield wire.INTRODUCE, wire.strings(domid, 1, 1)
        home = _home(domid)
        # The node will hold its children's names. Given the room at once, it never has to move; moved for each child, it leaves holes which
        # the daemon searches one by one, and a fleet takes ten times as long.
        room = min(len("name") + 1 + len("domid") + 1 + sum(len(key) + 1 for key in keys), ROOM_MAX)
        yield wire.WRITE, wire.strings(home) + bytes(room)
        yield wire.SET_PERMS, wire.strings(home, "n0", "r%d" % domid) if domid else wire.strings(home, "n0")
        yield wire.WRITE, wire.strings(home)
        yield wire.WRITE, wire.strings(home + "/name") + _bytes(name)
        yield wire.WRITE, wire.strings(home + "/domid") + _bytes(str(domid))
        for key, value in keys.items():
            yield wire.WRITE, wire.strings(home + "/" + key) + _bytes(value)

    # -- the store --

    def connect(self, domid: int = 0, timeout: float = 10.0) -> wire.Wire:
        """A connection of dom0, or of a guest; `timeout` in seconds for each wait."""
        return wire.Wire(self.guest(domid).socket if domid else self.socket, timeout)

    def read(self, path: str) -> bytes:
        with self.connect() as store:
            return store.request(wire.READ, wire.strings(path))

    def write(self, path: str, value: Text) -> None:
        with self.connect() as store:
            store.request(wire.WRITE, wire.strings(path) + _bytes(value))

    def remove(self, path: str) -> None:
        """FileNotFoundError where neither the node nor its parent exists; a missing node alone is no error to the daemon."""
        with self.connect() as store:
            store.request(wire.RM, wire.strings(path))

    @contextlib.contextmanager
    def watch(self, path: str) -> Iterator[Watch]:
        with self.connect() as store:
            yield Watch(store, path)

    # -- the real tools --

    def tool(self, name: str, *args: Text, domid: int = 0, check: bool = True, timeout: float = TOOL_WAIT) -> bytes:
        """What `xenstore-NAME ARGS` prints, run as dom0 or as a guest. ToolFailed, unless `check` is false; LabError after `timeout` s."""
        program = name if name.startswith("xenstore-") else "xenstore-" + name
        command: List[Text] = [os.path.join(self._xen.tools, program), *args]
        env = dict(os.environ, **self._tool_env(self.guest(domid).socket if domid else self.socket))
        try:
            done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, check=False)
        except subprocess.TimeoutExpired:
            raise self._error("%s took more than %s s" % (_shown(command), timeout)) from None
        if check and done.returncode:
            raise ToolFailed(command, done.returncode, done.stdout, done.stderr)
        return done.stdout

    def ls(self, path: str = "/", domid: int = 0) -> Dict[str, bytes]:
        """Every node beneath `path`, by its full path, with its value, as `xenstore-ls -f` finds them."""
        return {node: value for node, value, _perms in _listed(self.tool("ls", "-f", path, domid=domid))}

    def perms(self, path: str) -> List[str]:
        """The permissions of one node as `xenstore-ls -fp` finds them, owner first: ["n0", "r7"]."""
        parent = path.rsplit("/", 1)[0] or "/"
        for node, _value, perms in _listed(self.tool("ls", "-fp", parent)):
            if node == path:
                return perms
        raise FileNotFoundError(errno.ENOENT, "no such node", path)

    def environment(self) -> Dict[str, str]:
        """What a command needs to find this lab: XENLAB_SOCKET, XENLAB_URL, and xenstore-* in XENLAB_BIN, first in PATH."""
        folder = self._path("bin")
        os.makedirs(folder, exist_ok=True)
        assignments = " ".join("%s=%s" % (name, shlex.quote(value)) for name, value in self._tool_env(self.socket).items())
        for tool in packages.TOOLS:
            path = os.path.join(folder, "xenstore-" + tool)
            with open(path, "w") as stream:
                stream.write('#!/bin/sh\n%s exec %s "$@"\n' % (assignments, shlex.quote(os.path.join(self._xen.tools, "xenstore-" + tool))))
            os.chmod(path, 0o755)
        return {
            "XENLAB_SOCKET": self.socket,
            "XENLAB_URL": self.url,
            "XENLAB_BIN": folder,
            "PATH": folder + os.pathsep + os.environ.get("PATH", os.defpath),
        }

    def _tool_env(self, socket_path: str) -> Dict[str, str]:
        return dict(self._xen.env, XENSTORED_PATH=socket_path)

    # -- the machine --

    def _power_on(self) -> None:
        for name in ("hypervisor", "guests", "xenstored.socket"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path(name))
        # A new file: what is left of an earlier machine keeps its own.
        handle, path = tempfile.mkstemp(dir=self.directory)
        os.ftruncate(handle, MACHINE_SIZE)  # sparse: a page is there once it is used
        self._machine = mmap.mmap(handle, MACHINE_SIZE)
        os.close(handle)
        os.rename(path, self._path("machine"))

    def _reset_ring(self, domid: int) -> None:
        start = RINGS + PAGE * domid
        self._memory()[start:start + PAGE] = bytes(PAGE)

    def _set_state(self, domid: int, state: bytes) -> None:
        self._memory()[domid:domid + 1] = state
        if state == DYING:
            self._interrupt(VIRQ_DOM_EXC_PORT)

    def _interrupt(self, port: int) -> None:
        with sockets.socket(sockets.AF_UNIX, sockets.SOCK_DGRAM) as line:
            line.settimeout(WAIT)
            line.sendto(port.to_bytes(4, sys.byteorder), self._path("hypervisor"))

    def _memory(self) -> mmap.mmap:
        if self._machine is None:
            raise LabError("the lab is not running")
        return self._machine

    # -- processes --

    def _tell_bridge(self, verb: str, domid: int) -> None:
        bridge = self._bridge
        if bridge is None:
            if verb == "close":
                return
            bridge = self._bridge = self._start_bridge()
        assert bridge.stdin and bridge.stdout
        try:
            bridge.stdin.write(b"%s %d\n" % (verb.encode(), domid))
            bridge.stdin.flush()
            answer = _line(bridge.stdout.fileno(), WAIT)
        except OSError as error:
            answer = str(error).encode()
        if answer != b"ok\n":
            raise self._error("the guests' bridge did not %s domain %d: %r" % (verb, domid, answer), log="guests")

    def _start_bridge(self) -> subprocess.Popen[bytes]:
        script = os.path.join(packages.HERE, "guests.py")
        return self._spawn([sys.executable, script, self.directory], dict(os.environ), "guests", piped=True)

    def _spawn(self, command: List[str], env: Dict[str, str], name: str, piped: bool = False) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE if piped else subprocess.DEVNULL
        with open(self._path(name + ".log"), "wb") as log:
            # A session of its own: Ctrl-C is for the test, which then stops the lab.
            return subprocess.Popen(
                command, env=env, cwd=self.directory, stdin=pipe, stdout=pipe if piped else log, stderr=log, start_new_session=True
            )

    def _end_children(self) -> None:
        for child in (self._bridge, self._daemon):
            if child:
                _end(child)
        self._bridge = self._daemon = None
        if self._machine is not None:
            self._machine.close()
            self._machine = None

    def _running_daemon(self) -> subprocess.Popen[bytes]:
        if self._daemon is None or self._daemon.poll() is not None:
            raise self._error("xenstored is not running")
        return self._daemon

    def _answers(self) -> bool:
        self._running_daemon()
        try:
            self.read("/")
        except OSError:
            return False
        return True

    def _wait(self, purpose: str, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT
        while not condition():
            if time.monotonic() > deadline:
                raise self._error("waited %s s for %s" % (WAIT, purpose))
            time.sleep(0.002)

    def _error(self, message: str, log: str = "xenstored") -> LabError:
        try:
            with open(self._path(log + ".log"), "rb") as stream:
                tail = stream.read()[-2000:].decode(errors="replace").strip()
        except OSError as error:
            tail = str(error)
        return LabError("%s\n%s.log: %s" % (message, log, tail or "(empty)"))

    def _path(self, name: str) -> str:
        return os.path.join(self.directory, name)


# -- small things --


def _short_directory() -> str:
    return tempfile.mkdtemp(prefix="xenlab.", dir="/tmp" if os.access("/tmp", os.W_OK) else None)


def _home(domid: int) -> str:
    return "/local/domain/%d" % domid


def _bytes(text: Text) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def _introduced(store: wire.Wire, domid: int) -> bool:
    return store.request(wire.IS_DOMAIN_INTRODUCED, wire.strings(domid)) == b"T\0"


def _shown(command: Sequence[Text]) -> str:
    return " ".join(os.fsdecode(part) for part in command)


def _state_of(pid: int) -> str:
    with open("/proc/%d/stat" % pid) as stream:
        return stream.read().rpartition(")")[2].split()[0]


def _line(fd: int, timeout: float) -> bytes:
    ready, _write, _error = select.select([fd], [], [], timeout)
    return os.read(fd, 4096) if ready else b"no answer for %d s" % timeout


def _end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait(WAIT)
    for stream in (child.stdin, child.stdout):
        if stream:
            with contextlib.suppress(OSError):
                stream.close()


LISTED = re.compile(rb'(\S+) = "(.*)"(?:[ .]*\(([^()]*)\))?')
ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|.)")
LETTERS = {b"t": b"\t", b"n": b"\n", b"r": b"\r", b"\\": b"\\"}


def _listed(output: bytes) -> Iterator[Tuple[str, bytes, List[str]]]:
    for line in output.split(b"\n")[:-1]:
        found = LISTED.fullmatch(line)
        if not found:
            raise LabError("xenstore-ls printed %r" % line)
        path, value, perms = found.groups()
        yield path.decode(), ESCAPE.sub(_unescaped, value), (perms or b"").decode().split(",")


def _unescaped(found: re.Match[bytes]) -> bytes:
    code = found.group(1)
    if code in LETTERS:
        return LETTERS[code]
    return bytes([int(code[1:], 16) if code.startswith(b"x") else int(code, 8)])


# -- the command --


def main(argv: Optional[Sequence[str]] = None) -> int:
    parser = _parser()
    options = parser.parse_args(argv)
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        parser.error("no command to run")
    domains = json.load(options.domains) if options.domains else {}
    # Otherwise a signal would end this process without its stop().
    signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit(128 + signal.SIGTERM))
    try:
        with XenLab() as lab:
            lab.add_domain(0, "Domain-0")
            numbered = [(domid, name, keys) for domid, (name, keys) in enumerate(domains.items(), 1)]
            lab.add_domains(numbered, introduce=not options.nodes_only)
            guests = {"XENLAB_GUEST_%d" % domid: lab.guest(domid).socket for domid in options.guest}
            status = subprocess.call(command, env=dict(os.environ, **lab.environment(), **guests))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except (LabError, LabUnavailable, OSError) as error:
        sys.exit("xenlab: %s" % error)
    return 128 - status if status < 0 else status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="A real xenstored without Xen and without root, with guests.")
    run = parser.add_subparsers(metavar="run", required=True).add_parser("run", help="run a command in a lab of its own")
    run.add_argument("--domains", type=argparse.FileType("r"), metavar="FILE", help="JSON, {name: {key: text}}; domids count from 1")
    run.add_argument("--nodes-only", action="store_true", help="do not introduce the domains: much faster for a fleet, and no guests")
    run.add_argument("--guest", type=int, action="append", default=[], metavar="DOMID", help="export XENLAB_GUEST_<DOMID>, its socket")
    run.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="sees XENLAB_SOCKET, XENLAB_URL and XENLAB_BIN")
    return parser


if __name__ == "__main__":
    sys.exit(main())
