# SPDX-License-Identifier: GPL-2.0-or-later
"""Operations: the target completed every operation that the harness requested of it."""

from __future__ import annotations

from results.checkers.machine import TARGET_FAILED
from results.history import History
from results.kernel_log.titles import normalised
from results.timeline import Timeline
from results.verdict import Check, Signature, Verdict

NAME = "operations"


def check(history: History) -> Check:
    """FAIL when the harness met a target's failure before the machine was lost."""
    timeline = Timeline.of(history)
    failures = [
        event for event in history.select("harness", "error")
        if event.data["family"] == TARGET_FAILED and timeline.witnessed(event.time)
    ]
    if failures:
        return Check(
            NAME, Verdict.FAIL, str(failures[0].data["message"]),
            [dict(event.data) for event in failures], timeline.detected(NAME, failures[0].time),
            [Signature.of("error", normalised(str(event.data["message"]))) for event in failures],
        )
    operations = [str(event.data["operation"]) for event in history.select("target", "end")]
    if not operations:
        return Check(NAME, Verdict.UNKNOWN, "no operation on the target was recorded")
    words = f"every operation on the target succeeded: {', '.join(operations)}"
    return Check(NAME, Verdict.PASS, words)
