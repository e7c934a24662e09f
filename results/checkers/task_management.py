# SPDX-License-Identifier: GPL-2.0-or-later
"""Task management: every requested function had its one response, in time.

A function ends with a response (RFC 7143 11.6.1), or with the session, which the
target may end by itself (TARGET COLD RESET) or lose with its device. The fault's ``armed`` event
lists the permitted responses, as ``expect``'s "functions": a response, or a function and a
response; and the clause. The bound is a command's: no fault extends it for a function. A function
that may stay unanswered is not late.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

from results.checkers import EVIDENCE_MAX, cited
from results.history import Event, History
from results.timeline import Timeline, expected, ladder
from results.verdict import Check, Figure, Signature, Verdict

NAME = "task_management"

UNANSWERED = "unanswered"
"""Word of a session's program for a function without a response at the end of its wait
(fixtures.initiator.libiscsi.ledger_guest)."""


ONE_STATUS = "SAM-5, Send Command Complete: a command ends with one status"
"""The clause that a breach violates."""


def check(history: History) -> Check | None:
    """FAIL for a forbidden response, or none in time; None when no function was requested."""
    requested = {int(event.data["number"]): event
                 for event in history.select("workload", "function")}
    if not requested:
        return None
    expect = expected(history)
    allowed: list[str] = list(expect.get("functions") or ["*"])
    timeline, bound = Timeline.of(history), ladder(history).command
    if broken := _broken(history):
        return Check(NAME, Verdict.UNKNOWN, f"the session's program broke: {broken}")
    responses = {int(event.data["number"]): event
                 for event in history.select("workload", "response")}
    figures = {"functions_requested": Figure(len(requested), "1"),
               "functions_answered": Figure(len(responses), "1")}
    breaches = [event for event in history.select("workload", "breach")
                if timeline.witnessed(event.time)]
    if breaches:
        words_of = str(breaches[0].data["words"])
        return Check(NAME, Verdict.FAIL, f"{words_of}{cited(ONE_STATUS)}",
                     [_evidence(event) for event in breaches[:EVIDENCE_MAX]],
                     {**figures, **timeline.detected(NAME, breaches[0].time)},
                     [Signature.of("breach", str(each.data["words"])) for each in breaches])

    def fits(response: Event) -> bool:
        ending = words(response)
        name = requested[int(response.data["number"])].data["name"]
        return any(fnmatchcase(ending, each) or f"{name} {ending}" == each for each in allowed)

    wrong = [event for event in responses.values()
             if timeline.witnessed(event.time) and not fits(event)]
    terminated = {number for number, event in responses.items()
                  if words(event) == UNANSWERED and fits(event)}
    late = [event for number, event in requested.items() if number not in terminated
            and _seconds(event, responses.get(number), timeline) > bound]
    for found, what, kind in ((wrong, "had another response than "
                               + " or ".join(allowed), "response"),
                              (late, f"had no response in {bound:g} s", "late")):
        if found:
            first = requested[int(found[0].data["number"])]
            name = str(first.data["name"])
            ending = f": {words(found[0])}" if kind == "response" else ""
            clause = cited(expect.get("function_clause"))
            return Check(
                NAME, Verdict.FAIL,
                f"{len(found)} of {len(requested)} functions: {name} {what}{ending}{clause}",
                [_evidence(event) for event in found[:EVIDENCE_MAX]],
                {**figures, **timeline.detected(NAME, found[0].time)},
                [Signature.of(kind, str(requested[int(each.data["number"])].data["name"]),
                              *([words(each)] if kind == "response" else []))
                 for each in found])
    if missing := [event for number, event in requested.items() if number not in responses]:
        return Check(NAME, Verdict.UNKNOWN, f"{len(missing)} of {len(requested)} functions had no "
                     "response when the scenario ended",
                     [_evidence(event) for event in missing[:EVIDENCE_MAX]], figures)
    ending = ", ".join(dict.fromkeys(map(words, responses.values())))
    return Check(NAME, Verdict.PASS, f"{len(responses)} functions ended with {ending}", (), figures)


def _broken(history: History) -> str | None:
    """Return the error of a job that issued functions and ended with a failure, or None."""
    jobs = {event.data["job"] for event in history.select("workload", "function")}
    return next((str(event.data["error"]) for event in history.select("workload", "end")
                 if event.data["job"] in jobs and event.data["exit"]), None)


def words(answer: Event) -> str:
    """Return a function's ending as text."""
    return str(answer.data["error"] or answer.data["response"])


def _seconds(requested: Event, answer: Event | None, timeline: Timeline) -> float:
    """Return the seconds that a function took, or has taken until the end of the record.

    Counted from the fault at the earliest: commands that it waits for may be held until then.
    """
    end = timeline.seen_until if answer is None else answer.time
    return end - timeline.since_fault(requested.time)


def _evidence(event: Event) -> dict[str, Any]:
    return {"time": event.time, **event.data}
