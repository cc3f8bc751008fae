# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Qubes' Admin API without Qubes OS: a `qrexec-client-vm` that answers as dom0 would, and tells what it was asked.

In Python: `with AdminLab() as lab: ...`. What it does is served by adminpeer.py; the README says how true to life that is.
"""

from __future__ import annotations

import os
import pathlib
import sys
from typing import Any, Dict, List, Mapping, Optional, Union

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import packages  # noqa: E402
from admincalls import Entry  # noqa: E402
from adminpeer import BIN, QREXEC, RECORDS, SERVICES  # noqa: E402
from lab import Lab  # noqa: E402

Text = Union[str, bytes]
Texts = Mapping[str, Text]

RECORDER = """#!/bin/sh
into="$LAB_RECORDS/$LAB_QUBE.${QREXEC_SERVICE_FULL_NAME%%+*}"
cat > "$into~" && mv "$into~" "$into"
"""


class AdminLab(Lab):
    """Qubes, all served by one process; dom0 is there from the start."""

    program = "adminpeer.py"
    longest = QREXEC

    @property
    def bin(self) -> str:
        """The folder of qrexec-client-vm, for the front of $PATH."""
        return os.path.join(self.folder, BIN)

    @property
    def socket(self) -> str:
        return os.path.join(self.folder, QREXEC)

    def environment(self, machine: str = "") -> Dict[str, str]:
        """What a command needs to find this lab, in a qube, or as if the machine were `dom0` or an `admin` qube.

        Dom0's `qrexec-client-vm` is not there on Qubes OS; here the Admin API is asked through it.
        """
        found = [os.path.join(self.bin, machine)] if machine else []
        return {
            "PATH": os.pathsep.join([*found, self.bin, os.environ.get("PATH", os.defpath)]), "ADMINLAB_SOCKET": self.socket, "ADMINLAB_FOLDER": self.folder,
            "ADMINLAB_CONTROL": self.control,
        }

    def start(self) -> None:
        self.arguments = [packages.built("qrexecclient.c", program=True)]
        super().start()

    # -- qubes --

    def add(
        self, name: str, klass: str = "AppVM", state: str = "Running", features: Optional[Texts] = None, properties: Optional[Texts] = None,
        template: Optional[str] = None, netvm: Optional[str] = None,
    ) -> None:
        self.add_many({
            name: {
                "klass": klass, "state": state, "features": features or {}, "properties": properties or {}, "template": template, "netvm": netvm,
            }
        })

    def add_many(self, qubes: Mapping[str, Mapping[str, Any]]) -> None:
        """{name: arguments of add()}"""
        self.call("add", qubes={name: _fields(**fields) for name, fields in qubes.items()})

    def remove(self, name: str) -> None:
        self.call("remove", qube=name)

    def state(self, name: str, state: str) -> None:
        self.call("state", qube=name, state=state)

    def qubes(self) -> List[str]:
        return self.call("qubes")

    # -- their settings, past the API --

    def features(self, qube: str) -> Dict[str, str]:
        return self.call("features", qube=qube)

    def properties(self, qube: str) -> Dict[str, str]:
        """Those that are set, as Get shows them."""
        return self.call("properties", qube=qube)

    def set_feature(self, qube: str, name: str, value: Text) -> None:
        self.call("set_feature", qube=qube, name=name, value=_text(value))

    def remove_feature(self, qube: str, name: str) -> None:
        self.call("remove_feature", qube=qube, name=name)

    def set_property(self, qube: str, name: str, value: Text) -> None:
        self.call("set_property", qube=qube, name=name, value=_text(value))

    def reset_property(self, qube: str, name: str) -> None:
        self.call("reset_property", qube=qube, name=name)

    # -- what was called --

    def calls(self) -> List[Entry]:
        """In the order in which they came, answered or not."""
        return [Entry(**fields) for fields in self.call("calls")]

    def changes(self) -> List[Entry]:
        """Those that could have changed something."""
        return [entry for entry in self.calls() if entry.changes]

    def most_at_once(self) -> int:
        return self.call("most_at_once")

    def clear(self) -> None:
        """Forgets the calls."""
        self.call("clear")

    # -- services --

    def service(self, name: str, script: str) -> None:
        """A service of all qubes, or with its argument in its name, that runs this script. $LAB_QUBE is the qube, $LAB_RECORDS a folder."""
        path = os.path.join(self.folder, SERVICES, name)
        with open(path + "~", "w", encoding="utf-8") as stream:
            stream.write(script)
        os.chmod(path + "~", 0o755)
        os.rename(path + "~", path)

    def recorder(self, name: str, rest: str = "") -> None:
        """A service that records what reaches its standard input, and then goes on with the rest of its script."""
        self.service(name, RECORDER + rest)

    def records(self) -> Dict[str, bytes]:
        """What was recorded, by `QUBE.SERVICE` of the last call each."""
        folder = os.path.join(self.folder, RECORDS)
        return {entry.name: pathlib.Path(entry.path).read_bytes() for entry in os.scandir(folder) if not entry.name.endswith("~")}

    def running(self) -> int:
        """How many services run now."""
        return self.call("running")

    # -- policy --

    def refuse(self, service: Optional[str] = None, argument: Optional[str] = None, target: Optional[str] = None) -> None:
        """Refuses the calls that match, by qrexec's policy; globs."""
        self.call("refuse", service=service, argument=argument, target=target)

    def allow_all(self) -> None:
        self.call("allow_all")


def _text(value: Text) -> str:
    """Bytes that are not UTF-8 as surrogates."""
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


def _fields(
    klass: str = "AppVM", state: str = "Running", features: Optional[Texts] = None, properties: Optional[Texts] = None,
    template: Optional[str] = None, netvm: Optional[str] = None,
) -> Dict[str, object]:
    given = {name: _text(value) for name, value in (properties or {}).items()}
    given.update({name: value for name, value in (("template", template), ("netvm", netvm)) if value is not None})
    return {
        "klass": klass, "state": state, "features": {name: _text(value) for name, value in (features or {}).items()}, "properties": given,
    }
