# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The variables of the roles and playbooks, by their documentation, and names that are mistaken for them."""

from __future__ import annotations

import difflib
import functools
import glob
import os
from typing import Dict, FrozenSet, Iterable, List, Mapping, Optional

import yaml

from ansible_collections.qubes.vmconfig.plugins.module_utils._text import cut, escape

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OURS = ("vmconfig_", "audit_")
"""Whoever names a variable like this means this collection. What begins with the name of a role may well be somebody else's."""
# How much of the rest has to be equal where the beginning is ours, where it is a role's, and how much of all where the beginning is wrong too.
_ANY, _REST, _ALL = 0.5, 0.75, 0.9
_HOSTS_NAMED = 3


@functools.lru_cache(maxsize=None)
def _specs() -> Dict[str, FrozenSet[str]]:
    """The names of the variables, by the role; those of the playbooks under an empty name."""
    found = {}
    for path in glob.glob(os.path.join(_ROOT, "roles", "*", "meta", "argument_specs.yml")) + [os.path.join(_ROOT, "playbooks", "meta", "argument_specs.yml")]:
        with open(path, encoding="utf-8") as stream:
            specs = yaml.safe_load(stream)["argument_specs"]
        role = os.path.basename(os.path.dirname(os.path.dirname(path)))
        found["" if role == "playbooks" else role] = frozenset(name for spec in specs.values() for name in spec.get("options", ()))
    return found


def known() -> FrozenSet[str]:
    """Every documented variable."""
    return frozenset().union(*_specs().values())


def misnamed(names_of_hosts: Mapping[str, Iterable[str]]) -> List[str]:
    """A sentence for each name that there is not."""
    hosts: Dict[str, List[str]] = {}
    for host, names in names_of_hosts.items():
        for name in names:
            hosts.setdefault(str(name), []).append(str(host))
    found = {name: _nearest(name) for name in sorted(hosts)}
    return [_sentence(name, nearest, hosts[name]) for name, nearest in found.items() if nearest is not None]


def _nearest(name: str) -> Optional[str]:
    """The variable that is meant, empty where there is no saying; None where the name is right, or somebody else's."""
    if name in known():
        return None
    ours = next((prefix for prefix in OURS if name.startswith(prefix)), "")
    if ours:
        return _close(name, ours, known(), _ANY) or ""
    # What read_keys finds out has names like that of a role.
    role = next((role + "_" for role in _specs() if role not in ("", "read_keys") and name.startswith(role + "_")), "")
    return (_close(name, role, known(), _REST) or _close(name, "", known(), _ALL)) if role else None


def _close(name: str, prefix: str, others: Iterable[str], cutoff: float) -> Optional[str]:
    """The nearest of those that begin so, by what comes after that."""
    rests = sorted(other[len(prefix):] for other in others if other.startswith(prefix))
    found = difflib.get_close_matches(name[len(prefix):], rests, 1, cutoff)
    return prefix + found[0] if found else None


def _sentence(name: str, nearest: str, hosts: List[str]) -> str:
    named = ", ".join(escape(host) for host in hosts[:_HOSTS_NAMED]) + (" and %d more" % (len(hosts) - _HOSTS_NAMED) if len(hosts) > _HOSTS_NAMED else "")
    advice = "the nearest is %s" % nearest if nearest else "docs/roles.md of the collection names those that there are"
    return "there is no variable %s, which is set for %s: %s" % (cut(escape(name)), named, advice)
