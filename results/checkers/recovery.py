"""Recovery: after the fault the device can be deployed again, at once, and fio verifies it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from results.history import Event, History
from results.kernel_log.titles import normalised
from results.timeline import LOST, Timeline, ladder, operation
from results.verdict import Check, Signature, Verdict

NAME = "recovery"

VERIFY_JOB = "verify"
"""The workload that the harness runs on the redeployed device."""


def check(history: History) -> Check:
    """FAIL when the device could not be deployed again or did not give back what was written."""
    timeline = Timeline.of(history)
    after = timeline.begin if timeline.fired is None else timeline.fired
    begin, end = operation(history, "redeploy", after)
    if begin is None:
        return Check(NAME, Verdict.UNKNOWN, "deploying again was not attempted")
    if end is None or not timeline.witnessed(end.time) or LOST in str(end.data["error"]):
        return _unfinished(history, timeline, begin)
    if end.data["error"] is not None:
        return _failed(timeline, "redeploy error", end.time,
                       f"it could not be deployed again: {end.data['error']}", end.data)
    return _verify(history, timeline, end.time)


def _unfinished(history: History, timeline: Timeline, begin: Event) -> Check:
    waited = timeline.seen_until - begin.time
    if waited > ladder(history).step:
        return _failed(timeline, "redeploy endless", begin.time + ladder(history).step,
                       f"deploying again had not ended after {waited:.1f} s")
    return Check(NAME, Verdict.UNKNOWN, f"deploying again was seen for {waited:.1f} s only")


def _verify(history: History, timeline: Timeline, after: float) -> Check:
    jobs = [
        event for event in history.select("workload", "begin", "end")
        if event.time >= after and event.data["job"] == VERIFY_JOB
    ]
    end = next((event for event in jobs if event.kind == "end"), None)
    if not jobs:
        return Check(NAME, Verdict.UNKNOWN, "it was deployed again, but not verified")
    if end is None or not timeline.witnessed(end.time):
        return Check(NAME, Verdict.UNKNOWN, "it was deployed again; its verification did not end")
    data = dict(end.data)
    if data["exit"] != 0 or data["errors"] or data["error"]:
        reason = (
            f"it was deployed again, but its verification failed: exit {data['exit']}, "
            f"{data['errors']} errors"
        )
        if data["error"]:
            reason += f", {data['error']}"
        return _failed(timeline, "verification", end.time, reason, data)
    if not data["ios"]:
        return Check(NAME, Verdict.UNKNOWN, "its verification issued no I/O", [data])
    return Check(NAME, Verdict.PASS, f"deployed again and verified with {data['ios']} I/Os")


def _failed(
    timeline: Timeline, kind: str, seen: float, reason: str, data: Mapping[str, Any] | None = None,
) -> Check:
    """``kind``: of the signature; the errors in ``data``, without their numbers, are anchors."""
    words = normalised(str(data["error"])) if data and data["error"] else None
    return Check(
        NAME, Verdict.FAIL, reason, [dict(data)] if data else (), timeline.detected(NAME, seen),
        [Signature.of(kind, "redeploy", words)],
    )
