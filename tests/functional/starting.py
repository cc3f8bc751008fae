# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sets up what renders at each start, as the roles do whose user has set no variable."""

from __future__ import annotations

import json

from ansible_collections.qubes.vmconfig.plugins.module_utils._formats import ROLES


def set_up(folder, roles=tuple(ROLES), family="Debian"):
    """Below a folder, the parts of these roles."""
    (folder / "parts").mkdir(exist_ok=True)
    for role in roles:
        (folder / "parts" / (role + ".json")).write_text(json.dumps({"family": family, "take_over": False, "variables": {}}))
