# SPDX-License-Identifier: GPL-2.0-or-later
"""Recovery: after the fault the device can be deployed again, at once, and keeps its data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from results.history import Event, History
from results.kernel_log.titles import normalised
from results.timeline import LOST, Timeline, ladder, operation
from results.verdict import Check, Signature, Verdict

NAME = "recovery"

VERIFY_JOBS = frozenset({"verify", "read-back"})
"""The workloads of which the harness runs at least one on the redeployed device: fio with
verify, or the stamped blocks: read, written and read again (the integrity checker judges their
content)."""


def check(history: History) -> Check:
    """FAIL when the device could not be deployed again or did not return the data written."""
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
        if event.time >= after and event.data["job"] in VERIFY_JOBS
    ]
    begun = [event for event in jobs if event.kind == "begin"]
    ends = [event for event in jobs if event.kind == "end" and timeline.witnessed(event.time)]
    if not begun:
        return Check(NAME, Verdict.UNKNOWN, "it was deployed again, but not verified")
    if failed := next((end for end in ends if _went_wrong(end.data)), None):
        data = dict(failed.data)
        reason = (
            f"it was deployed again, but its verification failed: exit {data['exit']}, "
            f"{data['errors']} errors"
        )
        if data["error"]:
            reason += f", {data['error']}"
        return _failed(timeline, "verification", failed.time, reason, data)
    if len(ends) < len(begun):
        return Check(NAME, Verdict.UNKNOWN, "it was deployed again; its verification did not end")
    if idle := [dict(end.data) for end in ends if not end.data["ios"]]:
        return Check(NAME, Verdict.UNKNOWN, "its verification issued no I/O", idle)
    ios = sum(end.data["ios"] for end in ends)
    return Check(NAME, Verdict.PASS, f"deployed again and verified with {ios} I/Os")


def _went_wrong(end: Mapping[str, Any]) -> bool:
    return bool(end["exit"] != 0 or end["errors"] or end["error"])


def _failed(
    timeline: Timeline, kind: str, seen: float, reason: str, data: Mapping[str, Any] | None = None,
) -> Check:
    """Return a FAIL with one signature.

    ``kind``: of the signature; the error in ``data``, without its numbers, is an anchor.
    """
    words = normalised(str(data["error"])) if data and data["error"] else None
    return Check(
        NAME, Verdict.FAIL, reason, [dict(data)] if data else (), timeline.detected(NAME, seen),
        [Signature.of(kind, "redeploy", words)],
    )
