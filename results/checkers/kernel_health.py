# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel health: the console shows no kernel report between the scenario's begin and end."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from results.checkers import EVIDENCE_MAX
from results.history import History
from results.kernel_log import Report, read
from results.kernel_log.frames import is_machinery
from results.timeline import Timeline
from results.verdict import Check, Figure, Signature, Verdict

NAME = "kernel_health"

INITIATOR = "initiator"
"""Value of ``machine`` in the console events of an initiator with its own machine."""

LINES_MAX = 80
"""Lines of one report that the evidence quotes; console.log has all of them."""


def begin_mark(scenario: str) -> str:
    """Return the harness's first message to /dev/kmsg: proof that the console works."""
    return f"stf: scenario {scenario} begins"


def end_mark(scenario: str) -> str:
    """Return the harness's last message to /dev/kmsg."""
    return f"stf: scenario {scenario} ends"


def check(history: History) -> Check:
    """FAIL for any kernel report; UNKNOWN when the scenario's marker is not on the console."""
    scenario = history.first("harness", "scenario")
    if scenario is None:
        return Check(NAME, Verdict.UNKNOWN, "the history has no scenario event")
    consoles = [_console(history, scenario.data["id"], machine) for machine in machines(history)]
    log, marked = "".join(log for log, _ in consoles), all(marked for _, marked in consoles)
    found = reports(history)
    titles = list(Counter(report.title for report in found))
    if not marked:
        reason = "the console has no marker of the scenario: nothing of it was received"
        if titles:
            reason += f"; the console has {', '.join(titles)}"
        return Check(NAME, Verdict.UNKNOWN, reason, _quote(found))
    figures = {"kernel_reports": Figure(len(found), "1")}
    if found:
        # printk's clock is the best available: within milliseconds of CLOCK_MONOTONIC
        times = [each.time for each in found if each.time is not None]
        figures.update(Timeline.of(history).detected(NAME, min(times, default=None)))
        return Check(NAME, Verdict.FAIL, "; ".join(titles), _quote(found), figures,
                     list(dict.fromkeys(map(signature, found))))
    lines = log.count("\n")
    return Check(NAME, Verdict.PASS, f"{lines} console lines, no report", (), figures)


def reports(history: History) -> list[Report]:
    """Return the kernel's reports between the scenario's begin and end."""
    scenario = history.first("harness", "scenario")
    return [] if scenario is None else [
        _at(report, 0.0 if machine is None else _behind(history)) for machine in machines(history)
        for report in read(_console(history, scenario.data["id"], machine)[0])]


def _at(report: Report, later: float) -> Report:
    """Return a report with its time on the history's clock; the console has its own machine's."""
    return report if report.time is None else replace(report, time=report.time + later)


def _behind(history: History) -> float:
    clock = history.first("harness", "clock")
    return float(clock.data["behind"]) if clock else 0.0


def machines(history: History) -> list[str | None]:
    """Return the machines with a console: None for the target's, and the initiator's if separate.

    A report of either kernel is a FAIL.
    """
    scenario = history.first("harness", "scenario")
    return [None, INITIATOR] if scenario and scenario.data.get("apart") else [None]


def signature(report: Report) -> Signature:
    """Return a report's kind with its title and its stack's functions outside the machinery."""
    frames = [frame for frame in report.frames if not is_machinery(frame)]
    return Signature.of(str(report.kind), report.title, report.frame, *frames)


def _console(history: History, scenario: str, machine: str | None) -> tuple[str, bool]:
    """Return the console from the scenario's first mark to its last, and whether it is marked.

    Without the first mark, all of it. The range goes by marks and not by times: printk's clock
    (local_clock) is not exactly CLOCK_MONOTONIC, and a message written into the middle of a line
    has no stamp of its own. Therefore the lines are ordered by their numbers, where there are some.
    """
    lines = [str(event.data["text"]) for event in sorted(
        history.select("console", "line"), key=lambda event: event.data.get("number", 0))
        if event.data.get("machine") == machine]
    first = next((at for at, line in enumerate(lines) if begin_mark(scenario) in line), None)
    begin = first or 0
    end = next(
        (at for at, line in enumerate(lines) if at > begin and end_mark(scenario) in line),
        len(lines),
    )
    return "".join(line + "\n" for line in lines[begin:end]), first is not None


def _quote(reports: list[Report]) -> list[dict[str, Any]]:
    return [
        {
            "title": report.title, "kind": str(report.kind), "frame": report.frame,
            "task": report.task, "cpu": report.cpu, "time": report.time,
            "lines": list(report.lines[:LINES_MAX]),
        }
        for report in reports[:EVIDENCE_MAX]
    ]
