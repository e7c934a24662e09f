# SPDX-License-Identifier: GPL-2.0-or-later
"""Protocol: the kernel keeps to its interface with the backend, which is the witness.

Each command comes to each point once, and an answer is accepted if the test has not falsified it.
A backend that was stopped by a signal is no witness of the moment after: the kernel restarts its
ioctl, which gives the answers a second time (SCST_USER_REPLY_AND_GET_CMD; signal(7), SA_RESTART).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise

from results.checkers import EVIDENCE_MAX, cited
from results.history import Event, History
from results.timeline import Timeline
from results.verdict import Check, Figure, Signature, Verdict

NAME = "protocol"

SILENT = 1.0
"""Seconds without any event of the backend, after which it may have been stopped."""

AFTERWARDS = 1.0
"""Seconds after such a silence in which a refused answer may be one that was repeated."""

SOURCE = "scst_user_spec, target_core_user.h: a command is passed on once, and answered once"
"""The interfaces' documents."""


def check(history: History) -> Check | None:
    """FAIL for a command that came twice, or a refused answer; None without a backend's events."""
    steps = list(history.select("backend", "step"))
    if not steps:
        return None
    timeline = Timeline.of(history)
    received = [event for event in steps if event.data["action"] == "received"]
    figures = {"commands_received": Figure(len(received), "1")}
    twice = [event for event in _twice(history) if timeline.witnessed(event.time)]
    if twice:
        first = twice[0].data
        return Check(
            NAME, Verdict.FAIL,
            f"{len(twice)} of {len(received)} commands came to the backend twice, first: handle "
            f"{first['handle']} in {first['point']}{cited(SOURCE)}", _quote(twice),
            {**figures, **timeline.detected(NAME, twice[0].time)},
            [Signature.of("twice", str(each.data["point"])) for each in twice])
    refused = [event for event in _refused(history) if timeline.witnessed(event.time)]
    if refused:
        first = refused[0].data
        return Check(
            NAME, Verdict.FAIL,
            f"the kernel refused {len(refused)} correct answers, first: handle {first['handle']} "
            f"with {first['error']}{cited(SOURCE)}", _quote(refused),
            {**figures, **timeline.detected(NAME, refused[0].time)},
            [Signature.of("refused", str(each.data["error"])) for each in refused])
    return Check(NAME, Verdict.PASS, f"{len(received)} commands came once each, and no correct "
                 "answer was refused", (), figures)


def _twice(history: History) -> Iterator[Event]:
    """Yield the events of commands that were at the same point before; a new device counts anew."""
    seen: set[tuple[object, int, str]] = set()
    for event in history.select("backend", "step", "ready", "registered"):
        if event.kind != "step":
            seen.clear()
        elif event.data["action"] == "received":
            key = (event.data.get("device"), event.data["handle"], event.data["point"])
            if key in seen:
                yield event
            seen.add(key)


def _refused(history: History) -> Iterator[Event]:
    """Yield the refusals of answers that the test has not falsified or repeated."""
    falsified = {(event.data.get("device"), handle)
                 for event in history.select("backend", "misanswered", "lied")
                 for handle in (event.data["handle"], event.data.get("as_handle"))}
    silences = _silences(sorted(event.time for event in history.select("backend")))
    for event in history.select("backend", "refused"):
        handle = event.data["handle"]
        at = bisect_right(silences, event.time) - 1
        repeated = at >= 0 and event.time - silences[at] < AFTERWARDS
        if handle >= 0 and not repeated and (
                event.data.get("device"), handle) not in falsified:
            yield event


def _silences(times: Sequence[float]) -> list[float]:
    """Return the ends of the times of SILENT seconds without an event."""
    return [after for before, after in pairwise(times)
            if after - before >= SILENT]


def _quote(events: Sequence[Event]) -> list[dict[str, object]]:
    return [{"time": event.time, **event.data} for event in events[:EVIDENCE_MAX]]
