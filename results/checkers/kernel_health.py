# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel health: the console shows no kernel report between the scenario's begin and end."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from results.checkers import EVIDENCE_MAX
from results.history import Event, History
from results.kernel_log import Kind, Report, read
from results.kernel_log.frames import is_machinery
from results.timeline import Timeline
from results.verdict import Check, Figure, Signature, Verdict

NAME = "kernel_health"

INITIATOR = "initiator"
"""Value of ``machine`` in the console events of an initiator with its own machine."""

PRINTK_DROPPED = re.compile(r"\*\* (\d+) printk messages dropped \*\*")
"""Messages that the kernel overwrote before the console had them (kernel/printk/printk.c)."""

PANICKED = "kernel panic, reported by pvpanic: the console has no report of it"

SILENT_PANIC = Signature.of(str(Kind.PANIC), PANICKED)

LINES_MAX = 80
"""Lines of one report that the evidence quotes; console.log has all of them."""


def begin_mark(scenario: str) -> str:
    """Return the harness's first message to /dev/kmsg: proof that the console works."""
    return f"stf: scenario {scenario} begins"


def end_mark(scenario: str) -> str:
    """Return the harness's last message to /dev/kmsg."""
    return f"stf: scenario {scenario} ends"


def check(history: History) -> Check:
    """FAIL for any kernel report; UNKNOWN when the scenario's marker is not on the console.

    UNKNOWN, too, when there is no report but a part of the console was not read.
    """
    scenario = history.first("harness", "scenario")
    if scenario is None:
        return Check(NAME, Verdict.UNKNOWN, "the history has no scenario event")
    consoles = [_console(history, scenario.data["id"], machine) for machine in machines(history)]
    log, marked = "".join(log for log, *_ in consoles), all(begun for _, begun, _ in consoles)
    found = reports(history)
    titles = list(Counter(report.title for report in found))
    panicked = history.first("harness", "panicked")
    if panicked and not any(report.kind is Kind.PANIC or _fatal(report) for report in found):
        titles.append(PANICKED)
    if not marked and not panicked:
        reason = "the console has no marker of the scenario: nothing of it was received"
        if titles:
            reason += f"; the console has {', '.join(titles)}"
        return Check(NAME, Verdict.UNKNOWN, reason, _quote(found))
    figures = {"kernel_reports": Figure(len(found), "1")}
    if titles:
        # printk's clock is the best available: within milliseconds of CLOCK_MONOTONIC
        times = [each.time for each in found if each.time is not None]
        times += [panicked.time] if panicked else []
        figures.update(Timeline.of(history).detected(NAME, min(times, default=None)))
        signatures = [*map(signature, found), *([SILENT_PANIC] if PANICKED in titles else [])]
        return Check(NAME, Verdict.FAIL, "; ".join(titles), _quote(found), figures,
                     list(dict.fromkeys(signatures)))
    dropped = list(history.select("console", "dropped"))
    return _without_report(log, dropped, all(ended for *_, ended in consoles), figures)


def _without_report(
    log: str, dropped: Sequence[Event], ended: bool, figures: dict[str, Figure],
) -> Check:
    """Return PASS, or UNKNOWN when a part of the console was not read.

    ``ended``: whether the console has the mark of the scenario's end.
    """
    lines = log.count("\n") + sum(event.data["lines"] for event in dropped)
    reason = f"{lines} console lines, no report"
    if unread := _unread(log, dropped, ended):
        return Check(NAME, Verdict.UNKNOWN, f"{reason}, but {unread}", (), figures)
    return Check(NAME, Verdict.PASS, reason, (), figures)


def _unread(log: str, dropped: Sequence[Event], ended: bool) -> str:
    """Return in words the part of the console that nobody has read, or ""."""
    reports = sum(event.data.get("reports", 0) for event in dropped)
    if reports:
        return f"{reports} lines that open one were not recorded"
    messages = sum(int(found[1]) for found in PRINTK_DROPPED.finditer(log))
    if messages:
        return f"the kernel dropped {messages} messages before they were printed"
    return "" if ended else "the console was followed to no mark of the scenario's end"


def _fatal(report: Report) -> bool:
    """Return whether a report ends with a panic, which its title does not name."""
    return any("Kernel panic - not syncing" in line for line in report.lines)


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


def _console(history: History, scenario: str, machine: str | None) -> tuple[str, bool, bool]:
    """Return the console from the scenario's first mark to its last, and whether it has either.

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
    kept = "".join(line + "\n" for line in lines[begin:end])
    return kept, first is not None, end < len(lines)


def _quote(reports: list[Report]) -> list[dict[str, Any]]:
    return [
        {
            "title": report.title, "kind": str(report.kind), "frame": report.frame,
            "task": report.task, "cpu": report.cpu, "time": report.time,
            "lines": list(report.lines[:LINES_MAX]),
        }
        for report in reports[:EVIDENCE_MAX]
    ]
