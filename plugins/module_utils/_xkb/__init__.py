# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The keyboard, as the libraries of the machine make it: they read the rules of XKB, and nothing here does.

Each of them runs as a program of its own, for a limited time and with limited memory.
"""
