# SPDX-License-Identifier: GPL-2.0-or-later
"""Order: nothing that had to wait for a held command ended before it.

An operation that the target must not complete while its backend holds commands (``waits`` of the
fault's ``armed`` event) had not ended when the commands were about to be released (``observed``);
its end in bounded time is the other checkers' matter. And once the teardown has completed, the
device server has gone: it answers no command and no task management function any more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from results.checkers import EVIDENCE_MAX, cited
from results.checkers.outcome import AT_FAULT, outcome
from results.checkers.task_management import words
from results.history import Event, History
from results.timeline import Timeline, expected
from results.verdict import Check, Signature, Verdict

NAME = "order"

LATE = 1.0
"""Seconds after the end of the teardown until which an answer may still be on its way to the
initiator. In 756 recorded scenarios of healthy targets no answer came after that end at all."""

GONE = "SPC-4 table 53: a command to an incorrect logical unit number is refused at once"


@dataclass(frozen=True)
class Answer:
    """An answer of the target. ``what``: the command or function; ``ending``: as text.

    ``time``: of the answer itself; the initiator's program may record it later.
    """

    event: Event
    time: float
    what: str
    ending: str


def check(history: History) -> Check | None:
    """FAIL for an operation that did not wait, or an answer of a device that has gone.

    None when the scenario has neither such an operation nor an answer to judge.
    """
    timeline = Timeline.of(history)
    source = str(expected(history).get("waits") or "")
    observed = [event for event in history.select("target", "observed")
                if timeline.witnessed(event.time)]
    early = [event for event in observed if event.data["ended"]] if source else []
    if early:
        held = history.last("backend", "held")
        count = held.data["count"] if held else 0
        return Check(
            NAME, Verdict.FAIL, "; ".join(
                f"{event.data['operation']} had ended {_after(history, event):.3f} s after its "
                f"begin, while the backend held {count} commands; it has to wait for them"
                f"{cited(source)}" for event in early),
            [dict(event.data) for event in early], timeline.detected(NAME, early[0].time),
            [Signature.of("not waited", str(event.data["operation"])) for event in early])
    gone = _gone(history, timeline)
    answers = list(_answers(history, gone)) if gone is not None and not _cut(history) else []
    late = [each for each in answers if gone is not None and each.time > gone + LATE
            and timeline.witnessed(each.event.time)]
    if late and gone is not None:
        first = late[0]
        return Check(
            NAME, Verdict.FAIL,
            f"{first.what} was answered with {first.ending} "
            f"{first.time - gone:.1f} s after its device had gone, allowed: {LATE:g} s"
            f"{cited(GONE)}",
            [{"time": each.event.time, **each.event.data} for each in late[:EVIDENCE_MAX]],
            timeline.detected(NAME, first.event.time),
            [Signature.of("answered after removal", each.what) for each in late])
    if source and not observed:
        if timeline.lost or timeline.over is None:
            return Check(NAME, Verdict.UNKNOWN, "the operation was not seen before the release")
        return None
    if not (observed and source) and not answers:
        return None
    waited = [f"{event.data['operation']} waited for the held commands"
              for event in observed if source]
    ended = [f"{len(answers)} answers came before the device had gone"] if answers else []
    return Check(NAME, Verdict.PASS, "; ".join((*waited, *ended)))


def _after(history: History, observed: Event) -> float:
    """Return the seconds from the operation's begin until it was observed."""
    begins = [event.time for event in history.select("target", "begin")
              if event.data["operation"] == observed.data["operation"]
              and event.time <= observed.time]
    fired = history.first("fault", "fired")
    return observed.time - (begins[-1] if begins else fired.time if fired else observed.time)


def _gone(history: History, timeline: Timeline) -> float | None:
    """Return the end of the teardown that the fault was, or None where it ended nothing."""
    return next((event.time for event in history.select("target", "end")
                 if event.data["operation"] == "teardown" and event.data["error"] is None
                 and timeline.fired is not None and event.time >= timeline.fired), None)


def _cut(history: History) -> bool:
    """Return whether the network was cut or impaired: answers are delivered late then."""
    return any(history.first(source, kind) for source, kind in (
        ("fault", "cut"), ("harness", "netem")))


ENDS = {"command": "answer", "function": "response"}
"""The event that ends a command or a function."""


def _answers(history: History, gone: float) -> Iterator[Answer]:
    """Yield the target's answers to commands and functions that were issued before a time.

    Those that the initiator made itself are no answers of the target.
    """
    issued = {(ENDS[event.kind], event.data["job"], event.data["number"]): event
              for event in history.select("workload", *ENDS) if event.time < gone}
    for event in history.select("workload", *ENDS.values()):
        begin = issued.get((event.kind, event.data["job"], event.data["number"]))
        if begin is None or begin.data.get("reset") or event.data.get("error"):
            continue
        time, what = begin.time + float(event.data["seconds"]), str(begin.data["name"])
        if event.kind == "response":
            yield Answer(event, time, what, words(event))
        elif event.data["job"] == AT_FAULT and not event.data.get("host"):
            yield Answer(event, time, what, outcome(event.data))
