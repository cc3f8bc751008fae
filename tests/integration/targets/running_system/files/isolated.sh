#!/bin/sh
# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# isolated.sh ETC COMMAND...: runs a command that sees the folder ETC as /etc, in mounts of its own. Without a command it tells whether it can.
set -eu
etc=$1
shift
if [ "${ISOLATED:-}" = yes ]; then
    mount --bind "$etc" /etc
    # Whatever went wrong before, the command never sees the machine's own /etc.
    test -e /etc/it-is-a-copy
    exec "$@"
fi
ISOLATED=yes exec unshare --map-root-user --mount "$0" "$etc" "${@:-true}"
