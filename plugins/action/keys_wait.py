# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.qubes.vmconfig.plugins.module_utils._declaration import refuse_secrets
from ansible_collections.qubes.vmconfig.plugins.plugin_utils._action import StoreAction


class ActionModule(StoreAction):
    """Resolves the store, and refuses to send a secret anywhere."""

    def prepare(self, arguments, task_vars):
        super().prepare(arguments, task_vars)
        for option in ("value", "regexp"):
            refuse_secrets({str(arguments.get("qube")): {str(arguments.get("key")): arguments.get(option)}})
