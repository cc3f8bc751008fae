# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""Roles that also set what runs, each by a module of its own. So that it can refuse before anything is written, it is asked before that."""

from __future__ import annotations

from typing import Any, Callable, Dict, Mapping, NamedTuple, Tuple

from ..module_utils._values.dns_redirect import settings


class Live(NamedTuple):
    """A role's module, whose options are the role's variables, less those that a machine which runs is asked in place of.

    ``concerns`` says whether variables want anything of it, ``answers`` are the parts of its result that become variables, ``nothing`` is its result
    where there is nothing to do, and ``protected_by`` is the name of the file that protects it from being set.
    """

    module: str
    needless: Mapping[str, Any]
    concerns: Callable[[Mapping[str, Any]], bool]
    answers: Tuple[str, ...]
    nothing: Mapping[str, Any]
    protected_by: str = ""

    def options(self, variables: Mapping[str, Any]) -> Dict[str, Any]:
        """The module's options."""
        return {name: value for name, value in variables.items() if name not in self.needless}


_NOTHING: Dict[str, Any] = {"changed": False, "differing": [], "left": ""}
LIVE: Dict[str, Live] = {
    "dns_redirect": Live("dns_redirect_set", {"default_upstreams": []}, lambda variables: bool(variables["addresses"] or settings(variables)),
                         ("upstreams",), {**_NOTHING, "upstreams": []}),
    "hostname": Live("hostname_set", {}, lambda variables: bool(variables["name"]), (), {"changed": False, "differing": []}, "/etc/hostname"),
    "uplink": Live("uplink_set", {}, lambda variables: bool(variables["ip"] or variables["ip6"]), (), {**_NOTHING, "interface": "", "commands": []}),
}
