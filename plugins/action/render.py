# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os

from ansible.errors import AnsibleError
from ansible.module_utils.common.text.converters import to_text
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.template import generate_ansible_template_vars

from ansible_collections.qubes.vmconfig.plugins.module_utils._errors import Refused, VmconfigError
from ansible_collections.qubes.vmconfig.plugins.module_utils._machine import is_template
from ansible_collections.qubes.vmconfig.plugins.module_utils._text import escape, show
from ansible_collections.qubes.vmconfig.plugins.plugin_utils._action import told

try:
    from ansible.template import trust_as_template
    AnsibleEnvironment = None
except ImportError:
    # Before ansible-core 2.19.
    from ansible.template import AnsibleEnvironment
    trust_as_template = None

OF_VARIABLES = {"destdir": "vmconfig_destdir", "take_over": "vmconfig_take_over", "apply": "vmconfig_apply", "config": "read_keys_config"}
# What the target needs to know of the qube.
OF_CONFIG = ("type", "vm_type", "persistence", "updateable")


class ActionModule(ActionBase):
    """Renders the templates, and has the module write what differs."""

    TRANSFERS_FILES = False

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        try:
            arguments = self._arguments(task_vars or {})
            if arguments["apply"] == "boot":
                return dict(result, changed=False, changed_files=[], left_to_agent=[], protected=[], skipped=True, skip_reason="It is done at each start")
            self._guard(arguments, task_vars or {})
            arguments["files"] = [self._rendered(entry, task_vars or {}) for entry in arguments["files"]]
        except VmconfigError as error:
            # Not raised: ansible-core 2.16 would add a traceback.
            return dict(result, failed=True, msg=str(error))
        result.update(told(self._execute_module(module_args=arguments, task_vars=task_vars)))
        if self._task.check_mode and not boolean(self._templar.template((task_vars or {}).get("read_keys_counts", True)), strict=False):
            # An audit tells what differs in its own words, and its recap counts no change that was not made.
            result["changed"] = False
        # The texts of all files, which nobody asked to see.
        result.pop("invocation", None)
        return result

    def _arguments(self, task_vars):
        """The module's arguments, those that are missing from variables."""
        found = dict(self._task.args)
        for option, variable in OF_VARIABLES.items():
            if found.get(option) is None and variable in task_vars:
                found[option] = self._templar.template(task_vars[variable])
        found["apply"] = found.get("apply") or "now"
        config = found.get("config") or {}
        if not isinstance(config, dict) or not isinstance(found.get("files"), list):
            raise Refused("render: files has to be a list, and config a dictionary")
        return {**found, "config": {name: config[name] for name in OF_CONFIG if name in config}}

    def _guard(self, arguments, task_vars):
        if arguments["apply"] != "always" and not arguments.get("destdir") and is_template(arguments["config"]):
            raise Refused(
                "%s is a template: what is written here from its keys, every qube that is based on it would take for its own. Set vmconfig_apply "
                "to boot, and each of them renders its own at each start. Nothing was written" % escape(str(task_vars.get("inventory_hostname", ""))))

    def _rendered(self, entry, task_vars):
        """The entry with its text in place of its template."""
        if not isinstance(entry, dict) or entry.get("src") is None:
            return entry
        if not {"content", "link", "absent"}.isdisjoint(entry):
            raise Refused("%s: a file has one of src, content, link and absent" % show(entry.get("dest")))
        more = {name: value for name, value in entry.items() if name not in ("src", "vars")}
        src, variables = entry["src"], entry.get("vars") or {}
        for option, value, kind, expected in (("src", src, str, "the name of a template"), ("vars", variables, dict, "a dictionary")):
            if not isinstance(value, kind):
                raise Refused("%s: %s is %s; expected %s" % (show(entry.get("dest")), option, show(value), expected))
        try:
            return {**more, "content": self._text(src, entry.get("dest"), variables, task_vars)}
        except VmconfigError:
            raise
        except AnsibleError as error:
            raise Refused("the template %s: %s" % (show(src), escape(to_text(error)))) from None
        except Exception as error:  # pylint: disable=broad-except
            # Before ansible-core 2.19 what a template does wrong comes as Python's own errors.
            raise Refused("the template %s: %s: %s" % (show(src), type(error).__name__, escape(to_text(error)))) from None

    def _text(self, src, dest, more, task_vars):
        """What M(ansible.builtin.template) makes of a template."""
        source = self._find_needle("templates", src)
        real = self._loader.get_real_file(source)
        try:
            with open(real, encoding="utf-8") as stream:
                template = stream.read()
        except ValueError:
            raise Refused("the template %s is not UTF-8" % show(src)) from None
        finally:
            self._loader.cleanup_tmp_file(real)
        search = [os.path.join(*path) for folder in [*task_vars.get("ansible_search_path", []), self._loader.get_basedir(), os.path.dirname(source)]
                  for path in ((folder, "templates"), (folder,))]
        variables = {**task_vars, **generate_ansible_template_vars(src, source, dest), **more}
        if trust_as_template:
            if "ansible_managed" in task_vars:
                variables["ansible_managed"] = task_vars["ansible_managed"]
            templar = self._templar.copy_with_new_env(searchpath=search, available_variables=variables)
            text = templar.template(trust_as_template(template), escape_backslashes=False, overrides={"trim_blocks": True, "lstrip_blocks": False})
        else:
            # With native types what looks like a number would become one.
            templar = self._templar.copy_with_new_env(environment_class=AnsibleEnvironment, searchpath=search, available_variables=variables)
            text = templar.do_template(template, preserve_trailing_newlines=True, escape_backslashes=False,
                                       overrides={"trim_blocks": True, "lstrip_blocks": False})
        return to_text("" if text is None else text, nonstring="simplerepr")
