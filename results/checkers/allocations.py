"""Allocations: whether any failed that were to. What a target makes of it, others see."""

from __future__ import annotations

from results.history import History
from results.verdict import Check, Figure, Verdict

NAME = "allocations"


def check(history: History) -> Check | None:
    """UNKNOWN when allocations were to fail and none did; None when none were to."""
    events = list(history.select("fault", "injected"))
    if not events:
        return None
    count = sum(int(event.data["count"]) for event in events)
    figures = {"allocations_failed": Figure(count, "1")}
    if not count:
        return Check(NAME, Verdict.UNKNOWN, "none failed: the target made too few", (), figures)
    return Check(NAME, Verdict.PASS, f"{count} failed", (), figures)
