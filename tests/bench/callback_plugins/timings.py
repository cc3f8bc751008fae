# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: timings
type: aggregate
short_description: How long each task took, and what of it ran on a target
description:
  - Writes a line of JSON for each task to the file that E(TIMINGS_FILE) names. It is the task's name, its seconds, and its module, as
    often as that ran on a target.
"""

import json
import os
import time

from ansible.plugins.callback import CallbackBase

# What the controller does by itself.
LOCAL = ("assert", "debug", "fail", "import_role", "include_role", "include_tasks", "meta", "set_fact", "validate_argument_spec")


class CallbackModule(CallbackBase):
    """From the start of a task to the start of what follows."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "timings"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        self._task = None
        self._ran = []

    def _end(self):
        if self._task:
            name, begin = self._task
            with open(os.environ["TIMINGS_FILE"], "a") as file:
                file.write(json.dumps([name, time.monotonic() - begin, self._ran]) + "\n")
        self._task, self._ran = None, []

    def _note(self, result, **dummy):
        module = result._task.action.rpartition(".")[2]
        # A loop ends with a result of its own, after those of its items.
        if module not in LOCAL and not (result._task.loop and "results" in result._result):
            self._ran.append(module)

    v2_runner_on_ok = v2_runner_item_on_ok = v2_runner_on_failed = v2_runner_item_on_failed = _note

    def v2_playbook_on_task_start(self, task, is_conditional):
        self._end()
        self._task = (task.get_name(), time.monotonic())

    def v2_playbook_on_play_start(self, play):
        self._end()

    def v2_playbook_on_stats(self, stats):
        self._end()
