# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.qubes.vmconfig.plugins.plugin_utils._live_action import LiveAction


class ActionModule(LiveAction):
    """Sets what runs of the role."""

    ROLE = "hostname"
