# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The controller's half of what goes by the keys of a qube: it reads them, and looks at the machine, once a play."""

from __future__ import annotations

import json
import os
import re
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..module_utils._asking import Question, answer, question
from ..module_utils._errors import Refused
from ..module_utils._machine import FAMILIES, PROBED, Machine, is_template, is_volatile, machine
from ..module_utils._role import names, role, sentences
from ..module_utils._text import cut, escape, show
from ..module_utils._values.every import ROLES
from ._live import LIVE, Live
from ._play_action import PlayAction
from ._starting import installed_at
from ._tables import seen_of_all
from ._variables import misnamed

_OWN_STORE = re.compile(r"(auto|xenstore|qubesdb)(:.*)?", re.DOTALL)
_QUBES = re.compile(r"(qubesos[.]core[.])?qubes?")
_OF_PLACE = ("family", "agent", "protected", "taken", "paths", "texts", "states")


class Seen(NamedTuple):
    """What was seen of a host in this play: which qube it is, what ``keys_info`` found, and what ``place_info`` did."""

    qube: str
    found: Dict[str, Any]
    place: Dict[str, Any]
    machine: Machine


class RoleOnHost(NamedTuple):
    """A role on one host: its variables, what its table and templates have, what the play gave, and what is to be known."""

    variables: Dict[str, Any]
    names: Dict[str, Any]
    given: Dict[str, Any]
    notes: List[str]


