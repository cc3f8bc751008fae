# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""Templates that Ansible renders: those of a task's files, and a user's own that use what Ansible has and Jinja has not."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Mapping

from ansible.errors import AnsibleError
from ansible.module_utils.common.text.converters import to_text
from ansible.template import generate_ansible_template_vars

from ..module_utils._errors import Refused, VmconfigError
from ..module_utils._text import cut, escape, show

try:
    from ansible.template import trust_as_template
    AnsibleEnvironment = None
except ImportError:
    # Before ansible-core 2.19.
    from ansible.template import AnsibleEnvironment
    trust_as_template = None

_SETTINGS = {"trim_blocks": True, "lstrip_blocks": False}


class Templating:
    """Renders as M(ansible.builtin.template) does, for an action."""

    def __init__(self, action: Any) -> None:
        self._action = action

    def rendered(self, entry: Any) -> Any:
        """One of a task's files, with its text in place of its template."""
        if not isinstance(entry, dict) or entry.get("src") is None:
            return entry
        if not {"content", "content_base64", "link", "absent"}.isdisjoint(entry):
            raise Refused("%s: a file has one of src, content, link and absent" % show(entry.get("dest")))
        more = {name: value for name, value in entry.items() if name not in ("src", "vars")}
        src, variables = entry["src"], entry.get("vars") or {}
        for option, value, kind, expected in (("src", src, str, "the name of a template"), ("vars", variables, dict, "a dictionary")):
            if not isinstance(value, kind):
                raise Refused("%s: %s is %s; expected %s" % (show(entry.get("dest")), option, show(value), expected))
        seen = self._action.seen
        names = {"config": seen.found["config"], "machine": seen.machine._asdict(), **variables}
        path = self.found(src)
        return {**more, "content": self.text(src, path, entry.get("dest"), names, [os.path.dirname(path)])}

    def found(self, src: str) -> str:
        """Where a template is."""
        try:
            return self._action._find_needle("templates", src)
        except AnsibleError as error:
            raise Refused("the template %s: %s" % (show(src), cut(escape(to_text(error).partition("\n")[0])))) from None

    def source(self, path: str) -> str:
        """What is in a template, decrypted where it is encrypted."""
        loader = self._action._loader
        try:
            real = loader.get_real_file(path)
            try:
                with open(real, encoding="utf-8") as stream:
                    return stream.read()
            finally:
                loader.cleanup_tmp_file(real)
        except ValueError:
            raise Refused("the template %s is not UTF-8" % show(path)) from None
        except (AnsibleError, OSError) as error:
            raise Refused("the template %s cannot be read: %s" % (show(path), cut(escape(to_text(error))))) from None

    def text(self, name: str, path: str, dest: Any, names: Mapping[str, Any], folders: List[str]) -> str:
        """What Ansible makes of a template, with the play's variables beside these names. Folders are where it finds others."""
        try:
            return self._text(name, path, dest, names, folders)
        except VmconfigError:
            raise
        except AnsibleError as error:
            raise Refused("the template %s: %s" % (show(name), escape(to_text(error)))) from None
        except Exception as error:  # pylint: disable=broad-except
            # Before ansible-core 2.19 what a template does wrong comes as Python's own errors.
            raise Refused("the template %s: %s: %s" % (show(name), type(error).__name__, escape(to_text(error)))) from None

    def _text(self, name: str, path: str, dest: Any, names: Mapping[str, Any], folders: List[str]) -> str:
        action = self._action
        play, template = action.play_variables, self.source(path)
        search = [os.path.join(*each) for folder in [*play.get("ansible_search_path", []), action._loader.get_basedir()]
                  for each in ((folder, "templates"), (folder,))]
        variables: Dict[str, Any] = {**play, **generate_ansible_template_vars(name, path, dest)}
        if "ansible_managed" in play:
            variables["ansible_managed"] = play["ansible_managed"]
        if trust_as_template:
            templar = action._templar.copy_with_new_env(searchpath=folders + search, available_variables={**variables, **names})
            text = templar.template(trust_as_template(template), escape_backslashes=False, overrides=_SETTINGS)
        else:
            # Before ansible-core 2.19 whatever is not marked is a template. With native types what looks like a number would become one.
            from ansible.utils.unsafe_proxy import wrap_var
            templar = action._templar.copy_with_new_env(
                environment_class=AnsibleEnvironment, searchpath=folders + search, available_variables={**variables, **wrap_var(dict(names))})
            text = templar.do_template(template, preserve_trailing_newlines=True, escape_backslashes=False, overrides=_SETTINGS)
        return to_text("" if text is None else text, nonstring="simplerepr")
