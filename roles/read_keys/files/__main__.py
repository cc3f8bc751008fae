# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd, or a hook of Qubes, runs at each start: python3 -I FOLDER."""

import os
import platform
import sys

if sys.version_info < (3, 8):
    sys.exit("qubes-vmconfig: nothing was rendered: it needs Python 3.8 or newer, and %s is %s" % (sys.executable, platform.python_version()))

from vmconfig._boot import main  # pylint: disable=wrong-import-position

sys.exit(main(sys.argv[1:] + [os.path.dirname(os.path.abspath(__file__))]))
