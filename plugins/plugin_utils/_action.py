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
from ansible.parsing.vault import VaultLib
from ansible.plugins.action import ActionBase

from ansible_collections.qubes.vmconfig.plugins.module_utils._declaration import LARGEST, from_bytes
from ansible_collections.qubes.vmconfig.plugins.module_utils._errors import Refused, VmconfigError
from ansible_collections.qubes.vmconfig.plugins.module_utils._files import read_file
from ansible_collections.qubes.vmconfig.plugins.module_utils._text import escape


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
        result.update(self._execute_module(module_args=arguments, task_vars=task_vars))
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

    def read_source(self, src: str) -> Mapping[str, Any]:
        """The declaration in a file of the controller, decrypted where it is encrypted."""
        try:
            path = self._find_needle("files", src)
            real = self._loader.get_real_file(path)
        except AnsibleError as error:
            raise Refused("src %s: %s" % (escape(src), escape(to_text(error)))) from None
        try:
            data = read_file(real, LARGEST)
        except OSError as error:
            raise Refused("src %s cannot be read: %s" % (escape(src), error.strerror)) from None
        finally:
            self._loader.cleanup_tmp_file(real)
        return from_bytes(data, os.path.basename(path), self._decrypt)

    def _decrypt(self, text: str) -> str:
        vault = VaultLib(secrets=self._loader._vault.secrets)
        return to_text(vault.decrypt(to_bytes(text)))
