# SPDX-License-Identifier: GPL-2.0-or-later
"""The matrix of waits for commands of scst_user: way x requested events x what precedes the wait.

A queued command is input (POLLIN and POLLRDNORM); without one a descriptor has no events.
"""

from __future__ import annotations

from fixtures.context import ScenarioContext
from fixtures.matrix import Matrix, Rule
from suites.abi.making import Report
from targets.scst.waiting import EVENTS, INPUT, WITH_EXCLUSIVE, Before, Way

RULES: tuple[Rule, ...] = (
    Rule("EPOLLEXCLUSIVE cannot be combined with the events", ("way", "events"),
         lambda way, events: way == Way.EXCLUSIVE and events not in WITH_EXCLUSIVE),
    Rule("a registration with EPOLLEXCLUSIVE cannot be modified", ("way", "before"),
         lambda way, before: way == Way.EXCLUSIVE and before == Before.MODIFIED),
)

MATRIX = Matrix({
    "way": [str(way) for way in Way], "events": list(EVENTS),
    "before": [str(before) for before in Before]}, RULES)

WOKEN = "a command wakes a process that waits for input"
IDLE = "a descriptor without a command reports no event"
REQUESTED = "a command is reported as input, and only where that is requested"


def judge(ctx: ScenarioContext, report: Report) -> None:
    """Record what a wait reported."""
    if not report.has("waited"):
        return
    waited, words = report.of("waited"), report.case.words
    idle, woke = waited["idle"], waited["woke"]
    input_events = EVENTS[report.case.fields["events"]] & INPUT
    ctx.expect(IDLE, not idle, f"{words}: events {idle:#x} without a command")
    if input_events:
        ctx.expect(WOKEN, bool(woke & INPUT), f"{words}: events {woke:#x} {waited['seconds']:g} s "
                                              "after the registration, a command is queued")
    ctx.expect(REQUESTED, not woke & ~input_events,
               f"{words}: events {woke:#x}, allowed {input_events:#x}")
