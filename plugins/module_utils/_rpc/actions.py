# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""What a task does at a qube: a service as it is, or one of those that carry configuration, compared first where there is something to compare."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, Mapping, Optional, Tuple

from .. import _monitors
from .._errors import Refused
from . import services
from .calling import Failed, Qube

Result = Dict[str, Any]
Action = Callable[[Qube], Result]

INVALID = "invalid"
IGNORED = 2.0
"""Seconds of difference in which a VM leaves its clock as it is."""

LARGEST = 10 ** 8
"""Seconds of difference that can be meant: three years."""


def action(params: Mapping[str, Any], payload: bytes) -> Action:
    """The one that the options of the module ask for."""
    if params["service"] is not None:
        return _plain(services.name(params["service"], params["arguments"]), payload)
    if params["exec"] is not None:
        return _plain(services.vmexec(params["exec"]), payload)
    if params["date_time"] is not None:
        return _date_time(params["date_time"]["time"], params["date_time"]["tolerance"])
    if params["wait_for_session"] is not None:
        return _wait_for_session(params["wait_for_session"]["user"])
    if params["gui_mode"] is not None:
        text = services.GUI_MODES[params["gui_mode"]]
        return _told("gui_mode", "qubes.SetGuiMode", text.decode("ascii"))
    problems = _monitors.problems(params["monitor_layout"])
    if problems:
        raise Refused("; ".join(problems))
    return _told("monitor_layout", "qubes.SetMonitorLayout", _monitors.layout(_monitors.monitors(params["monitor_layout"])))


def _plain(service: str, payload: bytes) -> Action:
    return lambda qube: {"changed": True, **qube.call(service, payload)}


def _wait_for_session(user: Optional[str]) -> Action:
    services.check_user(user)
    payload = (user + "\n").encode("ascii") if user else b""
    return lambda qube: {"changed": False, **qube.call("qubes.WaitForSession", payload)}


def _told(what: str, service: str, text: str) -> Action:
    """Something that the qube cannot be asked for. It is compared with what this run of the qube was last told."""

    def act(qube: Qube) -> Result:
        records = qube.options.records
        run = qube.run_of() if records else None
        known = records.read(qube.name, run) if records else {}
        before = known.pop(what, None)
        if before == text and not qube.options.force:
            return {"changed": False}
        done: Result = {"changed": True, "before": "" if before is None else before, "after": text}
        if not qube.check_mode:
            _remember(qube, run, known)  # what was told before no longer holds, also if this is lost on its way
        done.update(qube.call(service, text.encode("ascii")))
        if not qube.check_mode:
            _remember(qube, run, {**known, what: text})
        return done

    return act


def _remember(qube: Qube, run: Optional[str], told: Dict[str, str]) -> None:
    if qube.options.records is None:
        return
    try:
        qube.options.records.write(qube.name, run, told)
    except OSError as error:
        qube.warnings.append("What qubes were told cannot be kept (%s), so the next run will tell it again" % (error.strerror or error))


def _date_time(moment: Optional[str], tolerance: float) -> Action:
    if not IGNORED <= tolerance <= LARGEST:
        raise Refused("tolerance is %g; expected at least %g seconds, for a qube ignores smaller differences, and at most %g" % (tolerance, IGNORED, LARGEST))
    wanted = None if moment is None else services.parse_date(moment)

    def act(qube: Qube) -> Result:
        found, difference = _difference(qube, wanted)
        if abs(difference) <= tolerance:
            return {"changed": False, "difference": difference}
        now = time.time() if wanted is None else wanted
        return {"changed": True, "difference": difference, "before": services.shown_date(found) + "\n", "after": services.shown_date(now) + "\n",
                **qube.call("qubes.SetDateTime", services.date_line(now))}

    return act


def _difference(qube: Qube, wanted: Optional[float]) -> Tuple[float, float]:
    """The qube's time, and by how many seconds it is ahead. It told whole seconds, at some moment of the call."""
    begun = time.time()
    text = qube.ask("qubes.GetDate").decode("utf-8", "surrogateescape").strip()
    ended = time.time()
    try:
        found = services.parse_date(text)
    except Refused as error:
        raise Failed(INVALID, "service qubes.GetDate: the answer %s" % error) from None
    earliest, latest = (begun, ended) if wanted is None else (wanted, wanted)
    if found > latest:
        return found, round(found - latest, 1)
    return found, round(min(0.0, found + 1 - earliest), 1)
