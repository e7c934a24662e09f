# SPDX-License-Identifier: GPL-2.0-or-later
"""Steps of this suite: make a batch's calls by a guest program, and judge what became of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fixtures.context import ScenarioContext
from fixtures.program import EXIT, Program
from suites.abi.batches import Batch, Case

ARRANGE, CALL, KILL = 6.0, 3.0, 3.0
"""Seconds: for a case's arrangement, for its process after the call, and for SIGKILL; without
virtualization in the ladder's ratio more. TCMU's and SCST's own timers are longer than CALL where a
call may wait (Expected.waits)."""

UNKILLABLE = "a process that called the kernel can be killed"
RELEASED = "the kernel releases what the process of a call had"
IN_TIME = "a call returns in time"
UNFETCHED = "a command whose fetching failed cannot be answered"
ARRANGED = "a fifth of the calls at most could not be arranged"


@dataclass(frozen=True)
class Expected:
    """The results that a call may have.

    ``errors``: names of errnos, "" for success; None: any. ``refused``: any errno but success.
    ``waits``: whether it may wait for longer than CALL. ``why``: the rule, as the expectation's
    words: "NAME refuses ...".
    """

    errors: frozenset[str] | None = None
    refused: bool = False
    waits: bool = False
    why: str = ""

    def met(self, errors: list[str]) -> bool:
        """Return whether all results are allowed."""
        if self.refused:
            return "" not in errors
        return self.errors is None or set(errors) <= self.errors


Judge = Callable[[Case], Expected]


@dataclass
class Report:
    """The events of one case, by kind."""

    case: Case
    events: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def has(self, kind: str) -> bool:
        """Return whether there was such an event."""
        return kind in self.events

    def of(self, kind: str) -> Mapping[str, Any]:
        """Return the last event of a kind."""
        return self.events[kind]


def make_calls(
    ctx: ScenarioContext, module: str, batch: Batch, argument: Mapping[str, Any], judge: Judge,
    *, further: Callable[[ScenarioContext, Report], None] = lambda ctx, report: None,
) -> None:
    """Make a batch's calls, and record what was expected of each and what it did.

    ``argument``: of the program, beside the cases. ``further``: judges what the program emits
    beside the events of targets.backend.cases_guest. Raises TargetFailedError when the program
    gives no sign of life, and when a call leaves something behind: further steps would show only
    that.
    """
    scale = ctx.ladder.step / 10.0
    bounds = {"arrange": ARRANGE * scale, "call": CALL * scale, "kill": KILL * scale,
              "release": ctx.ladder.teardown}
    program = ctx.program("calls", module, {
        **argument, "bounds": bounds,
        "cases": [{"number": case.number, **case.fields} for case in batch.cases]})
    silence = sum(bounds.values()) + ctx.ladder.silence
    _conduct(ctx, program, silence)
    reports = {case.number: Report(case) for case in batch.cases}
    for event in program.events:
        if event.get("number") in reports:
            reports[event["number"]].events[event["kind"]] = event
    for report in reports.values():
        _judge(ctx, report, judge(report.case))
        further(ctx, report)
    _judge_arranged(ctx, list(reports.values()))
    stuck = [report.case.words for report in reports.values()
             if report.has("kept") or report.has("unkillable")]
    ctx.must(not stuck, f"the batch ends with {', '.join(stuck)}")


def _conduct(ctx: ScenarioContext, program: Program, silence: float) -> None:
    """Let the program make one call after the other: each is recorded before it is made."""
    told = 0
    while True:
        number = told

        def moved(number: int = number) -> bool:
            return len(program.events_of("call")) > number or bool(
                program.events_of("end") or program.events_of(EXIT))

        ctx.must(program.wait(moved, silence), f"no call ended for {silence:g} s")
        if len(program.events_of("call")) <= told:
            break
        told += 1
        program.order(go=program.events_of("call")[-1]["number"])
    ended = program.wait_event("end", ctx.ladder.step)
    ctx.must(ended, f"the program that makes the calls ended early: {program.last_words}")


def _judge(ctx: ScenarioContext, report: Report, expected: Expected) -> None:
    words = report.case.words
    if report.has("unkillable"):
        ctx.expect(UNKILLABLE, False, f"{words}: it waits in {report.of('unkillable')['wchan']}")
    if report.has("kept"):
        kept = report.of("kept")
        ctx.expect(RELEASED, False, f"{words}: {kept['what']} after {kept['seconds']:.1f} s")
    elif report.has("released"):
        ctx.expect(RELEASED, True, words)
    if report.has("late") and not expected.waits:
        ctx.expect(IN_TIME, False, f"{words}: it waits in {report.of('late')['wchan']}")
    if report.has("removal"):
        removal = report.of("removal")
        ctx.expect("a module is not removed while its descriptor is open", bool(removal["error"]),
                   words)
    if report.has("again") and report.case.fields.get("then") == "answer":
        answers = report.of("again")["errors"]
        ctx.expect(UNFETCHED, "" not in answers, f"{words}: {', '.join(map(_word, answers))}")
    if report.has("done") and expected.why:
        errors = report.of("done")["errors"]
        ctx.expect(expected.why, expected.met(errors), f"{words}: {', '.join(map(_word, errors))}")


def _word(error: str) -> str:
    return error or "success"


def _judge_arranged(ctx: ScenarioContext, reports: list[Report]) -> None:
    """Record an expectation for the calls that were made: a batch of none proves nothing."""
    unready = [report for report in reports if report.has("unready")]
    begun = [report for report in reports if report.has("arranging")]
    first = f"; {unready[0].case.words}: {unready[0].of('unready')['why']}" if unready else ""
    ctx.expect(ARRANGED, 5 * len(unready) <= len(begun) and bool(begun),
               f"{len(unready)} of {len(begun)} were not{first}")