class RoleAction(PlayAction):
    """An action that has ``self.seen`` after ``begin``."""

    # -- what is seen --

    def begin(self, config: Optional[Dict[str, Any]] = None) -> Seen:
        """Refuses where nothing may be reached, reads the keys of the host's qube unless their ``config`` is given, and looks at the host; once a play."""
        self.refuse()
        qube, source = self._qube()
        found = self._keys(qube, source) if config is None else {"config": config, "invalid": {}, "denied": []}
        place = self.look()
        facts = self.play_variables.get("ansible_facts") or {}
        family = self.text("vmconfig_family") or str(facts.get("os_family") or "") or place["family"]
        if family not in FAMILIES:
            raise Refused("%s is of the family %s; the roles know %s" % (escape(self.host), show(family), ", ".join(FAMILIES)))
        self.seen = Seen(qube, found, place, machine(lambda path: place["paths"].get(path, ""), family, place["agent"], self.take_over))
        return self.seen

    def look(self) -> Dict[str, Any]:
        """What ``place_info`` says of all that the roles may write."""
        of = ("place", self.host, self.destdir)
        place = self.memory.get(*of)
        if place is None:
            files = [path for hook in (False, True) for path in installed_at(hook)]
            asked = seen_of_all() + files
            found = self.execute("place_info", destdir=self.destdir, paths=list(PROBED), states=asked,
                                 texts=[path for path in files if path.endswith(".json")])
            place = {**{name: found[name] for name in _OF_PLACE}, "asked": asked, "unknown": []}
            self.memory.put(place, *of)
        return place

    def remember(self, more: Mapping[str, Any]) -> None:
        """What was seen of the host is another now."""
        self.memory.put({**self.seen.place, **more}, "place", self.host, self.destdir)

    def refuse(self) -> None:
        """Refuses where the host must not be reached, and variables that do not exist."""
        self._refuse_to_reach_in_from_dom0()
        self._refuse_misnamed_variables()

    def _qube(self) -> Tuple[str, str]:
        """Which qube the host is, and the host and store that its keys are in."""
        elsewhere, store = self.text("vmconfig_read_from"), self.text("vmconfig_store", "auto")
        own = not elsewhere and _OWN_STORE.fullmatch(store)
        qube = self.text("vmconfig_qube") or ("self" if own else str(self.play_variables.get("inventory_hostname", "")))
        return qube, elsewhere and "on %s" % elsewhere or "%s: %s" % (self.host, store)

    def _keys(self, qube: str, source: str) -> Dict[str, Any]:
        found = self.memory.get("keys", source, qube)
        if found is None:
            elsewhere = self.text("vmconfig_read_from")
            if elsewhere:
                raise Refused("qube %s was not read: with vmconfig_read_from that is done for the hosts of the play, so each qube has to be one" % show(qube))
            found = self.read([qube], source)[qube]
        return found

    def read(self, qubes: Sequence[str], source: str) -> Dict[str, Any]:
        """Reads the keys of some qubes of the host's store, and remembers them."""
        store = self._store()
        result = self.execute("keys_info", qubes=list(qubes), **({} if store is None else {"store": store}))
        for qube, found in result["qubes"].items():
            self.memory.put(found, "keys", source, qube)
        return result["qubes"]

    def _store(self) -> Optional[str]:
        """The store of the host that is reached, which with ``delegate_to`` is not the play's; None where only its environment may name one."""
        delegated = self._task.delegate_to
        if not delegated:
            return self.text("vmconfig_store") or None
        store = self.play_variables.get("ansible_delegated_vars", {}).get(delegated, {}).get("vmconfig_store")
        return None if store is None else str(self._templar.template(store))

    # -- what must not be --

    def _refuse_to_reach_in_from_dom0(self) -> None:
        # Under the strategy of Qubes this runs in a disposable, which has no qubesd.
        connection = self.variable("ansible_connection") or self._task.connection or ""
        if _QUBES.fullmatch(str(connection)) and os.path.exists(self.text("vmconfig_qubesd", "/var/run/qubesd.sock")):
            raise Refused("%s: this is dom0, where a play for a qube may run under the strategy qubesos.security.qubes_proxy alone. Set it in ansible.cfg "
                          "(strategy, in [defaults]) or as ANSIBLE_STRATEGY. Nothing was done in the qube" % escape(self.host))

    def _refuse_misnamed_variables(self) -> None:
        if self.memory.get("named", self.host) is None:
            wrong = misnamed({self.host: [name for name in self.play_variables if isinstance(name, str)]})
            if wrong:
                raise Refused("%s. Nothing was changed" % "; ".join(wrong))
            self.memory.put({}, "named", self.host)

    def refuse_in_a_template(self) -> None:
        """Whatever comes from the keys of a template, those that are based on it would take for their own."""
        if not self.destdir and is_template(self.seen.found["config"]):
            raise Refused("%s is a template: what is written here from its keys, every qube that is based on it would take for its own. Set vmconfig_apply "
                          "to boot, and each of them renders its own at each start. Nothing was written" % escape(self.host))

    def remarks(self, apply: str) -> List[str]:
        """What to say of the place, once a play: what is left alone, and that what is written is lost."""
        if self.memory.get("told", self.host) is not None:
            return []
        self.memory.put({}, "told", self.host)
        protected = self.seen.place["protected"]
        alone = ["These files of %s are protected, and are left alone: %s" % (escape(self.host), cut(escape(", ".join(protected))))] if protected else []
        if self.destdir or apply == "both" or not is_volatile(self.seen.found["config"]):
            return alone
        return alone + ["%s loses /etc when it shuts down, and what is written there now with it. With vmconfig_apply set to boot or both, the files are "
                        "rendered at each start" % escape(self.host)]

    # -- a role --

    def role(self, name: str, ask: bool = True, given: Optional[Mapping[str, Any]] = None) -> RoleOnHost:
        """A role on this host, with what is ``given`` before the variables of the play.

        ``Refused`` with all that is wrong with its keys and variables; unless ``ask`` without what the machine has to say.
        """
        found, place = self.seen.found, self.seen.machine
        live = LIVE.get(name) if self.is_live else None
        said = {**{each: self.variable("%s_%s" % (name, each)) for each in ROLES[name].VARIABLES}, **(given or {})}
        mine = role(name, found, said)
        # Of a machine that can be asked no key has to say it; what was given counts at a start.
        variables, dummy, refusals = role(name, found, {**said, **live.needless}) if live else mine
        if refusals:
            raise self._refused(refusals)
        notes: List[str] = []
        asked = question(name, variables, self.destdir or "/", place.family) if ask else None
        more: Dict[str, Any] = {}
        if asked:
            answered = answer(name, variables, self._asked_once(asked))
            if answered.refusals:
                raise self._refused(["%s: %s" % (self._source(name, mine.given), refusal) for refusal in answered.refusals])
            more, notes = answered.names, answered.notes
        if ask and live and self.concerns(live, variables):
            running = self.compared(name, variables)
            more = {**more, **{each: running[each] for each in live.answers}}
        variables = {**variables, **more}
        return RoleOnHost(variables, names(name, variables, found["config"], place, self.managed), mine.given, notes)

    def concerns(self, live: Live, variables: Mapping[str, Any]) -> bool:
        """Whether what runs is to be as the variables say."""
        return live.concerns(variables) and live.protected_by not in self.seen.place["protected"]

    def compared(self, name: str, variables: Mapping[str, Any]) -> Dict[str, Any]:
        """What the module of a role would set of what runs. It is remembered for the task that sets it."""
        options = LIVE[name].options(variables)
        before, self._task.check_mode = self._task.check_mode, True
        try:
            found = self.execute(LIVE[name].module, **options)
        finally:
            self._task.check_mode = before
        found.pop("invocation", None)
        self.memory.put({"options": options, "found": found}, "running", name, self.host)
        return found

    def remembered(self, name: str, variables: Mapping[str, Any]) -> Optional[Dict[str, Any]]:
        """What was compared for the same variables, once: whoever comes later compares for himself."""
        known = self.memory.get("running", name, self.host) or {}
        self.memory.put({}, "running", name, self.host)
        return known["found"] if known and known["options"] == LIVE[name].options(variables) else None

    def _asked_once(self, asked: Question) -> Dict[str, Any]:
        """What the machine says, the same for all tasks of a play."""
        of = ("asked", self.host, asked.module, json.dumps(asked.options, sort_keys=True))
        result = self.memory.get(*of)
        if result is None:
            result = self.execute(asked.module, **asked.options)
            self.memory.put(result, *of)
        return result

    def _refused(self, refusals: Sequence[str]) -> Refused:
        return Refused("; ".join(sentences("qube %s" % self.seen.qube, refusals)))

    def _source(self, name: str, given: Mapping[str, Any]) -> str:
        """What a value came from: a variable of the play, or the key."""
        config = self.seen.found["config"]
        if name == "timezone":
            return "timezone_zone" if "zone" in given else "key %s" % ("vm-config/timezone" if "timezone" in config.get("vm_config", {}) else "qubes-timezone")
        set_by = [each for each in ("keymap", "layout", "variant", "options") if each in given]
        return "xkb_%s" % set_by[0] if set_by else "key %s" % ("keyboard-layout" if "layout" in config.get("keyboard", {}) else "qubes-keyboard")

    # -- what an audit lists --

    def note(self, name: str, changed: Sequence[str] = (), left: Sequence[str] = ()) -> None:
        """Remembers what a role changed, or would change, and what it leaves to the agent, beside what it has said before."""
        noted = self.noted()
        mine = noted.setdefault(name, {"changed": [], "left": []})
        mine["changed"] += [each for each in changed if each not in mine["changed"]]
        mine["left"] += [each for each in left if each not in mine["left"]]
        self.memory.put(noted, "noted", self.host)

    def noted(self) -> Dict[str, Any]:
        """What the roles of this play have noted, by the role."""
        return self.memory.get("noted", self.host) or {}

    def counted(self, changed: bool) -> bool:
        """An audit tells what differs in its own words, and its recap counts no change that was not made."""
        return changed and not (self._task.check_mode and not self.flag("__audit_counts", True))
