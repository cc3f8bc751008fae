# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for the get-pip.py that ansible-test downloads for its virtual environments, from a host that CI need not reach.

ansible-test takes it from its cache, where groups.py puts it, and runs it with the options and packages it wants of pip.
"""

import subprocess
import sys

# In a process of their own: a pip that replaces the one it is running from gets confused.
subprocess.check_call([sys.executable, "-m", "ensurepip"], stdout=subprocess.DEVNULL)
# These two are get-pip's own options, and its default for the Pythons we support.
options = [option for option in sys.argv[1:] if option not in ("--no-setuptools", "--no-wheel")]
sys.exit(subprocess.call([sys.executable, "-m", "pip", "install", "-qq"] + options))
