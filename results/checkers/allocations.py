# SPDX-License-Identifier: GPL-2.0-or-later
"""Allocations: an injected allocation failure occurred. Other checkers judge the target."""

from __future__ import annotations

from results.history import History
from results.verdict import Check, Figure, Verdict

NAME = "allocations"


def check(history: History) -> Check | None:
    """UNKNOWN when no injected allocation failure occurred; None when none was injected."""
    events = list(history.select("fault", "injected"))
    if not events:
        return None
    count = sum(int(event.data["count"]) for event in events)
    figures = {"allocations_failed": Figure(count, "1")}
    if not count:
        return Check(NAME, Verdict.UNKNOWN, "none failed: the target made too few", (), figures)
    return Check(NAME, Verdict.PASS, f"{count} failed", (), figures)
