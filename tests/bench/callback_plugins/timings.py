# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: timings
type: aggregate
short_description: How long each task took
description:
  - Writes a line of JSON for each task, its name and its seconds, to the file that E(TIMINGS_FILE) names.
"""

import json
import os
import time

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    """From the start of a task to the start of what follows."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "timings"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        self._task = None

    def _end(self):
        if self._task:
            name, begin = self._task
            with open(os.environ["TIMINGS_FILE"], "a") as file:
                file.write(json.dumps([name, time.monotonic() - begin]) + "\n")
        self._task = None

    def v2_playbook_on_task_start(self, task, is_conditional):
        self._end()
        self._task = (task.get_name(), time.monotonic())

    def v2_playbook_on_stats(self, stats):
        self._end()
