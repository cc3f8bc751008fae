# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The renderer of each start: one file that Python runs, made of parts of this collection and of Jinja.

The same parts make the same bytes, whoever makes it: names are sorted, times are fixed, and nothing is compressed.
"""

from __future__ import annotations

import ast
import functools
import io
import json
import os
import zipfile
from typing import Dict, Iterator, Set, Tuple

import jinja2
import markupsafe

from ..module_utils._values.every import ROLES
from ._tables import ROOT, rows, stock

_PLUGINS = os.path.join(ROOT, "plugins")
_FIRST = "plugin_utils/_boot.py"
# A qube reads its own live store.
_LEFT_OUT = {"module_utils/_stores/admin.py", "module_utils/_stores/file.py", "module_utils/_stores/threads.py"}
_MAIN = '''\
"""Renders files from the keys that this qube sees, at each start. Written by the Ansible collection qubes.vmconfig."""
import platform
import sys

if sys.version_info < (3, 8):
    sys.exit("qubes-vmconfig: nothing was rendered: it needs Python 3.8 or newer, and %s is %s" % (sys.executable, platform.python_version()))

from vmconfig.plugin_utils._boot import main

sys.exit(main(sys.argv[1:]))
'''
_EPOCH = (1980, 1, 1, 0, 0, 0)


@functools.lru_cache(maxsize=None)
def renderer() -> bytes:
    """The file."""
    entries = {"__main__.py": _MAIN, "roles.json": json.dumps(_roles(), sort_keys=True), **dict(_library(jinja2)), **dict(_library(markupsafe))}
    for name in _reached():
        entries["vmconfig/" + name] = _read(os.path.join(_PLUGINS, name))
    for folder in {os.path.dirname(name) for name in entries if name.startswith("vmconfig/")} | {"vmconfig"}:
        entries.setdefault(folder + "/__init__.py", "")
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, text in sorted(entries.items()):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), text)
    return stream.getvalue()


def _roles() -> Dict[str, object]:
    return {"tables": {role: rows(role) for role in ROLES}, "templates": stock()}


def _library(package) -> Iterator[Tuple[str, str]]:
    """The Python of a package; what is compiled of it, it does without."""
    folder = os.path.dirname(package.__file__)
    for name in os.listdir(folder):
        if name.endswith(".py"):
            yield "%s/%s" % (package.__name__, name), _read(os.path.join(folder, name))


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as stream:
        return stream.read()


def _reached() -> Set[str]:
    """The parts of this collection that are imported, from the first on."""
    found: Set[str] = set()
    waiting = [_FIRST]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [each for each in _imported(name) if each not in _LEFT_OUT]
    return found


def _imported(name: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(_read(os.path.join(_PLUGINS, name)))):
        if isinstance(node, ast.ImportFrom) and node.level:
            parts = name.split("/")[:-node.level] + (node.module.split(".") if node.module else [])
            for each in [parts] + [parts + [alias.name] for alias in node.names]:
                path = "/".join(each) + ".py"
                if os.path.isfile(os.path.join(_PLUGINS, path)):
                    yield path
