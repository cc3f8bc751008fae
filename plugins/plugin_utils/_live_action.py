# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The controller's half of the modules that set what runs: its options, and what is left to the agent."""

from __future__ import annotations

from typing import Any, Dict, Mapping

from ..module_utils._errors import Refused
from ..module_utils._text import escape, show
from ._live import LIVE, Live
from ._role_action import RoleAction


class LiveAction(RoleAction):
    """Fills in what is not given from the role's variables and from the keys, and runs the module of the role."""

    ROLE = ""

    def work(self) -> Dict[str, Any]:
        live = LIVE[self.ROLE]
        if not self.is_live:
            return {**live.nothing, "skipped": True, "skip_reason": "Nothing that runs is set with vmconfig_destdir, or vmconfig_apply: boot"}
        self.begin()
        self.refuse_in_a_template()
        variables = self.role(self.ROLE, ask=False, given=self._given(live)).variables
        if not self.concerns(live, variables):
            return dict(live.nothing)
        leaves = self.seen.machine.leaves
        found = self._found(live, variables, leaves)
        differing, more = found["differing"], ["%s: %s" % (escape(self.host), found["left"])] if found.get("left") else []
        self.note(self.ROLE, *([[], differing] if leaves else [differing]))
        if leaves:
            found.pop("diff", None)
            more += ["%s: Left to the Qubes agent, and set here with vmconfig_take_over: %s" % (
                escape(self.host), escape("; ".join(found.get("commands") or [", ".join(differing)])))] if differing else []
        return {**found, "changed": self.counted(found["changed"] and not leaves), "warnings": [*found.get("warnings", []), *more]}

    def _given(self, live: Live) -> Dict[str, Any]:
        given = {name: value for name, value in self._task.args.items() if value is not None}
        needless = [name for name in given if name in live.needless]
        if needless:
            raise Refused("%s: there is no option %s" % (live.module, ", ".join(map(show, needless))))
        return given

    def _found(self, live: Live, variables: Mapping[str, Any], leaves: bool) -> Dict[str, Any]:
        """What the module says. Where the role has just compared, and there is nothing to set, nobody is reached again."""
        known = self.remembered(self.ROLE, variables)
        if known is not None and (leaves or self._task.check_mode or not known["changed"]):
            return known
        return self.compared(self.ROLE, variables) if leaves else self.execute(live.module, **live.options(variables))
