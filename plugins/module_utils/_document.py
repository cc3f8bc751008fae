# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""Declarations, snapshots and file stores as JSON or YAML text.

All three are mappings of qubes to keys to values. Parsed strictly: a key given twice is an error, no tag makes an object,
and what ``!unsafe`` marks is plain text.
"""

from __future__ import annotations

import json
from typing import Any, Callable, Dict, List, Optional, Tuple

from ._errors import Refused
from ._text import escape, show

Decrypt = Callable[[str], str]


def parse(text: str, source: str, decrypt: Optional[Decrypt] = None) -> Any:
    """The data in a text that is JSON or YAML; ``Refused`` names the source and what is wrong with it.

    ``decrypt`` turns the text behind a ``!vault`` tag into plain text; without it such a tag is an error.
    """
    try:
        return json.loads(text, object_pairs_hook=lambda pairs: _unique(pairs, source))
    except (ValueError, RecursionError) as error:
        return _parse_yaml(text, source, decrypt, str(error))


def _unique(pairs: List[Tuple[str, Any]], source: str) -> Dict[str, Any]:
    found: Dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise Refused("%s: %s is given twice" % (source, show(key)))
        found[key] = value
    return found


def _parse_yaml(text: str, source: str, decrypt: Optional[Decrypt], not_json: str) -> Any:
    yaml = _yaml("%s is not JSON (%s)" % (source, escape(not_json)))

    class Loader(yaml.SafeLoader):
        """Strict, and of this one document."""

        def compose_mapping_node(self, anchor):
            node = super().compose_mapping_node(anchor)
            # Here, before << merges what the mapping may override.
            _unique([(key.value, value) for key, value in node.value if isinstance(key, yaml.ScalarNode)], source)
            return node

    def mapping(loader, node):
        loader.flatten_mapping(node)
        # All keys are names: a qube may be called 7, or no.
        return {loader.construct_scalar(key): loader.construct_object(value, deep=True) for key, value in node.value}

    def vault(loader, node):
        if decrypt is None:
            raise Refused("%s: a value is encrypted with vault, which only the controller can read; use src without remote_src" % source)
        return decrypt(loader.construct_scalar(node))

    Loader.add_constructor("tag:yaml.org,2002:map", mapping)
    Loader.add_constructor("!unsafe", lambda loader, node: loader.construct_scalar(node))
    Loader.add_constructor("!vault", vault)
    try:
        return yaml.load(text, Loader=Loader)
    except (yaml.YAMLError, AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        # Not the parser's own words: they quote the line, in which a secret may stand.
        mark = getattr(error, "problem_mark", None)
        where = "line %d, column %d" % (mark.line + 1, mark.column + 1) if mark else "somewhere a value does not fit its tag, or is nested too deep"
        raise Refused("%s is neither JSON nor YAML: %s" % (source, where)) from None


def _yaml(why: str):
    """PyYAML, imported where it is needed: it would be a fourth of what a task takes to start."""
    try:
        import yaml
    except ImportError:
        raise Refused("%s, and Python has no PyYAML here to read or write YAML; install python3-yaml" % why) from None
    return yaml


def write_json(data: Dict[str, Dict[str, Any]]) -> str:
    """The text of a JSON document."""
    return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=True) + "\n"


def write_yaml(data: Dict[str, Dict[str, Any]]) -> str:
    """The text of a YAML document, in which what Jinja would act on is tagged ``!unsafe``."""
    yaml = _yaml("the file is YAML")

    class Dumper(yaml.SafeDumper):
        """With the tag."""

    def text(dumper, value):
        tag = "!unsafe" if "{{" in value or "{%" in value or "{#" in value else "tag:yaml.org,2002:str"
        return dumper.represent_scalar(tag, value, style='"' if tag == "!unsafe" or not value.isprintable() else None)

    Dumper.add_representer(str, text)
    return yaml.dump(data, Dumper=Dumper, default_flow_style=False, allow_unicode=True, width=10**6)
