# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """How a keyboard is named."""

    DOCUMENTATION = r"""
options:
  model:
    description:
      - The keyboard model.
    type: str
    default: pc105
  layout:
    description:
      - The layouts, with commas between, such as V(us,se).
    type: str
    default: ""
  variant:
    description:
      - The variants, one for each layout, with commas between.
    type: str
    default: ""
  options:
    description:
      - The options, with commas between, such as V(grp:alt_shift_toggle).
    type: str
    default: ""
"""
