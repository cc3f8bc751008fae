# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The controller's half of the modules: which store, what is in ``src``, and no secret on its way."""

from __future__ import annotations

import os
from typing import Any, Mapping

from ansible.errors import AnsibleError
from ansible.module_utils.common.text.converters import to_bytes, to_text
from ansible.parsing.vault import VaultLib, is_encrypted
from ansible.plugins.action import ActionBase

from ansible_collections.qubes.vmconfig.plugins.module_utils._declaration import LARGEST, from_bytes, named
from ansible_collections.qubes.vmconfig.plugins.module_utils._errors import Refused, VmconfigError
from ansible_collections.qubes.vmconfig.plugins.module_utils._files import read_file
from ansible_collections.qubes.vmconfig.plugins.module_utils._text import cut, escape, show

_LARGEST = 5 * LARGEST
"""Bytes of a file that vault may have encrypted, which makes it four times as large."""


def told(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a module returned, in our words where the Python of the target is too old for what ansible-core wraps around each module."""
    if "SyntaxError" in str(result.get("module_stderr", "")):
        return dict(result, msg="qubes.vmconfig needs Python 3.8 or newer on the target, and so does this ansible-core; the one there is too old for them. "
                                "Set ansible_python_interpreter to a newer one")
    return result


def _unfound(error: AnsibleError) -> str:
    """Why a file of the controller is not there: the first line of what Ansible says, which goes on about modules that copy files."""
    return cut(escape(to_text(error).partition("\n")[0]))


class StoreAction(ActionBase):
    """Fills in the option ``store`` and runs the module of the same name."""

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        try:
            self.prepare(arguments, task_vars or {})
        except VmconfigError as error:
            # Not raised: ansible-core 2.16 would add a traceback.
            return dict(result, failed=True, msg=str(error))
        result.update(told(self._execute_module(module_args=arguments, task_vars=task_vars)))
        return result

    def prepare(self, arguments: dict, task_vars: Mapping[str, Any]) -> None:
        """Completes the module's arguments; ``VmconfigError`` before anything is sent."""
        if arguments.get("store") is None:
            store = self._of_target(task_vars).get("vmconfig_store")
            if store is not None:
                arguments["store"] = self._templar.template(store)

    def _of_target(self, task_vars: Mapping[str, Any]) -> Mapping[str, Any]:
        """The variables of the machine that the module will run on, which with ``delegate_to`` is not the play's host."""
        delegated = self._task.delegate_to
        return task_vars.get("ansible_delegated_vars", {}).get(delegated, {}) if delegated else task_vars

    def read_source(self, src: Any) -> Mapping[str, Any]:
        """The declaration in a file of the controller, decrypted where it is encrypted."""
        if not isinstance(src, str) or not src:
            raise Refused("src is %s; expected the path of a file" % show(src))
        try:
            path = self._find_needle("files", src)
        except AnsibleError as error:
            raise Refused("%s: %s" % (named(src), _unfound(error))) from None
        name = os.path.basename(path)
        try:
            data = read_file(path, _LARGEST)
        except OSError as error:
            raise Refused("%s cannot be read: %s" % (named(src), error.strerror)) from None
        if is_encrypted(data):
            data = to_bytes(self._decrypted(data, named(name)), errors="surrogateescape")
        if len(data) > LARGEST:
            raise Refused("%s has %d bytes, and %d are the most" % (named(name), len(data), LARGEST))
        return from_bytes(data, name, lambda text: self._decrypted(to_bytes(text), named(name)))

    def _decrypted(self, data: bytes, source: str) -> str:
        try:
            return to_text(VaultLib(secrets=self._loader._vault.secrets).decrypt(data), errors="surrogateescape")
        except (AnsibleError, ValueError) as error:
            # Ansible's words name the file and the password's source at the most.
            raise Refused("%s: vault does not decrypt it: %s" % (source, cut(escape(to_text(error))))) from None
