# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""What an action asks of the play that it is a task of: its variables, its roles, and modules that are executed on the host."""

from __future__ import annotations

import os
from typing import Any, Dict, Mapping, Set

from ansible import context
from ansible.errors import AnsibleError
from ansible.module_utils.common.text.converters import to_text
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase

from ..module_utils._errors import Refused, VmconfigError
from ..module_utils._text import cut, escape, show
from ._action import told
from ._memory import Memory

_MANAGED = "Ansible managed"
_COLLECTION = "qubes.vmconfig."


class _Ended(Exception):
    """A module failed; ``result`` is what it said."""

    def __init__(self, result: Mapping[str, Any]) -> None:
        super().__init__()
        self.result = result


class PlayAction(ActionBase):
    """An action whose ``work`` has what the task returns."""

    TRANSFERS_FILES = False

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        self.play_variables: Mapping[str, Any] = task_vars or {}
        try:
            return {**result, **self.work()}
        except _Ended as error:
            return {**result, **error.result}
        except VmconfigError as error:
            # Not raised: ansible-core 2.16 would add a traceback.
            return dict(result, failed=True, msg=str(error))

    def work(self) -> Dict[str, Any]:
        """What the task does."""
        raise NotImplementedError

    # -- what the play says --

    def variable(self, name: str, otherwise: Any = None) -> Any:
        """A variable of the play, templated; ``otherwise`` where it is null or not there."""
        value = self.play_variables.get(name)
        if value is None:
            return otherwise
        try:
            value = _plain(self._templar.template(value))
        except AnsibleError as error:
            raise Refused("%s cannot be used: %s" % (name, cut(escape(to_text(error))))) from None
        return otherwise if value is None else value

    def flag(self, name: str, otherwise: bool = False) -> bool:
        """A variable that is true or false."""
        try:
            return boolean(self.variable(name, otherwise))
        except TypeError:
            raise Refused("%s is %s; expected true or false" % (name, show(self.variable(name)))) from None

    def flag_of_task(self, option: str, otherwise: bool) -> bool:
        """An option of the task that is true or false."""
        given = self._task.args.get(option)
        try:
            return otherwise if given is None else boolean(given)
        except TypeError:
            raise Refused("%s is %s; expected true or false" % (option, show(given))) from None

    def text(self, name: str, otherwise: str = "") -> str:
        """A variable that is text."""
        value = self.variable(name, otherwise)
        if not isinstance(value, str):
            raise Refused("%s is %s; expected text" % (name, show(value)))
        return value

    @property
    def host(self) -> str:
        """The host that the task runs on."""
        return str(self._task.delegate_to or self.play_variables.get("inventory_hostname", ""))

    @property
    def destdir(self) -> str:
        """The directory that everything is put under; empty for the running system."""
        return str(self._task.args.get("destdir") or self.text("vmconfig_destdir"))

    @property
    def take_over(self) -> bool:
        """Whether what the agent writes is written here."""
        return self.flag_of_task("take_over", self.flag("vmconfig_take_over"))

    @property
    def is_live(self) -> bool:
        """Whether what runs is looked at and set, and not only what is rendered at a start or put under a directory."""
        return not self.destdir and (self._task.args.get("apply") or self.text("vmconfig_apply", "now")) in ("now", "both")

    @property
    def managed(self) -> str:
        """What stands at the head of files."""
        return self.text("ansible_managed", _MANAGED)

    def play_name(self) -> str:
        """What the play is called, and in which playbook of the command line."""
        playbooks = [os.path.basename(str(path)) for path in context.CLIARGS.get("args") or ()]
        return "%s (%s)" % (self.play_variables.get("ansible_play_name", ""), ", ".join(playbooks))

    def roles_of_play(self) -> Set[str]:
        """The roles of this collection that the play has in its ``roles``."""
        play = _play_of(self._task)
        named = [str(each.get_name()) for each in getattr(play, "roles", None) or [] if not each.from_include]
        return {each.rpartition(".")[2] for each in named if each.startswith(_COLLECTION)}

    @property
    def memory(self) -> Memory:
        """What earlier tasks of this play remember."""
        return Memory(str(getattr(_play_of(self._task), "_uuid", None) or ""))

    def execute(self, module: str, **options: Any) -> Dict[str, Any]:
        """What a module of this collection says on the host. One that fails ends the task with it."""
        result = dict(told(self._execute_module(module_name="qubes.vmconfig." + module, module_args=options, task_vars=self.play_variables)))
        if result.get("failed") or result.get("unreachable"):
            raise _Ended(result)
        return result


def _play_of(task: Any) -> Any:
    """The play of a task; None where Ansible does not say, and then each task looks for itself."""
    part = task
    while part is not None and getattr(part, "_play", None) is None:
        part = getattr(part, "_parent", None)
    return part and part._play


def _plain(value: Any) -> Any:
    """The same, of Python's own types; text in place of what ansible-core before 2.19 makes of an encrypted value."""
    if isinstance(value, Mapping):
        return {_plain(name): _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, str) or getattr(value, "__ENCRYPTED__", False):
        return str(value)
    return value
