# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible's own output, without the plays and tasks that neither changed nor said anything."""

from __future__ import annotations

from ansible.plugins.callback.default import CallbackModule as Default

DOCUMENTATION = """
name: brief
type: stdout
short_description: Ansible's own output, without the plays and tasks that neither changed nor said anything
description:
  - As the callback default, but of the tasks that succeeded it shows those that changed something, and debug.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
"""


class CallbackModule(Default):
    CALLBACK_NAME = "brief"

    # The play of which nothing was shown yet.
    _untold = None

    def v2_playbook_on_play_start(self, play):
        self._play = self._untold = play

    def _print_task_banner(self, task):
        if self._untold:
            super().v2_playbook_on_play_start(self._untold)
            self._untold = None
        super()._print_task_banner(task)

    def v2_runner_on_ok(self, result):
        # ansible-core 2.19 renamed it.
        task = getattr(result, "task", None) or result._task
        if result.is_changed() or task.action.split(".")[-1] == "debug":
            super().v2_runner_on_ok(result)

    def v2_playbook_on_include(self, included_file):
        pass
