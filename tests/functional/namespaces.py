# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Namespaces for tests. Root makes them as it is, also in a container that allows no user namespaces; anyone else is root in one of those."""

from __future__ import annotations

import functools
import os
import subprocess
from typing import List

import pytest

USER = [] if os.geteuid() == 0 else ["--map-root-user"]
# Whoever is root for real can change more than mounts and networks, so what else there is to change is never this machine's.
KINDS = ["--mount", "--net", "--uts", "--ipc"]


def unshared(*options: str) -> List[str]:
    """What stands before a command that is to have namespaces of its own. Where there can be none, the test is skipped, loudly."""
    reason = _refused()
    if reason:
        pytest.skip("NO NAMESPACES OF OUR OWN, so nothing was tested that needs a network, mounts or an /etc of its own: " + reason)
    return ["unshare", *USER, *KINDS, *options]


def entered(process: int) -> List[str]:
    """What stands before a command that is to run in those of a process."""
    return ["nsenter", *(["--preserve-credentials", "--user"] if USER else []), *KINDS, "--target", str(process)]


@functools.lru_cache(maxsize=None)
def _refused() -> str:
    line = ["unshare", *USER, *KINDS, "mount", "-t", "tmpfs", "none", "/mnt"]
    done = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False, encoding="utf-8")
    return done.stdout.strip() if done.returncode else ""
