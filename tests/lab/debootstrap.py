# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A minimal Debian in a folder. Needs root."""

from __future__ import annotations

import os
import shutil
import subprocess

import surroundings

# However it ends, what it mounts and starts ends with it.
OF_ITS_OWN = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child"]
TIMEOUT = 1200


def debootstrap(release: str, included: str, folder: str) -> None:
    """Makes it in the folder, in place of what an interrupted run may have left there."""
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    env = {**os.environ, **surroundings.variables(), "DEBIAN_FRONTEND": "noninteractive"}
    line = [*OF_ITS_OWN, "debootstrap", "--variant=minbase", "--include=" + included, release, folder, surroundings.mirror()]
    done = subprocess.run(line, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIMEOUT, check=False)
    if done.returncode:
        raise RuntimeError(done.stdout.decode("utf-8", "replace")[-3000:])
