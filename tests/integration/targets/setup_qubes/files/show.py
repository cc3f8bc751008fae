# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prints what qubes hold, or what they may do with it, as JSON: {qube: {key: text}}. It reads without the collection.

    show.py values|access xenstore TOOLS '{"work": 101}'
    show.py values        qubesdb  tests/lab CONTROL '["work"]'
    show.py values        file     STORE.json

Bytes that are not UTF-8 appear as \\xHH. A node with others in it and no value of its own is a directory, and no key.
"""

import base64
import json
import re
import subprocess
import sys

LINE = re.compile(rb'/local/domain/\d+/(\S+) = "(.*)"(?:[ .]*\((.*)\))?')
ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|.)")
LETTERS = {b"t": b"\t", b"n": b"\n", b"r": b"\r", b"\\": b"\\"}


def unescaped(found):
    code = found.group(1)
    if code in LETTERS:
        return LETTERS[code]
    return bytes([int(code[1:], 16) if code.startswith(b"x") else int(code, 8)])


def nodes(tools, domid):
    home = "/local/domain/%d" % domid
    output = subprocess.run([tools + "/xenstore-ls", "-fp", home], stdout=subprocess.PIPE, check=True).stdout
    for line in output.splitlines():
        key, value, access = LINE.fullmatch(line).groups()
        yield key.decode(), ESCAPE.sub(unescaped, value), access.decode()


def in_xenstore(what, tools, domids):
    shown = {}
    for qube, domid in json.loads(domids).items():
        found = list(nodes(tools, domid))
        inner = {key.rpartition("/")[0] for key, _value, _access in found}
        shown[qube] = {key: access if what == "access" else text(value) for key, value, access in found if value or key not in inner}
    return shown


def in_qubesdb(what, lab_files, control, qubes):
    """From the memory of the daemons, and not over their protocol."""
    sys.path.insert(0, lab_files)
    from qubesdblab import QubesdbLab

    lab = QubesdbLab.attach(control)
    return {qube: {key: text(value) for key, value in lab.keys(qube).items()} for qube in json.loads(qubes)}


def in_file(what, path):
    with open(path, encoding="utf-8") as stream:
        data = json.load(stream)
    return {qube: {key: value if isinstance(value, str) else text(base64.b64decode(value["base64"])) for key, value in keys.items()}
            for qube, keys in data.items()}


def text(value):
    return value.decode("utf-8", "backslashreplace")


READERS = {"xenstore": in_xenstore, "qubesdb": in_qubesdb, "file": in_file}

if __name__ == "__main__":
    print(json.dumps(READERS[sys.argv[2]](sys.argv[1], *sys.argv[3:])))
