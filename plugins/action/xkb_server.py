# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any, Dict

from ansible_collections.qubes.vmconfig.plugins.module_utils._text import escape
from ansible_collections.qubes.vmconfig.plugins.module_utils._xkb.keyboard import checked
from ansible_collections.qubes.vmconfig.plugins.plugin_utils._role_action import RoleAction

KEYBOARD = ("model", "layout", "variant", "options", "keymap")
LEFT_ALONE = {"changed": False, "server": "", "left": "", "skipped": True}


class ActionModule(RoleAction):
    """Takes a keyboard that is not given from the role xkb, and leaves the X server alone where that is not for a role to set."""

    def work(self) -> Dict[str, Any]:
        options = dict(self._task.args)
        if not any(options.get(name) for name in KEYBOARD):
            reason = self._why_not(options)
            if reason:
                return {**LEFT_ALONE, "skip_reason": reason}
        result = self.execute("xkb_server", **options)
        if result["changed"]:
            self.note("xkb", ["the keyboard of %s" % result["server"]])
        warnings = list(result.get("warnings", []))
        if result["left"]:
            warnings.append("The X server %s of %s was left as it is: %s" % (result["server"], escape(self.host), escape(result["left"])))
        return {**result, "changed": self.counted(result["changed"]), "warnings": warnings}

    def _why_not(self, options: Dict[str, Any]) -> str:
        """Fills in what the role makes of the keys, or says why no server is to get it."""
        if self.destdir:
            return "With vmconfig_destdir nothing that runs is touched"
        if self.text("vmconfig_apply", "now") == "boot":
            return "It is done at each start"
        if self.begin().machine.leaves:
            return "The agent gives the keyboard to its X server"
        given = self.role("xkb", ask=False).variables
        options.setdefault("display", given["display"])
        if not options["display"] or not given["layout"] + given["keymap"]:
            return "No X server is to get a keyboard"
        told = self.role("xkb").names
        options.update({name: told[name] for name in KEYBOARD})
        # By its names, unless the key has a keymap that was kept as it is.
        if told["keymap"] != checked(given)["keymap"] + "\n":
            options["keymap"] = ""
        return ""
