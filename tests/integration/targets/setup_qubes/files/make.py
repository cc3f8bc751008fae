# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes qubes in a store without the collection, or changes some of their keys. The keys are read from standard input.

    make.py xenstore TOOLS '{"work": 101}'     owned by dom0 and readable for themselves
    make.py qubesdb  tests/lab CONTROL         of a running QubesDB lab
    make.py file     STORE.json                holds nothing else then
"""

import json
import subprocess
import sys


def in_xenstore(qubes, tools, domids):
    for qube, domid in json.loads(domids).items():
        if qube not in qubes:
            continue
        home = "/local/domain/%d" % domid
        written = [tools + "/xenstore-write"]
        for key, value in qubes[qube].items():
            # The tool expands escapes.
            written += ["%s/%s" % (home, key), value.replace("\\", "\\\\")]
        subprocess.run(written, check=True)
        subprocess.run([tools + "/xenstore-chmod", "-r", home, "n0", "r%d" % domid], check=True)


def in_qubesdb(qubes, lab_files, control):
    sys.path.insert(0, lab_files)
    from qubesdblab import QubesdbLab

    lab = QubesdbLab.attach(control)
    there = lab.qubes()
    lab.add_many({qube: keys for qube, keys in qubes.items() if qube not in there})
    for qube in set(qubes).intersection(there):
        for key, value in qubes[qube].items():
            lab.put(qube, key, value)


def in_file(qubes, path):
    with open(path, "w", encoding="utf-8") as stream:
        json.dump(qubes, stream, indent=2)


MAKERS = {"xenstore": in_xenstore, "qubesdb": in_qubesdb, "file": in_file}

if __name__ == "__main__":
    MAKERS[sys.argv[1]](json.load(sys.stdin), *sys.argv[2:])
