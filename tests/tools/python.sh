#!/bin/sh
# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Runs its arguments with a Python that can run Ansible: PYTHON, else the system's, else whatever `python3` really is.
# A shim on PATH is only asked which interpreter it stands for: one of pyenv's fails when run in another folder.

usable() { [ -x "$1" ] && "$1" -c "import sys; sys.exit(sys.version_info < ($2))" 2>/dev/null; }

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        echo "$PYTHON"
        return
    fi
    usable /usr/bin/python3 '3, 11' && echo /usr/bin/python3 && return
    for minor in 15 14 13 12 11 10; do
        usable "/usr/bin/python3.$minor" '3, 10' && echo "/usr/bin/python3.$minor" && return
    done
    real=$(python3 -c 'import sys; print(sys.executable)' 2>/dev/null)
    usable "$real" '3, 10' && echo "$real"
}

python=$(find_python)
if [ -z "$python" ] && [ "$(id -u)" = 0 ] && [ -z "${NO_INSTALL:-}" ] && command -v apt-get >/dev/null; then
    echo '--- Installing with apt-get: python3 python3-venv (NO_INSTALL=1 prevents it)'
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 install --no-install-recommends python3 python3-venv >/dev/null </dev/null
    python=$(find_python)
fi
if [ -z "$python" ]; then
    echo 'Missing: a Python of version 3.10 or newer. As root, on Debian: apt-get update && apt-get install --yes --no-install-recommends python3 python3-venv' >&2
    exit 1
fi
exec "$python" "$@"
