"""Kernel health: the console shows no report of the kernel's own between begin and end."""

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
"""What the events of a machine of the initiator's own have as ``machine``."""

LINES_MAX = 80
"""Lines of one report that the evidence quotes; console.log has all of them."""


def begin_mark(scenario: str) -> str:
    """Return what the harness writes to /dev/kmsg first: proof that the console is heard."""
    return f"stf: scenario {scenario} begins"


def end_mark(scenario: str) -> str:
    """Return what the harness writes to /dev/kmsg last."""
    return f"stf: scenario {scenario} ends"


def check(history: History) -> Check:
    """FAIL for any report of the kernel; UNKNOWN when the scenario's marker was not seen."""
    scenario = history.first("harness", "scenario")
    if scenario is None:
        return Check(NAME, Verdict.UNKNOWN, "the history has no scenario event")
    consoles = [_console(history, scenario.data["id"], machine) for machine in machines(history)]
    log, marked = "".join(log for log, _ in consoles), all(marked for _, marked in consoles)
    found = reports(history)
    titles = list(Counter(report.title for report in found))
    if not marked:
        reason = "the console was not heard: the scenario's marker is not on it"
        if titles:
            reason += f"; what was heard has {', '.join(titles)}"
        return Check(NAME, Verdict.UNKNOWN, reason, _quote(found))
    figures = {"kernel_reports": Figure(len(found), "1")}
    if found:
        # printk's clock, for want of a better one: within milliseconds of CLOCK_MONOTONIC
        times = [each.time for each in found if each.time is not None]
        figures.update(Timeline.of(history).detected(NAME, min(times, default=None)))
        return Check(NAME, Verdict.FAIL, "; ".join(titles), _quote(found), figures,
                     list(dict.fromkeys(map(signature, found))))
    lines = log.count("\n")
    return Check(NAME, Verdict.PASS, f"{lines} console lines, no report", (), figures)


def reports(history: History) -> list[Report]:
    """Return what the kernel reported between the scenario's begin and end."""
    scenario = history.first("harness", "scenario")
    return [] if scenario is None else [
        _at(report, 0.0 if machine is None else _behind(history)) for machine in machines(history)
        for report in read(_console(history, scenario.data["id"], machine)[0])]


def _at(report: Report, later: float) -> Report:
    """Return a report with its time as the history has it: the console's text has its machine's."""
    return report if report.time is None else replace(report, time=report.time + later)


def _behind(history: History) -> float:
    clock = history.first("harness", "clock")
    return float(clock.data["behind"]) if clock else 0.0


def machines(history: History) -> list[str | None]:
    """Return whose consoles there are: the target's, which has no name, and the initiator's if it
    is on a machine of its own. A report of either kernel is one too many."""
    scenario = history.first("harness", "scenario")
    return [None, INITIATOR] if scenario and scenario.data.get("apart") else [None]


def signature(report: Report) -> Signature:
    """Return a report's kind with its title and the functions of its stack that say something."""
    frames = [frame for frame in report.frames if not is_machinery(frame)]
    return Signature.of(str(report.kind), report.title, report.frame, *frames)


def _console(history: History, scenario: str, machine: str | None) -> tuple[str, bool]:
    """Return the console from the scenario's first mark to its last, and whether it is marked.

    Without the first mark, all of it. Marks and not times: printk's clock (local_clock) is not
    exactly CLOCK_MONOTONIC, and a message written into the middle of a line has none of its own.
    So it is the lines' numbers, where there are some, that tell their order.
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
