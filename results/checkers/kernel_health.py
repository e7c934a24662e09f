"""Kernel health: the console shows no report of the kernel's own between begin and end."""

from __future__ import annotations

from collections import Counter
from typing import Any

from results.checkers import EVIDENCE_MAX
from results.history import History
from results.kernel_log import Report, read
from results.verdict import Check, Figure, Verdict

NAME = "kernel_health"

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
    log, marked = _console(history, scenario.data["id"])
    reports = read(log)
    titles = list(Counter(report.title for report in reports))
    if not marked:
        reason = "the console was not heard: the scenario's marker is not on it"
        if titles:
            reason += f"; what was heard has {', '.join(titles)}"
        return Check(NAME, Verdict.UNKNOWN, reason, _quote(reports))
    figures = {"kernel_reports": Figure(len(reports), "1")}
    if reports:
        return Check(NAME, Verdict.FAIL, "; ".join(titles), _quote(reports), figures)
    lines = log.count("\n")
    return Check(NAME, Verdict.PASS, f"{lines} console lines, no report", (), figures)


def _console(history: History, scenario: str) -> tuple[str, bool]:
    """Return the console from the scenario's first mark to its last, and whether it is marked.

    Without the first mark, all of it. Marks and not times: printk's clock (local_clock) is not
    exactly CLOCK_MONOTONIC.
    """
    lines = [str(event.data["text"]) for event in history.select("console", "line")]
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
