# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The tables and templates of the roles, as the controller has them."""

from __future__ import annotations

import functools
import glob
import os
from typing import Any, Dict, List

import yaml

from ..module_utils._values.every import ROLES

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
"""The folder of this collection."""
_ROLES = os.path.join(ROOT, "roles")


class _Loader(yaml.SafeLoader):
    """YAML, with Ansible's tag for text that is no template of Ansible's."""


_Loader.add_constructor("!unsafe", lambda loader, node: loader.construct_scalar(node))


@functools.lru_cache(maxsize=None)
def rows(role: str) -> List[Dict[str, Any]]:
    """The table of a role."""
    with open(os.path.join(_ROLES, role, "vars", "main.yml"), encoding="utf-8") as stream:
        return yaml.load(stream, _Loader)["__%s_files" % role]


@functools.lru_cache(maxsize=None)
def stock() -> Dict[str, str]:
    """The templates of all roles, by ROLE/NAME."""
    found = {}
    for role in sorted(ROLES):
        for path in sorted(glob.glob(os.path.join(_ROLES, role, "templates", "*.j2"))):
            with open(path, encoding="utf-8") as stream:
                found["%s/%s" % (role, os.path.basename(path))] = stream.read()
    return found


def folder_of(role: str) -> str:
    """Where the templates of a role are."""
    return os.path.join(_ROLES, role, "templates")


def seen_of_all() -> List[str]:
    """What is to be looked at, for all roles: their files, and the folders of those whose names depend on values."""
    found = set()
    for role in ROLES:
        for dest in [row["dest"] for row in rows(role)]:
            folder, brace, rest = dest.partition("{")
            if not brace:
                found.add(dest)
            elif len(folder.strip("/")) > 0 and "/" not in rest:
                found.add(os.path.dirname(folder) + "/*")
    return sorted(found)
