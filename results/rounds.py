# SPDX-License-Identifier: GPL-2.0-or-later
"""Rounds: a scenario whose steps are repeated on one machine, each repetition judged by itself.

The harness's ``round`` events mark the beginnings. A round ends where the next begins, or where the
device is deployed for the last time (phase "recover"). The events before the first round (the
scenario, its fault) belong to every round. The kernel's health, the threads and leftover resources
belong to the whole scenario.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

from results.checkers import EVIDENCE_MAX
from results.history import Event, History
from results.timeline import phase
from results.verdict import PRIORITY, Check, Figure, Verdict

Checker = Callable[[History], Check | None]

REASONS_SHOWN = 4
"""Number of different reasons of passed rounds up to which all are quoted."""


def rounds(history: History) -> list[History]:
    """Return a history of each round; empty when the steps ran once, without rounds."""
    begins = [event.time for event in history.select("harness", "round")]
    if not begins:
        return []
    common = [event for event in history.events if event.time < begins[0]]
    over = phase(history, "recover")
    last = history.events[-1].time if over is None else over
    parts = [_part(history, common, begin, end) for begin, end in pairwise([*begins, last])]
    if over is None:  # aborted in the last round: later events belong to it
        parts[-1] = History.of(
            [*common, *(event for event in history.events if event.time >= begins[-1])])
    return parts


def _part(history: History, common: Sequence[Event], begin: float, end: float) -> History:
    events = (event for event in history.events if begin <= event.time < end)
    return History.of([*common, *events, Event(end, "harness", "phase", {"name": "end"})])


def in_rounds(check: Checker) -> Checker:
    """Return a checker that judges each round by itself, where there are rounds."""
    def judge_rounds(history: History) -> Check | None:
        parts = rounds(history)
        if not parts:
            return check(history)
        found = [each for each in map(check, parts) if each]
        return merge(found) if found else None
    return judge_rounds


def merge(checks: Sequence[Check]) -> Check:
    """Merge the checks of several rounds into one: the worst verdict, and its number of rounds.

    Counts are added up; of figures in another unit the greatest is kept. The figures NAME_rounds
    and NAME_rounds_failed count the rounds.
    """
    name = checks[0].name
    verdict = next(each for each in PRIORITY if any(check.verdict is each for check in checks))
    worst = [(number, check) for number, check in enumerate(checks, 1) if check.verdict is verdict]
    failed = sum(check.verdict is Verdict.FAIL for check in checks)
    figures = {**_figures(checks), f"{name}_rounds": Figure(len(checks), "1"),
               f"{name}_rounds_failed": Figure(failed, "1")}
    if verdict is Verdict.PASS:
        return Check(name, verdict, f"{len(checks)} rounds: {_words(checks)}", (), figures)
    number, first = worst[0]
    evidence = [each for _, check in worst for each in check.evidence]
    return Check(name, verdict, f"in {len(worst)} of {len(checks)} rounds, first in round "
                 f"{number}: {first.reason}", evidence[:EVIDENCE_MAX], figures,
                 list(dict.fromkeys(each for _, check in worst for each in check.signatures)))


def _words(checks: Sequence[Check]) -> str:
    reasons = Counter(check.reason for check in checks)
    if len(reasons) > REASONS_SHOWN:
        return f"{checks[0].reason} ... {checks[-1].reason}"
    return "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common())


def _figures(checks: Iterable[Check]) -> dict[str, Figure]:
    found: dict[str, list[Figure]] = {}
    for check in checks:
        for name, figure in check.figures.items():
            found.setdefault(name, []).append(figure)
    return {name: _one(figures) for name, figures in found.items()}


def _one(figures: Sequence[Figure]) -> Figure:
    values = [figure.value for figure in figures if figure.value is not None]
    unit = figures[0].unit
    if not values:
        return Figure(None, unit)
    return Figure(sum(values) if unit == "1" else max(values), unit)
