# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The attributes that modules share."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and tell what it would do, without changing anything.
  diff_mode:
    description: Returns what changes (or in check mode would change) when run with C(--diff).
  idempotent:
    description: Run twice in a row, the second run changes nothing.
  platform:
    description: The machines that this can run on.
    platforms: posix
    support: full
"""

    READ_ONLY = r"""
options: {}
attributes:
  check_mode:
    support: full
    details: Changes nothing in any mode.
  diff_mode:
    support: N/A
    details: Changes nothing.
  idempotent:
    support: full
"""

    ACTION_GROUP = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/qubes.vmconfig.vmconfig) in C(module_defaults) to set defaults for all modules of this collection.
    support: full
    membership:
      - qubes.vmconfig.vmconfig
"""
