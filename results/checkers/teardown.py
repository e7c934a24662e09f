# SPDX-License-Identifier: GPL-2.0-or-later
"""Teardown: after the fault the device was gone in bounded time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from results.history import Event, History
from results.kernel_log.frames import is_machinery, plain
from results.kernel_log.titles import instance_free, normalised
from results.timeline import LOST, Timeline, ladder, operation
from results.verdict import Check, Figure, Signature, Verdict

NAME = "teardown"

IN_D_STATE = "; in D state: "
"""Separates the reason from the list of waiting tasks."""

FRAMES_SHOWN = 6
"""Functions of a blocked task that a reason names; the evidence has all of them."""


def check(history: History) -> Check:
    """FAIL when the teardown did not end, ended late, or ended with an error."""
    timeline = Timeline.of(history)
    begin, end = operation(history, "teardown", timeline.begin)
    if begin is None:
        return Check(NAME, Verdict.UNKNOWN, "no teardown was begun", (), _figure(None))
    bound = ladder(history).teardown
    blocked = blocked_tasks(history, timeline)
    waiting = f"{IN_D_STATE}{', '.join(map(name_task, blocked))}" if blocked else ""
    if end is None or not _from_target(end, timeline):
        waited = timeline.seen_until - begin.time
        if waited > bound:
            reason = f"the teardown had not ended after {waited:.1f} s{waiting}"
            return _failed(timeline, Stall("endless", begin.time + bound), reason, blocked)
        reason = f"the teardown was seen for {waited:.1f} s only, too short to judge"
        return Check(NAME, Verdict.UNKNOWN, reason, (), _figure(None))
    seconds = float(end.data["seconds"])
    if end.data["error"] is not None:
        reason = f"the teardown failed: {end.data['error']}{waiting}"
        stall = Stall("error", end.time, seconds, normalised(str(end.data["error"])))
        return _failed(timeline, stall, reason, blocked)
    if seconds > bound:
        reason = f"the teardown took {seconds:.1f} s, allowed are {bound:g} s{waiting}"
        stall = Stall("late", begin.time + bound, seconds)
        return _failed(timeline, stall, reason, blocked)
    return Check(NAME, Verdict.PASS, f"the teardown took {seconds:.2f} s", (), _figure(seconds))


@dataclass(frozen=True)
class Stall:
    """A teardown's failure. ``seen``: time of its first evidence. ``seconds``: its duration."""

    kind: str
    seen: float
    seconds: float | None = None
    error: str | None = None


def _failed(
    timeline: Timeline, stall: Stall, reason: str, blocked: Sequence[Mapping[str, Any]],
) -> Check:
    anchors = [anchor for task in blocked for anchor in anchors_of(task)]
    return Check(
        NAME, Verdict.FAIL, reason, list(blocked),
        {**_figure(stall.seconds), **timeline.detected(NAME, stall.seen)},
        [Signature.of(stall.kind, "teardown", stall.error, *anchors)],
    )


def blocked_tasks(history: History, timeline: Timeline) -> list[dict[str, Any]]:
    """Return the tasks in D state as they were last sampled after the fault."""
    last = history.last("sampler", "blocked")
    if last is None or timeline.fired is None or last.time < timeline.fired:
        return []
    return [dict(task) for task in last.data["tasks"]]


def name_task(task: Mapping[str, Any]) -> str:
    """Return a task's name and stack: "comm:pid (wait_for_completion < f < kthread)"."""
    where = " < ".join(stack_of(task)[:FRAMES_SHOWN]) or task.get("wchan") or ""
    return f"{task['comm']}:{task['pid']}" + (f" ({where})" if where else "")


def stack_of(task: Mapping[str, Any]) -> list[str]:
    """Return the functions on a sampled task's stack, innermost first, without offsets."""
    return [plain(str(frame).partition("+")[0]) for frame in task.get("stack") or ()]


def anchors_of(task: Mapping[str, Any]) -> list[str]:
    """Return a task's name without its instance, and its stack without the machinery."""
    frames = [frame for frame in stack_of(task) if not is_machinery(frame)]
    return [instance_free(str(task["comm"])), *frames]


def _from_target(end: Event, timeline: Timeline) -> bool:
    return timeline.witnessed(end.time) and LOST not in str(end.data["error"])


def _figure(seconds: float | None) -> dict[str, Figure]:
    return {"teardown_time": Figure(seconds, "s")}
