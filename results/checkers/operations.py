"""Whether the target did what the harness asked of it: deploy, remove, unload, and the rest."""

from __future__ import annotations

from results.checkers.machine import TARGET_FAILED
from results.history import History
from results.kernel_log.titles import normalised
from results.timeline import Timeline
from results.verdict import Check, Signature, Verdict

NAME = "operations"


def check(history: History) -> Check:
    """FAIL when the harness met a target's failure while the machine was still heard."""
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
        return Check(NAME, Verdict.UNKNOWN, "the target was asked to do nothing")
    return Check(NAME, Verdict.PASS, f"the target did what it was asked: {', '.join(operations)}")
