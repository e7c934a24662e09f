# SPDX-License-Identifier: GPL-2.0-or-later
"""Machine: the scenario ran to its end on a reliable machine."""

from __future__ import annotations

from results.history import History
from results.timeline import Timeline, reports_loss
from results.verdict import Check, Verdict

NAME = "machine"

TARGET_FAILED = "TargetFailedError"
"""Family of errors that ``results.checkers.operations`` judges."""


def check(history: History) -> Check:
    """UNKNOWN when the machine or a tool was lost, or the scenario stopped in the middle."""
    timeline = Timeline.of(history)
    trouble = [
        event for event in history.select("harness", "lost", "error")
        if reports_loss(event) or event.data["family"] != TARGET_FAILED
    ]
    evidence = [dict(event.data) for event in trouble]
    if trouble:
        first = trouble[0]
        words = first.data["what"] if first.kind == "lost" else (
            f"{first.data['family']}: {first.data['message']}"
        )
        if timeline.lost is not None:
            words = f"the machine was lost: {words}"
        return Check(NAME, Verdict.UNKNOWN, words, evidence)
    if timeline.end is None:
        last = history.last("harness", "phase")
        where = f" (last phase: {last.data['name']})" if last else ""
        return Check(NAME, Verdict.UNKNOWN, f"the scenario did not run to its end{where}")
    return Check(NAME, Verdict.PASS, "the scenario ran to its end and the machine was there")
