# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any, Dict

from ansible_collections.qubes.vmconfig.plugins.module_utils._errors import Refused
from ansible_collections.qubes.vmconfig.plugins.module_utils._text import show
from ansible_collections.qubes.vmconfig.plugins.plugin_utils._role_action import RoleAction


class ActionModule(RoleAction):
    """Says what is known of the qube of a host; what is not known yet is read and looked at."""

    def work(self) -> Dict[str, Any]:
        qubes = self._task.args.get("qubes")
        if qubes is not None:
            return {"changed": False, "qubes": self._of_others(qubes)}
        if not self.flag_of_task("read", True):
            self.refuse()
            return {"changed": False, "noted": self.noted()}
        seen = self.begin()
        return {"changed": False, "qube": seen.qube, **seen.found, "machine": seen.machine._asdict(), "protected": seen.place["protected"],
                "destdir": self.destdir, "noted": self.noted()}

    def _of_others(self, qubes: Any) -> Any:
        """The keys of some qubes, which are in the store of the host that the task is delegated to."""
        if not isinstance(qubes, list) or not all(isinstance(each, str) for each in qubes):
            raise Refused("qubes is %s; expected a list of names" % show(qubes))
        self.refuse()
        source = "on %s" % self.host
        found = {qube: self.memory.get("keys", source, qube) for qube in qubes}
        return self.read(qubes, source) if None in found.values() else found
