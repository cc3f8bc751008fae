# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process behind an Admin API lab: qrexec, its policy, qubesd and the qubes' services in one. peer.py says how it is called."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import shutil
import socket
import sys
from typing import Any, Dict, List, Mapping, Optional

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import peer  # noqa: E402
from admincalls import Call, Entry, QrexecCall  # noqa: E402
from adminqubes import House  # noqa: E402
from rpcservices import Services  # noqa: E402

BIN, CLIENT, QREXEC = "bin", "qrexec-client-vm", "bin/qrexec.sock"
# What else there is on other machines: dom0 has the first two of these clients, an admin qube the last two.
OTHERS = {"bin/dom0": "qrexec-client", "bin/admin": "qvm-run"}
SERVICES, RECORDS = "services", "records"
RELEASE = (4, 3)


class Refusal:
    """Refuses what all its globs match."""

    def __init__(self, service: Optional[str], argument: Optional[str], target: Optional[str]) -> None:
        self._globs = (service, argument, target)

    def takes(self, entry: Entry) -> bool:
        found = (entry.service, entry.argument, entry.target)
        return all(glob is None or fnmatch.fnmatchcase(text, glob) for text, glob in zip(found, self._globs))


class Peer(peer.Peer):
    """The qubes, what was called, and what is refused."""

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        self.house = House()
        self.services = Services(self.loop, os.path.join(folder, SERVICES), os.path.join(folder, RECORDS))
        self.release = RELEASE
        self.entries: List[Entry] = []
        self.most_at_once = 0
        self._open: Dict[Call, None] = {}
        self._refusals: List[Refusal] = []
        self._qrexec = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def serve(self) -> None:
        for folder, name in {BIN: CLIENT, **OTHERS}.items():
            os.mkdir(os.path.join(self.folder, folder))
            shutil.copy(sys.argv[3], os.path.join(self.folder, folder, name))
        for name in (SERVICES, RECORDS):
            os.mkdir(os.path.join(self.folder, name))
        self.listen(self._qrexec, QREXEC, lambda connection: QrexecCall(self, connection))
        super().serve()

    def leave(self) -> None:
        self.services.end()
        for name in (BIN, SERVICES, RECORDS):
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(os.path.join(self.folder, name))
        super().leave()

    # -- for calls --

    def begun(self, call: Call) -> None:
        self.entries.append(call.entry)
        self._open[call] = None
        self.most_at_once = max(self.most_at_once, len(self._open))

    def ended(self, call: Call) -> None:
        self._open.pop(call, None)

    def refuses(self, entry: Entry) -> bool:
        return any(refusal.takes(entry) for refusal in self._refusals)

    # -- calls of the lab --

    def do_add(self, qubes: Mapping[str, Mapping[str, Any]]) -> None:
        for name, fields in qubes.items():
            qube = self.house.add(name, fields["klass"], fields["state"])
            qube.features.update(fields["features"])
            qube.properties.update(fields["properties"])

    def do_remove(self, qube: str) -> None:
        del self.house.qubes[self.house.get(qube).name]

    def do_qubes(self) -> List[str]:
        return list(self.house.qubes)

    def do_features(self, qube: str) -> Dict[str, str]:
        return self.house.get(qube).features

    def do_properties(self, qube: str) -> Dict[str, str]:
        return self.house.get(qube).properties

    def do_set_feature(self, qube: str, name: str, value: str) -> None:
        self.house.get(qube).features[name] = value

    def do_remove_feature(self, qube: str, name: str) -> None:
        del self.house.get(qube).features[name]

    def do_set_property(self, qube: str, name: str, value: str) -> None:
        self.house.get(qube).properties[name] = value

    def do_reset_property(self, qube: str, name: str) -> None:
        del self.house.get(qube).properties[name]

    def do_state(self, qube: str, state: str) -> None:
        self.house.bring(self.house.get(qube), state)

    def do_calls(self) -> List[Entry]:
        return self.entries

    def do_running(self) -> int:
        return self.services.running()

    def do_most_at_once(self) -> int:
        return self.most_at_once

    def do_clear(self) -> None:
        self.entries = []
        self.most_at_once = len(self._open)

    def do_refuse(self, service: Optional[str], argument: Optional[str], target: Optional[str]) -> None:
        self._refusals.append(Refusal(service, argument, target))

    def do_allow_all(self) -> None:
        self._refusals.clear()


if __name__ == "__main__":
    peer.run(Peer)
