# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible.plugins.action import ActionBase

from ansible_collections.qubes.vmconfig.plugins.module_utils._text import show
from ansible_collections.qubes.vmconfig.plugins.plugin_utils._action import told


class ActionModule(ActionBase):
    """Looks once a play."""

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        known = arguments.pop("known", None) or {}
        if not isinstance(known, dict):
            return dict(result, failed=True, msg="known is %s; expected what this module returned before" % show(known))
        arguments["destdir"] = arguments.get("destdir") or self._templar.template((task_vars or {}).get("vmconfig_destdir", ""))
        names = [arguments.get(option) or [] for option in ("paths", "texts")]
        # What is no list the module refuses, or takes apart.
        asked = {"play": self._play() if all(isinstance(each, list) for each in names) else "", "destdir": arguments["destdir"],
                 "asked": [name for each in names if isinstance(each, list) for name in each]}
        if asked["play"] and all(known.get(name) == value for name, value in asked.items()):
            return dict(result, **{**known, "skipped": True, "skip_reason": "It was looked at in this play"})
        found = told(self._execute_module(module_args=arguments, task_vars=task_vars))
        return dict(result, **(found if found.get("failed") else {**found, **asked}))

    def _play(self) -> str:
        """What no other play has; empty where Ansible does not say, and then each task looks."""
        part = self._task
        while part is not None:
            play = getattr(part, "_play", None)
            if play is not None:
                return str(getattr(play, "_uuid", "") or "")
            part = getattr(part, "_parent", None)
        return ""
