# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: recap
short_description: How hosts have fared so far in this run
version_added: 0.1.0
description:
  - Returns what the recap of the run would count for a host if the run ended now.
  - A later play sees with it that a host failed, or could not be reached, where no fact of that host tells. Under the default strategy of dom0
    in Qubes R4.3 it is all that is known of a host there, an C(ok) or a failure for each play.
author:
  - qubes.vmconfig contributors (@qubes-vmconfig)
options:
  _terms:
    description: The hosts, by their names in the inventory.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Say how often each host has failed so far
  ansible.builtin.debug:
    msg: "{{ dict(groups.all | zip(query('qubes.vmconfig.recap', *groups.all) | map(attribute='failures'))) }}"
"""

RETURN = r"""
_raw:
  description:
    - For each host a dictionary of C(ok), C(failures) and C(unreachable), which are numbers of tasks.
    - Nothing at all where Ansible does not let itself be asked.
  type: list
  elements: dict
"""

import inspect

from ansible.executor.task_queue_manager import TaskQueueManager
from ansible.plugins.lookup import LookupBase


class LookupModule(LookupBase):
    """The lookup of this file."""

    def run(self, terms, variables=None, **kwargs):
        self.set_options(var_options=variables, direct=kwargs)
        stats = _of_this_run()
        if stats is None:
            return []
        return [{"ok": stats.ok.get(host, 0), "failures": stats.failures.get(host, 0), "unreachable": stats.dark.get(host, 0)} for host in terms]


def _of_this_run():
    """What is counted by the run. No variable has it, but a task is run by a fork of the run, which is further up its stack."""
    frame = inspect.currentframe()
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, TaskQueueManager):
            return owner._stats
        frame = frame.f_back
    return None
