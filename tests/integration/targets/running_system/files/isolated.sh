#!/bin/sh
# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# isolated.sh ETC COMMAND...: runs a command that sees the folder ETC as /etc, in mounts of its own. Without a command it tells whether it can.
# Where there is a folder ETC.lib, what is in it is seen in /usr/lib too.
set -eu
etc=$1
shift
if [ "${ISOLATED:-}" = yes ]; then
    mount --bind "$etc" /etc
    if [ -d "$etc.lib" ]; then
        mkdir -p "$etc.work"
        mount -t overlay overlay -o "lowerdir=/usr/lib,upperdir=$etc.lib,workdir=$etc.work" /usr/lib
    fi
    # Whatever went wrong before, the command never sees the machine's own /etc.
    test -e /etc/it-is-a-copy
    exec "$@"
fi
# Root needs no user namespace, which not every container allows; what else root could change is not this machine's.
set -- "$0" "$etc" "${@:-true}"
[ "$(id -u)" = 0 ] || set -- --map-root-user "$@"
ISOLATED=yes exec unshare --mount --net --uts --ipc "$@"
