# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes qubes in a store without the collection: in XenStore owned by dom0 and readable for themselves. The keys are read from standard input.

    make.py xenstore TOOLS '{"work": 101}'
    make.py file     STORE.json
"""

import json
import subprocess
import sys


def in_xenstore(qubes, tools, domids):
    for qube, domid in json.loads(domids).items():
        home = "/local/domain/%d" % domid
        written = [tools + "/xenstore-write"]
        for key, value in qubes[qube].items():
            # The tool expands escapes.
            written += ["%s/%s" % (home, key), value.replace("\\", "\\\\")]
        subprocess.run(written, check=True)
        subprocess.run([tools + "/xenstore-chmod", "-r", home, "n0", "r%d" % domid], check=True)


def in_file(qubes, path):
    with open(path, "w", encoding="utf-8") as stream:
        json.dump(qubes, stream, indent=2)


MAKERS = {"xenstore": in_xenstore, "file": in_file}

if __name__ == "__main__":
    MAKERS[sys.argv[1]](json.load(sys.stdin), *sys.argv[2:])
