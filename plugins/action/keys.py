# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible.module_utils.common.validation import check_type_dict
from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.qubes.vmconfig.plugins.module_utils._declaration import declared_qubes, refuse_secrets, refuse_unsendable
from ansible_collections.qubes.vmconfig.plugins.module_utils._errors import Refused
from ansible_collections.qubes.vmconfig.plugins.plugin_utils._action import StoreAction


class ActionModule(StoreAction):
    """Reads ``src`` on the controller, and refuses to send a secret anywhere."""

    _requires_connection = True

    def prepare(self, arguments, task_vars):
        super().prepare(arguments, task_vars)
        if sum(arguments.get(option) is not None for option in ("qubes", "qube", "src")) > 1:
            # The module says the same, but what is not looked at here must not reach it.
            raise Refused("parameters are mutually exclusive: qubes|qube|src")
        if arguments.get("src") is not None and not boolean(arguments.get("remote_src") or False, strict=False):
            arguments["qubes"] = self.read_source(arguments.pop("src"))
        for option in ("qubes", "keys"):
            if arguments.get(option) is not None:
                arguments[option] = _dictionary(option, arguments[option])
        qubes = declared_qubes(arguments)
        refuse_secrets(qubes)
        refuse_unsendable(qubes)


def _dictionary(option, value):
    """The option as the module would understand it: a dictionary may be written as text."""
    try:
        return check_type_dict(value)
    except (MemoryError, RecursionError, TypeError, ValueError):
        raise Refused("%s is not a dictionary. Nothing was sent." % option) from None
