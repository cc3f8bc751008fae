# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts Xorg with a folder of xorg.conf.d and prints, as JSON, the screen and the monitors that xrandr shows, and the memory that Xorg logs.

    xrandr.py FOLDER

It needs no GPU, no terminal and no root.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile

# Not Debian's /usr/bin/Xorg, which starts it for whoever sits at the console.
XORG = next(path for path in ("/usr/lib/xorg/Xorg", "/usr/libexec/Xorg", "/usr/bin/Xorg") if os.path.exists(path))


def main(folder):
    with tempfile.TemporaryDirectory() as work:
        empty, log = os.path.join(work, "empty.conf"), os.path.join(work, "log")
        open(empty, "w").close()
        files = ["-config", empty, "-configdir", os.path.abspath(folder), "-logfile", log]
        command = [XORG, "-displayfd", "1", *files, "-nolisten", "tcp", "-noreset", "-novtswitch"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
            try:
                number = server.stdout.readline().decode().strip()
                if not number:
                    sys.exit("Xorg does not start:\n" + open(log).read()[-3000:])
                shown = subprocess.run(["xrandr", "--display", ":" + number], stdout=subprocess.PIPE, check=True).stdout.decode()
            finally:
                server.send_signal(signal.SIGTERM)
        memory = re.search(r"VideoRAM: (\d+) kByte", open(log).read())
    screen = re.search(r"current (\d+) x (\d+)", shown)
    monitors = re.findall(r"(?m)^(\S+) connected (?:primary )?(\d+x\d+\+\d+\+\d+) ", shown)
    print(json.dumps({"screen": "x".join(screen.groups()), "monitors": dict(monitors), "memory": int(memory.group(1))}))


if __name__ == "__main__":
    main(sys.argv[1])
