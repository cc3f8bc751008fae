# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""What qubes hold, decoded: the typed tree ``config``, and apart from it what is not as the interface says."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

from . import _interface
from ._errors import QubeMissing, Refused, SomeUnread, StoreError, names
from ._plan import UNTOLD, Snapshot
from ._qubename import qube_name
from ._selection import DOCUMENTED, Selection, select
from ._stores.base import SELF, Store
from ._text import plain, show

EVERY = "*"
_PROOF = ("qubes-vm-type", "type")


def selected(keys: Sequence[object]) -> Selection:
    """The selection of these names and globs; without any, every documented key. ``Refused`` where it names a secret."""
    selection = select(keys) if keys else DOCUMENTED
    secret = sorted(_interface.SECRETS.intersection(selection.exact))
    if secret:
        raise Refused("%s is a secret, which is never read" % ", ".join(map(show, secret)))
    return selection


def asked(qubes: Optional[Sequence[object]]) -> Optional[List[str]]:
    """The names of qubes that a task asks for, ``*`` for all of them; ``Refused`` for what is none."""
    return None if qubes is None else [EVERY if qube == EVERY else qube_name(qube) for qube in qubes]


def read(store: Store, qubes: Optional[Sequence[str]], selection: Selection) -> Dict[str, Snapshot]:
    """What each of these qubes holds of the selection. Secrets are left out. ``SomeUnread`` when some cannot be read.

    Without ``qubes`` it is what the store means by itself; ``*`` is all of them. Who was not named and goes away meanwhile is left out.
    """
    try:
        return _finished(store, _found(store, qubes, selection), selection)
    except SomeUnread as error:
        raise SomeUnread(_finished(store, error.found, selection), error.failed) from None


def _finished(store: Store, found: Mapping[str, Snapshot], selection: Selection) -> Dict[str, Snapshot]:
    finished = {qube: _without_secrets(snapshot) for qube, snapshot in found.items()}
    if SELF in finished:
        finished[SELF] = _proven(store, finished[SELF], selection)
    return finished


def _found(store: Store, qubes: Optional[Sequence[str]], selection: Selection) -> Dict[str, Snapshot]:
    chosen: List[str] = []
    named = {SELF, *(qubes or ())}
    try:
        chosen = _chosen(store, qubes)
        return store.read({qube: with_proof(selection) if qube == SELF else selection for qube in chosen})
    except SomeUnread as error:
        failed = {qube: reason for qube, reason in error.failed.items() if qube in named or not isinstance(reason, QubeMissing)}
        if failed:
            raise SomeUnread(error.found, failed) from None
        return dict(error.found)
    except QubeMissing:
        if named.intersection(chosen):
            raise
        return {}
    except StoreError as error:
        raise StoreError("%s. That was while reading the keys of qube %s" % (error, names(chosen or qubes or [EVERY]))) from None


def _chosen(store: Store, qubes: Optional[Sequence[str]]) -> List[str]:
    if qubes is None:
        return store.scope()
    chosen: Dict[str, None] = {}
    for qube in qubes:
        chosen.update(dict.fromkeys(store.qubes() if qube == EVERY else [qube]))
    return list(chosen)


def with_proof(selection: Selection) -> Selection:
    """What has to be read of ``self`` so that ``refuse_unproven`` can tell."""
    return selection._replace(exact=tuple(dict.fromkeys(selection.exact + _PROOF)))


def refuse_unproven(store: Store, snapshot: Snapshot) -> None:
    """``StoreError`` where this machine is no qube that has the interface: that is not the same as no keys."""
    if not any(key in snapshot.values for key in _PROOF):
        raise StoreError("%s: this machine has no VM configuration interface there: looked for the keys %s. "
                         "On a machine that is no qube, name the store and the qube" % (store.url, " and ".join(_PROOF)))


def _proven(store: Store, snapshot: Snapshot, selection: Selection) -> Snapshot:
    refuse_unproven(store, snapshot)
    matches = selection.matcher()
    return snapshot._replace(values={key: value for key, value in snapshot.values.items() if matches(key)})


def _without_secrets(snapshot: Snapshot) -> Snapshot:
    return snapshot._replace(values={key: value for key, value in snapshot.values.items() if key not in _interface.SECRETS})


def prove(store: Store) -> None:
    """``StoreError`` where this machine is no qube that has the interface."""
    read(store, [SELF], Selection())


def report(snapshot: Snapshot, selection: Selection, raw: bool) -> Dict[str, Any]:
    """One qube's part of the result of ``keys_info``."""
    config: Dict[str, Any] = {}
    invalid: Dict[str, Dict[str, str]] = {}
    for key in sorted(snapshot.values):
        untrusted_value = snapshot.values[key]
        found = _interface.find(key)
        if not found or untrusted_value is UNTOLD:
            continue
        try:
            _put(config, _place(found), _interface.decode(key, untrusted_value))
        except Refused as error:
            invalid[key] = {"value": show(untrusted_value), "reason": str(error)}
    _derive(config, lambda key: selection.matches(key) and key not in snapshot.values and key not in snapshot.denied)
    result: Dict[str, Any] = {"config": config, "invalid": invalid, "denied": sorted(snapshot.denied)}
    untold = sorted(key for key, value in snapshot.values.items() if value is UNTOLD)
    result.update({name: keys for name, keys in (("untold", untold), ("defaults", sorted(snapshot.defaults))) if keys})
    if raw:
        result["raw"] = {key: plain(value) for key, value in sorted(snapshot.values.items()) if value is not UNTOLD}
    return result


def _place(found: _interface.Found) -> List[str]:
    parts = iter(found.parts)
    return [next(parts) if level == "*" else level for level in found.row.place.split(".")]


def _put(config: Dict[str, Any], place: List[str], value: Any) -> None:
    for level in place[:-1]:
        config = config.setdefault(level, {})
    if isinstance(value, dict):
        config.setdefault(place[-1], {}).update(value)
    else:
        config[place[-1]] = value


def _derive(config: Dict[str, Any], absent: Callable[[str], bool]) -> None:
    """What the interface means by several keys together.

    Only a key that is known not to be there has a default: not one that is invalid, denied, or was not asked for.
    """
    for side, prefix in (("network", "qubes-"), ("netvm", "qubes-netvm-")):
        network: Dict[str, Any] = config.get(side, {})
        gateway = network.get("gateway") if absent(prefix + "primary-dns") else None
        servers = [server for server in (network.get("primary_dns", gateway), network.get("secondary_dns")) if server]
        if servers:
            network["dns"] = servers
    network = config.get("network", {})
    mask = network.get("netmask", "255.255.255.255" if absent("qubes-netmask") else None)
    if "ip" in network and mask:
        network["prefix"] = sum([bin(int(part)).count("1") for part in mask.split(".")])
