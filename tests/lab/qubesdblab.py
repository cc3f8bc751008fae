# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""QubesDB daemons without Qubes OS: a peer that speaks the daemon's side of the protocol, and tells what its clients did.

In Python: `with QubesdbLab() as lab: ...`. In a shell: `qubesdblab.py run [--keys FILE.json] -- COMMAND...`, and for COMMAND, or elsewhere with
--control, `qubesdblab.py ls | put | rm | add | ...`. What they do is served by qubesdbpeer.py; the README says how true to life that is.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from typing import Callable, Dict, List, Mapping, Optional, Sequence, Union

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lab import Lab, LabError  # noqa: E402
from qubesdbpeer import OWN  # noqa: E402
from qubesdbprotocol import CHANGES, KINDS, Entry  # noqa: E402

Text = Union[str, bytes]
Keys = Mapping[str, Text]


class QubesdbLab(Lab):
    """Daemons of qubes, all served by one process. Keys have no leading slash."""

    program = "qubesdbpeer.py"

    @property
    def url(self) -> str:
        return "qubesdb://" + self.folder

    def environment(self) -> Dict[str, str]:
        """What a command needs to find this lab."""
        return {"QUBESDBLAB_URL": self.url, "QUBESDBLAB_FOLDER": self.folder, "QUBESDBLAB_CONTROL": self.control}

    # -- daemons --

    def add(self, qube: str, keys: Optional[Keys] = None, twin: bool = True) -> None:
        """The daemon of one qube as dom0 has it. Without `twin` it is one before 4.3.3, which has no read-only socket."""
        self.add_many({qube: keys or {}}, twin)

    def add_own(self, keys: Optional[Keys] = None, twin: bool = True) -> None:
        """The daemon inside a qube; its name in calls is "self"."""
        self.add_many({OWN: keys or {}}, twin)

    def add_many(self, qubes: Mapping[str, Keys], twin: bool = True) -> None:
        self.call("add", qubes={qube: _as_bytes(keys) for qube, keys in qubes.items()}, twin=twin)

    def qubes(self) -> List[str]:
        return self.call("qubes")

    def kill(self, qube: str) -> None:
        """As SIGKILL: connections end, the sockets stay and refuse, the database is lost."""
        self.call("kill", qube=qube)

    def end(self, qube: str) -> None:
        """As SIGTERM: the sockets are gone."""
        self.call("end", qube=qube)

    def restart(self, qube: str, keys: Optional[Keys] = None) -> None:
        """A new daemon at the same sockets."""
        self.call("restart", qube=qube, keys=_as_bytes(keys or {}))

    def expose(self) -> None:
        """From now on a SIGPIPE ends the process, as it ends a daemon that nobody has started with that signal ignored: all daemons at once."""
        self.call("expose")

    def died(self) -> Optional[int]:
        """The signal that ended the process; None while it runs."""
        assert self._peer
        status = self._peer.poll()
        return None if status is None else -status

    def freeze(self, qube: str) -> None:
        """Stops it in its tracks: clients connect, and hear nothing until thaw()."""
        self.call("freeze", qube=qube)

    def thaw(self, qube: str) -> None:
        self.call("thaw", qube=qube)

    # -- what they hold, from the peer's memory --

    def keys(self, qube: str) -> Dict[str, bytes]:
        return self.call("keys", qube=qube)

    def put(self, qube: str, key: str, value: Text) -> None:
        """As the other side of the vchan does it: nothing is asked, watches fire."""
        self.call("put", qube=qube, key=key, value=_bytes(value))

    def remove(self, qube: str, key: str) -> None:
        """As put(); a key with a trailing slash is a prefix, an empty one is everything."""
        self.call("remove", qube=qube, key=key)

    # -- what clients did --

    def requests(self, qube: str) -> List[Entry]:
        """In the order in which they came, answered or not."""
        return [Entry(*fields) for fields in self.call("requests", qube=qube)]

    def writes(self, qube: str) -> List[Entry]:
        return [request for request in self.requests(qube) if request.kind in {KINDS[kind] for kind in CHANGES}]

    def violations(self, qube: str) -> List[str]:
        """What would have stalled or ended a real daemon, or was refused for its form; the README lists them."""
        return self.call("violations", qube=qube)

    def clear(self, qube: str) -> None:
        """Forgets requests and violations."""
        self.call("clear", qube=qube)

    # -- what they do wrong --

    def rule(
        self, qube: str, action: str, kind: Optional[str] = None, path: Optional[str] = None, skip: int = 0, times: Optional[int] = None,
        **arguments: object,
    ) -> None:
        """Misbehave, with the requests that match: an action of qubesdbrules.py and its arguments. The first of several rules is taken."""
        if isinstance(arguments.get("keys"), dict):
            arguments["keys"] = _as_bytes(arguments["keys"])
        self.call("rule", qube=qube, action=action, kind=kind, path=path, skip=skip, times=times, arguments=arguments)

    def unrule(self, qube: str) -> None:
        """Behave again. What a connection is in the middle of goes on."""
        self.call("unrule", qube=qube)


