# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""A task over all its qubes: side by side, each with its own result; one that fails stops no other, and is named at the end."""

from __future__ import annotations

import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict, List, Mapping, NamedTuple, Tuple

from .. import _child
from .._errors import Refused, Stopped, VmconfigError
from .._text import show
from . import clients, records, services
from .actions import INVALID, Action, action
from .calling import NOT_RUN, NOT_RUNNING, Failed, Options, Qube
from .clients import REFUSED

NAMED = 20
"""Failures that the message tells; the result has them all."""


class Done(NamedTuple):
    """What came of one qube: its result, the text before and after, warnings, and why it failed."""

    result: Dict[str, Any]
    texts: Tuple[str, str]
    warnings: List[str]
    failure: str = ""


class Task(NamedTuple):
    """What is done, where and how."""

    names: List[str]
    action: Action
    options: Options
    parallel: int
    skip_halted: bool
    diff: bool
    alone: bool
    """Whether one qube was given as such, whose result is then the task's too."""


def from_options(params: Mapping[str, Any], check_mode: bool, diff: bool) -> Task:
    """The task that the options of the module ask for; ``Refused`` before anything is called."""
    names = [params["qube"]] if params["qube"] is not None else params["qubes"]
    services.check_user(params["user"])
    found = action(params, _payload(params))
    for option, least in (("timeout", 0.001), ("parallel", 1), ("output_limit", 0)):
        if not least <= params[option] <= 10 ** 8:
            raise Refused("%s is %s; expected at least %g, and at most %d" % (option, params[option], least, 10 ** 8))
    client = clients.find(params["client"], params["user"])
    for name in names:
        services.check_qube(name, client.name == clients.QREXEC_CLIENT_VM)
    if not names or len(set(names)) != len(names):
        raise Refused("qubes: %s" % ("a qube is given twice" if names else "there is none"))
    if {"dom0", "@adminvm"}.issubset(names):
        raise Refused("qubes: dom0 and @adminvm are the same one; name it once")
    folder = records.folder(params["state_dir"])
    options = Options(client, params["user"], params["autostart"], params["timeout"], params["output"], params["output_limit"], check_mode,
                      params["force"], records.Records(folder) if folder else None)
    return Task(names, found, options, params["parallel"], params["halted"] == "skip", diff, params["qube"] is not None)


def _payload(params: Mapping[str, Any]) -> bytes:
    given = [name for name in ("stdin", "stdin_base64") if params[name] is not None]
    if given and params["service"] is None and params["exec"] is None:
        raise Refused("%s: only with service or exec, for the others have an input of their own" % given[0])
    if params["arguments"] and params["service"] is None:
        raise Refused("arguments: only with service")
    if params["stdin_base64"] is not None:
        return services.from_base64(params["stdin_base64"], "stdin_base64")
    return (params["stdin"] or "").encode("utf-8", "surrogateescape")


def perform(task: Task) -> Dict[str, Any]:
    """The task's result; ``Stopped`` has it too, when it failed at some qubes. Who terminates this process ends what it has started."""
    before = signal.signal(signal.SIGTERM, _terminated) if threading.current_thread() is threading.main_thread() else None
    try:
        return _performed(task)
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def _terminated(number: int, _frame: Any) -> None:
    raise SystemExit(128 + number)


def _performed(task: Task) -> Dict[str, Any]:
    done = _side_by_side(task)
    failed = {name: each.failure for name, each in done.items() if each.failure}
    result: Dict[str, Any] = {
        "changed": any(each.result["changed"] for each in done.values()),
        "qubes": {name: each.result for name, each in done.items()},
        "halted": [name for name, each in done.items() if each.result.get("failure") == NOT_RUNNING and not each.failure],
        "warnings": list(dict.fromkeys(text for each in done.values() for text in each.warnings)),
    }
    if task.diff:
        result["diff"] = [_diff(name, each.texts) for name, each in done.items() if any(each.texts)]
    if task.alone:
        result.update({name: value for name, value in done[task.names[0]].result.items() if name in ("rc", "stdout", "stderr")})
    if failed:
        told = ["qube %s: %s" % (show(name), text) for name, text in failed.items()]
        more = ["and %d more: %s" % (len(told) - NAMED, ", ".join(map(show, list(failed)[NAMED:])))] if len(told) > NAMED else []
        raise Stopped("; ".join(told[:NAMED] + more), result)
    return result


def _diff(name: str, texts: Tuple[str, str]) -> Dict[str, str]:
    return {"before_header": name, "after_header": name, "before": texts[0], "after": texts[1]}


def _one(name: str, task: Task) -> Done:
    qube = Qube(name, task.options)
    result: Dict[str, Any] = {"changed": False}
    texts = ("", "")
    failure = ""
    try:
        qube.make_ready()
        result.update(task.action(qube))
        result["changed"] = result["changed"] or qube.started
        texts = (result.pop("before", ""), result.pop("after", ""))
    except Failed as error:
        reached = error.kind not in (REFUSED, NOT_RUN)
        result.update(error.fields, changed=qube.started or reached and qube.was_called, failure=error.kind, msg=str(error))
        failure = "" if task.skip_halted and error.kind == NOT_RUNNING else str(error)
    except VmconfigError as error:
        result.update(failure=INVALID, msg=str(error))
        failure = str(error)
    result["called"] = qube.called
    if qube.started:
        result["started"] = True
    return Done(result, texts, qube.warnings, failure)


def _side_by_side(task: Task) -> Dict[str, Done]:
    with ThreadPoolExecutor(max_workers=min(task.parallel, len(task.names))) as pool:
        try:
            futures = {name: pool.submit(_one, name, task) for name in task.names}
            return {name: future.result() for name, future in futures.items()}
        except BaseException:
            # This process is to end; without it nobody would end what it started.
            _child.end_all()
            raise
