# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: timings
type: aggregate
short_description: How long each task took, and what of it ran on a target
description:
  - Writes a line of JSON for each task to the file that E(TIMINGS_FILE) names. It is the task's name, its seconds, and the modules that were
    executed on a target, as often as they were.
"""

import json
import os
import time

from ansible.plugins.action import ActionBase
from ansible.plugins.callback import CallbackBase


def _noting(execute):
    """Each worker, which is a fork of the run, notes what it executes."""
    def noted(self, *args, **kwargs):
        module = kwargs.get("module_name") or (args[0] if args else None) or self._task.action
        with open(os.environ["TIMINGS_FILE"] + ".ran", "a", encoding="utf-8") as file:
            file.write(module.rpartition(".")[2] + "\n")
        return execute(self, *args, **kwargs)
    return noted


class CallbackModule(CallbackBase):
    """From the start of a task to the start of what follows."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "timings"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        self._task = None
        ActionBase._execute_module = _noting(ActionBase._execute_module)

    def _end(self):
        if self._task:
            name, begin = self._task
            seconds = time.monotonic() - begin
            with open(os.environ["TIMINGS_FILE"], "a", encoding="utf-8") as file:
                file.write(json.dumps([name, seconds, self._ran()]) + "\n")
        self._task = None

    @staticmethod
    def _ran():
        path = os.environ["TIMINGS_FILE"] + ".ran"
        if not os.path.exists(path):
            return []
        with open(path, encoding="utf-8") as file:
            found = file.read().splitlines()
        os.unlink(path)
        return found

    def v2_playbook_on_task_start(self, task, is_conditional):
        self._end()
        self._task = (task.get_name(), time.monotonic())

    def v2_playbook_on_handler_task_start(self, task):
        self.v2_playbook_on_task_start(task, False)

    def v2_playbook_on_play_start(self, play):
        self._end()

    def v2_playbook_on_stats(self, stats):
        self._end()