def _bytes(text: Text) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def _as_bytes(keys: Keys) -> Dict[str, bytes]:
    return {key: _bytes(value) for key, value in keys.items()}


# -- the command --


def main(argv: Optional[Sequence[str]] = None) -> int:
    options = _parser().parse_args(argv)
    try:
        return options.function(options) or 0
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except (LabError, OSError, ValueError) as error:
        sys.exit("qubesdblab: %s" % error)


def _run(options: argparse.Namespace) -> int:
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        raise ValueError("no command to run")
    # Otherwise a signal would end this process without its stop().
    signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit(128 + signal.SIGTERM))
    with QubesdbLab() as lab:
        lab.add_many(json.load(options.keys) if options.keys else {})
        status = subprocess.call(command, env=dict(os.environ, **lab.environment()))
    return 128 - status if status < 0 else status


def _ls(lab: QubesdbLab, options: argparse.Namespace) -> None:
    _show(lab, options, lambda qube: {key: _shown(value) for key, value in lab.keys(qube).items()})


def _requests(lab: QubesdbLab, options: argparse.Namespace) -> None:
    _show(lab, options, lambda qube: [dict(entry._asdict(), data=_shown(entry.data)) for entry in lab.requests(qube)])


def _violations(lab: QubesdbLab, options: argparse.Namespace) -> None:
    _show(lab, options, lab.violations)


def _show(lab: QubesdbLab, options: argparse.Namespace, told: Callable[[str], object]) -> None:
    print(json.dumps({qube: told(qube) for qube in ([options.qube] if options.qube else lab.qubes())}))


def _shown(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")


def _put(lab: QubesdbLab, options: argparse.Namespace) -> None:
    lab.put(options.qube, options.key, os.fsencode(options.text))


def _rm(lab: QubesdbLab, options: argparse.Namespace) -> None:
    lab.remove(options.qube, options.key)


def _add(lab: QubesdbLab, options: argparse.Namespace) -> None:
    lab.add(options.qube, _given(options.keys), twin=not options.no_twin)


def _restart(lab: QubesdbLab, options: argparse.Namespace) -> None:
    lab.restart(options.qube, _given(options.keys))


def _given(arguments: Sequence[str]) -> Dict[str, bytes]:
    pairs = [argument.partition("=") for argument in arguments]
    return {key: os.fsencode(value) for key, _equals, value in pairs}


def _rule(lab: QubesdbLab, options: argparse.Namespace) -> None:
    lab.rule(options.qube, options.action, **json.loads(options.arguments))


def _simple(lab: QubesdbLab, options: argparse.Namespace) -> None:
    getattr(lab, options.name)(options.qube)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="QubesDB daemons without Qubes OS.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    run = commands.add_parser("run", help="run a command in a lab of its own")
    run.add_argument("--keys", type=argparse.FileType("r"), metavar="FILE", help='JSON, {qube: {key: text}}; the qube "self" is the inside of one')
    run.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="sees QUBESDBLAB_URL, QUBESDBLAB_FOLDER and QUBESDBLAB_CONTROL")
    run.set_defaults(function=_run)
    asked = argparse.ArgumentParser(add_help=False)
    default = os.environ.get("QUBESDBLAB_CONTROL")
    asked.add_argument("--control", default=default, required=not default, metavar="PATH", help="of a running lab; default: $QUBESDBLAB_CONTROL")

    def command(
        name: str, call: Callable[[QubesdbLab, argparse.Namespace], None], text: str, every: bool = False
    ) -> argparse.ArgumentParser:
        found = commands.add_parser(name, help=text, parents=[asked])
        found.add_argument("qube", metavar="QUBE", nargs="?" if every else None)
        found.set_defaults(function=lambda options: call(QubesdbLab.attach(options.control), options), name=name)
        return found

    command("ls", _ls, "what qubes hold, as JSON: {qube: {key: text}}", every=True)
    command("requests", _requests, "what clients sent, as JSON: {qube: [request]}", every=True)
    command("violations", _violations, "what would have harmed a real daemon, as JSON: {qube: [text]}", every=True)
    put = command("put", _put, "set a key, as the other side does it")
    put.add_argument("key")
    put.add_argument("text")
    command("rm", _rm, "remove a key, as the other side does it").add_argument("key")
    add = command("add", _add, "start the daemon of a qube")
    add.add_argument("--no-twin", action="store_true", help="without a read-only socket")
    restart = command("restart", _restart, "a new daemon at the same sockets")
    for each in (add, restart):
        each.add_argument("keys", nargs="*", metavar="KEY=TEXT")
    rule = command("rule", _rule, "misbehave")
    rule.add_argument("action")
    rule.add_argument("arguments", nargs="?", default="{}", help="JSON: kind, path, skip, times, and the action's own")
    for name, text in (
        ("unrule", "behave again"),
        ("clear", "forget requests and violations"),
        ("kill", "as SIGKILL: the sockets stay"),
        ("end", "as SIGTERM: the sockets go"),
        ("freeze", "answer nothing"),
        ("thaw", "go on"),
    ):
        command(name, _simple, text)
    return parser


if __name__ == "__main__":
    sys.exit(main())
