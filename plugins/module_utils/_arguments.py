# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The options that the modules share, and how a module ends."""

from __future__ import annotations

from typing import Any, Callable, Dict

from ansible.module_utils.basic import AnsibleModule, env_fallback

from ._errors import Stopped, VmconfigError


def store_arguments() -> Dict[str, Any]:
    """The argument spec of the documentation fragment ``store``."""
    return {
        "store": {"type": "str", "default": "auto", "fallback": (env_fallback, ["QUBES_VMCONFIG_STORE"])},
        "store_timeout": {"type": "float", "default": 10.0},
    }


def keyboard_arguments() -> Dict[str, Any]:
    """The argument spec of the documentation fragment ``keyboard``."""
    return {
        "model": {"type": "str", "default": "pc105"},
        "layout": {"type": "str", "default": ""},
        "variant": {"type": "str", "default": ""},
        "options": {"type": "str", "default": ""},
    }


def made(argument_spec: Dict[str, Any], **options: Any) -> AnsibleModule:
    """The module; a number that is none, which some options make Ansible end with a traceback, is one clear error."""
    try:
        return AnsibleModule(argument_spec=argument_spec, **options)
    except (OverflowError, ValueError):
        module = AnsibleModule(argument_spec={name: {"type": "raw"} for name in argument_spec}, supports_check_mode=True)
        whole = [name for name, option in argument_spec.items() if _is_whole(option) or any(map(_is_whole, option.get("options", {}).values()))]
        module.fail_json(msg="a number is infinite or has too many digits; expected whole numbers in %s" % ", ".join(whole))


def _is_whole(option: Dict[str, Any]) -> bool:
    return option.get("type") == "int"


def run(module: AnsibleModule, work: Callable[[Dict[str, Any]], Dict[str, Any]]) -> None:
    """Ends the module with what ``work`` returns, or with its one clear error."""
    try:
        result = work(module.params)
    except Stopped as error:
        _warn(module, error.result)
        module.fail_json(msg=str(error), **error.result)
    except VmconfigError as error:
        module.fail_json(msg=str(error))
    _warn(module, result)
    module.exit_json(**result)


def _warn(module: AnsibleModule, result: Dict[str, Any]) -> None:
    for warning in result.pop("warnings", []):
        module.warn(warning)
