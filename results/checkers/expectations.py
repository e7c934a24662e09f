# SPDX-License-Identifier: GPL-2.0-or-later
"""Expectations: the conditions that the scenario itself stated and checked held."""

from __future__ import annotations

from results.checkers import cited
from results.history import Event, History
from results.timeline import Timeline
from results.verdict import Check, Signature, Verdict

NAME = "expectations"


def check(history: History) -> Check | None:
    """FAIL for one that was not met before the machine was lost; None when none was stated."""
    stated = list(history.select("harness", "expectation"))
    if not stated:
        return None
    timeline = Timeline.of(history)
    unmet = [event for event in stated
             if not event.data["met"] and timeline.witnessed(event.time)]
    if unmet:
        return Check(
            NAME, Verdict.FAIL, "; ".join(map(_words, unmet)), [dict(each.data) for each in unmet],
            timeline.detected(NAME, unmet[0].time),
            [Signature.of("unmet", str(each.data["what"])) for each in unmet])
    met = [event for event in stated if event.data["met"]]
    if not met:
        return Check(NAME, Verdict.UNKNOWN, "none was seen to be met before the machine was lost")
    return Check(NAME, Verdict.PASS, f"{len(met)} were met, last: {met[-1].data['what']}")


def _words(event: Event) -> str:
    seen = event.data.get("seen")
    return (f"expected: {event.data['what']}{cited(event.data.get('clause'))}"
            + (f"; seen: {seen}" if seen else ""))
