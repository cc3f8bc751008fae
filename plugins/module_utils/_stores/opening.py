# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""From the option ``store`` to a store.

Each store is imported by name, because AnsiballZ follows only that, and where it is chosen, because a task pays for what it
imports.
"""

from __future__ import annotations

import glob
import os
import stat
from typing import List, Optional, Sequence, Tuple
from urllib.parse import quote, unquote

from .._errors import Refused, StoreError
from .._text import cut, escape, show
from . import adminapi
from .base import SELF, Store

AUTO = "auto"
QUBESDB = "/var/run/qubes"
XENBUS = ("/dev/xen/xenbus", "/proc/xen/xenbus")
XENSTORED = ("/run/xenstored/socket", "/var/run/xenstored/socket")
FORMS = "auto, admin, qubesdb, qubesdb:///DIR, xenstore, xenstore:///PATH or file:///PATH"


def open_store(url: str, timeout: float, qubes: Sequence[str]) -> Store:
    """The store that a URL names; ``auto`` looks for the one that serves these qubes.

    Nothing is opened yet. ``Refused`` for what is no store, ``StoreError`` when none is found.
    """
    if not 0.001 <= timeout <= 3600:
        raise Refused("store_timeout is %s; expected seconds, at least 0.001 and at most 3600" % show(timeout))
    if url == AUTO:
        return _auto(timeout, qubes)
    kind, path = _split(url)
    if kind == "file":
        from .file import FileStore
        return FileStore(url, timeout, path)
    if kind == "admin":
        return _admin(timeout)
    if kind == "qubesdb":
        return _qubesdb(timeout, path or QUBESDB)
    if path:
        from .xenstore import XenStore
        return XenStore(url, timeout, path, _is_device(path))
    found = _xenstore(timeout, qubes)
    if found is None:
        raise _none(url, qubes, _xenstore_candidates(qubes))
    return found


def _is_device(path: str) -> bool:
    """Whether it is a XenBus device; any other is taken for a socket."""
    try:
        return stat.S_ISCHR(os.stat(path).st_mode)
    except OSError:
        return False


def _split(url: str) -> Tuple[str, str]:
    kind, separator, path = url.partition("://")
    if kind in ("admin", "qubesdb", "xenstore") and not separator:
        return kind, ""
    # Any other form with a path would name a host, or a path that depends on where a process was started.
    path = unquote(path)
    if kind in ("qubesdb", "xenstore", "file") and path and path[0] != "/" and "\0" not in path:
        raise Refused("store %s: its path has to be absolute, with three slashes, such as %s://%s; every form is one of %s" % (
            show(url), kind, quote(os.path.abspath(path)), FORMS))
    if kind not in ("qubesdb", "xenstore", "file") or not path.startswith("/") or "\0" in path:
        meant = "; for a file that is file://%s" % cut(quote(url, errors="backslashreplace")) if url.startswith("/") and "\0" not in url else ""
        raise Refused("store %s is not one of %s%s" % (show(url), FORMS, meant))
    return kind, path


def _auto(timeout: float, qubes: Sequence[str]) -> Store:
    """What lasts before what is live, for another qube; QubesDB before XenStore, for on Qubes both are there."""
    if (qubes or os.path.exists(adminapi.QUBESD)) and list(qubes) != [SELF] and adminapi.is_here(timeout):
        return _admin(timeout)
    sockets = QUBESDB + ("/qubesdb.sock" if list(qubes) == [SELF] else "/qubesdb*.sock")
    if glob.glob(sockets):
        return _qubesdb(timeout, QUBESDB)
    found = _xenstore(timeout, qubes)
    if found is None:
        looked = [("an Admin API that answers", False)] if qubes and list(qubes) != [SELF] else []
        raise _none(AUTO, qubes, [*looked, (sockets, False), *_xenstore_candidates(qubes)])
    return found


def _none(url: str, qubes: Sequence[str], candidates: Sequence[Tuple[str, bool]]) -> StoreError:
    more = " and %d more" % (len(qubes) - 3) if len(qubes) > 3 else ""
    return StoreError("store %s finds no store for %s on this machine: looked for %s. Name one with the option store or the variable vmconfig_store: %s" % (
        url, (", ".join(map(show, qubes[:3])) or "any qube") + more, ", ".join([escape(path) for path, _bus in candidates]), FORMS))


def _admin(timeout: float) -> Store:
    from .admin import AdminStore
    return AdminStore("admin", timeout, adminapi.client("admin", timeout))


def _qubesdb(timeout: float, folder: str) -> Store:
    from .qubesdb import QubesDb
    # However it is spelled, it is one place: a daemon may have one connection of a process at a time.
    folder = os.path.realpath(folder)
    return QubesDb("qubesdb://" + folder, timeout, folder)


def _xenstore(timeout: float, qubes: Sequence[str]) -> Optional[Store]:
    """dom0's socket, or the XenBus device; inside a qube there is the device alone. None where there is neither."""
    from .xenstore import XenStore
    for path, bus in _xenstore_candidates(qubes):
        if os.path.exists(path):
            return XenStore("xenstore://" + path, timeout, path, bus)
    return None


def _xenstore_candidates(qubes: Sequence[str]) -> List[Tuple[str, bool]]:
    named = os.environ.get("XENSTORED_PATH")
    sockets = [(path, False) for path in ((named,) if named else XENSTORED)]
    devices = [(path, True) for path in XENBUS]
    return devices + sockets if list(qubes) == [SELF] else sockets + devices
