# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""A role's table and templates become files: the same for a play and for a start.

Jinja alone does it, in a sandbox, with the settings that Ansible has. Nothing here knows Ansible, and no value is ever a template.
"""

from __future__ import annotations

import traceback
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

import jinja2
import jinja2.meta
from jinja2 import nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ..module_utils._errors import Refused
from ..module_utils._filespec import File
from ..module_utils._text import cut, escape, show

STOCK = "qubes.vmconfig/"
"""In front of ROLE/NAME, the template of that name which this collection has, also where a user's own takes its place."""
FIELDS = ("dest", "src", "link", "content", "absent", "mode", "owner", "group", "protected_by", "agent", "when", "each", "with_start")
_KINDS = ("src", "link", "content", "absent")

Text = Callable[[str, Mapping[str, Any]], str]
"""Gives the text of a template, by its name, for some names in it."""


class Objection(NamedTuple):
    """What a template uses that is not offered at a start."""

    template: str
    line: int
    what: str

    def __str__(self) -> str:
        return "the template %s, line %d uses %s" % (escape(self.template), self.line, self.what)


class _Any(dict):
    """Filters or tests by their names, and one for every other name, so that a template can be looked through that has those."""

    def get(self, name: str, otherwise: Any = None) -> Any:
        return super().get(name) or str


class Templates:
    """Templates by their names, ROLE/NAME, with those of a user before those of this collection."""

    def __init__(self, stock: Mapping[str, str], own: Optional[Mapping[str, str]] = None) -> None:
        self._stock, self._own = stock, own or {}
        self.environment = ImmutableSandboxedEnvironment(
            undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True, loader=jinja2.FunctionLoader(self._load))
        self._lenient = self.environment.overlay()
        self._lenient.filters, self._lenient.tests = _Any(self.environment.filters), _Any(self.environment.tests)

    def source(self, name: str) -> Optional[str]:
        """The text of a template; None where there is none of that name."""
        if name.startswith(STOCK):
            return self._stock.get(name[len(STOCK):])
        return self._own.get(name, self._stock.get(name))

    def _load(self, name: str) -> Optional[Tuple[str, str, Callable[[], bool]]]:
        source = self.source(name)
        return None if source is None else (source, name, lambda: True)

    def text(self, name: str, names: Mapping[str, Any]) -> str:
        """What a template makes of these names."""
        with _told("the template %s" % name):
            return self.environment.get_template(name).render(names)

    def objections(self, name: str, offered: Set[str]) -> List[Objection]:
        """Whatever a template, and those that it includes or extends, uses and nobody offers at a start, also where it is never reached."""
        found: List[Objection] = []
        for each in self.reached(name):
            tree = self._parsed(each)
            tree.set_environment(self._lenient)
            unknown = jinja2.meta.find_undeclared_variables(tree) - offered
            for node in tree.find_all((nodes.Filter, nodes.Test, nodes.Name)):
                if isinstance(node, nodes.Name):
                    if node.name in unknown and node.ctx == "load":
                        found.append(Objection(each, node.lineno, "the name %s" % node.name))
                elif node.name not in (self.environment.filters if isinstance(node, nodes.Filter) else self.environment.tests):
                    found.append(Objection(each, node.lineno, "the %s %s" % (type(node).__name__.lower(), node.name)))
        return found

    def referenced(self, name: str) -> List[Optional[str]]:
        """What a template includes, imports or extends; None for a name that a variable gives."""
        return list(jinja2.meta.find_referenced_templates(self._parsed(name)))

    def reached(self, name: str) -> List[str]:
        """The template, and all that it includes, imports or extends; ``Refused`` where one is not there, or is named by a variable."""
        found: List[str] = []
        waiting = [name]
        while waiting:
            each = waiting.pop()
            if each in found:
                continue
            found.append(each)
            for other in self.referenced(each):
                if other is None:
                    raise Refused("the template %s includes another by a name that is not written in it" % show(each))
                waiting.append(other)
        return found

    def _parsed(self, name: str) -> nodes.Template:
        source = self.source(name)
        if source is None:
            raise Refused("there is no template %s" % show(name))
        with _told("the template %s" % name):
            return self.environment.parse(source, name, name)


