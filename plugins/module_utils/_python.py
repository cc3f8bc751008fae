# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""Ends a module on a Python that is too old to read the rest of the collection. Such a one reads this file, and those of the modules."""

import json
import os
import platform
import sys

OLDEST = (3, 8)


def refuse_an_old_one():
    """Ends the module with one clear error, where it is needed."""
    if sys.version_info < OLDEST:
        sys.stdout.write(json.dumps({"failed": True, "msg": "qubes.vmconfig needs Python %d.%d or newer on the target; %s has %s as %s. "
                                     "Set ansible_python_interpreter to a newer one" % (
                                         OLDEST + (os.uname()[1], platform.python_version(), sys.executable))}) + "\n")
        raise SystemExit(1)