class _told:  # pylint: disable=invalid-name
    """Whatever is wrong with a template is one sentence, with the line."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: Any, trace: Any) -> None:
        if error is None or isinstance(error, Refused) or not isinstance(error, Exception):
            return
        line, name = getattr(error, "lineno", None), getattr(error, "name", None)
        lines = [frame.lineno for frame in traceback.extract_tb(trace) if self._where.endswith(" " + frame.filename)]
        line = line or (lines[-1] if lines else None)
        where = "the template %s" % name if isinstance(error, jinja2.TemplateSyntaxError) and name else self._where
        said = "there is no such template" if isinstance(error, jinja2.TemplateNotFound) and not lines else str(error) or type(error).__name__
        raise Refused("%s%s: %s" % (escape(where), ", line %d" % line if line else "", cut(escape(said)))) from None


class Table:
    """The files of a role: a row each, whose conditions and names are Jinja's."""

    def __init__(self, role: str, rows: Sequence[Mapping[str, Any]], templates: Templates, text: Optional[Text] = None) -> None:
        self._role, self._rows, self._templates = role, rows, templates
        self._text = text or templates.text
        for row in rows:
            _refuse_a_row_that_is_none(row)

    def files(self, names: Mapping[str, Any], with_start: bool = False) -> List[File]:
        """The files that are to be there; ``with_start`` those alone that are there before anything is rendered at a start."""
        return [self._file(row, found) for row, found in self._counting(names) if row.get("with_start") or not with_start]

    def used(self, names: Mapping[str, Any]) -> List[Tuple[str, Set[str]]]:
        """The templates that may be used, whatever the machine, with the names that each has."""
        found = []
        for row in self._rows:
            if row.get("src"):
                for each in self._each(row, names):
                    found.append((self._template(row, each), set(each)))
        return found

    def _counting(self, names: Mapping[str, Any]) -> Iterator[Tuple[Mapping[str, Any], Mapping[str, Any]]]:
        for row in self._rows:
            for found in self._each(row, names):
                if "when" not in row or self._evaluated(row, "when", found):
                    yield row, found

    def _each(self, row: Mapping[str, Any], names: Mapping[str, Any]) -> Iterator[Dict[str, Any]]:
        for item in self._evaluated(row, "each", names) if "each" in row else [{}]:
            yield {**names, **item}

    def _file(self, row: Mapping[str, Any], names: Mapping[str, Any]) -> File:
        def filled(field: str, otherwise: str = "") -> str:
            return self._filled(row, field, names) if field in row else otherwise

        protecting = tuple(self._string(row, each, names) for each in row.get("protected_by", ()))
        return File(
            filled("dest"), self._content(row, names), filled("link") if "link" in row else None, filled("mode", "0644"), protecting or None,
            self._flag(row, "agent", names), filled("owner"), filled("group"), self._flag(row, "absent", names))

    def _content(self, row: Mapping[str, Any], names: Mapping[str, Any]) -> Optional[str]:
        if "src" in row:
            return self._text(self._template(row, names), names)
        return self._filled(row, "content", names) if "content" in row else None

    def _template(self, row: Mapping[str, Any], names: Mapping[str, Any]) -> str:
        return "%s/%s" % (self._role, self._filled(row, "src", names))

    def _flag(self, row: Mapping[str, Any], field: str, names: Mapping[str, Any]) -> bool:
        value = row.get(field, False)
        return bool(self._evaluated(row, field, names)) if isinstance(value, str) else bool(value)

    def _filled(self, row: Mapping[str, Any], field: str, names: Mapping[str, Any]) -> str:
        return self._string(row, str(row[field]), names)

    def _string(self, row: Mapping[str, Any], text: str, names: Mapping[str, Any]) -> str:
        if "{" not in text:
            return text
        with _told(self._of(row)):
            return self._templates.environment.from_string(text).render(names)

    def _evaluated(self, row: Mapping[str, Any], field: str, names: Mapping[str, Any]) -> Any:
        with _told("%s, %s" % (self._of(row), field)):
            value = self._templates.environment.compile_expression(str(row[field]), undefined_to_none=False)(**names)
            if isinstance(value, jinja2.Undefined):
                bool(value)
            return value

    def _of(self, row: Mapping[str, Any]) -> str:
        return "the table of the role %s, %s" % (self._role, row["dest"])


def _refuse_a_row_that_is_none(row: Any) -> None:
    if not isinstance(row, Mapping) or not isinstance(row.get("dest"), str):
        raise Refused("a row of a table is %s; expected a dictionary with dest" % show(row))
    unknown = sorted(set(row) - set(FIELDS))
    if unknown or sum(kind in row for kind in _KINDS) != 1:
        raise Refused("the row of %s %s; expected exactly one of %s, and perhaps others of %s" % (
            show(row["dest"]), "has %s" % ", ".join(map(show, unknown)) if unknown else "does not say what the file is",
            ", ".join(_KINDS), ", ".join(each for each in FIELDS[1:] if each not in _KINDS)))
