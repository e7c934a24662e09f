# SPDX-License-Identifier: GPL-2.0-or-later
"""The closing table of a run: scenario, outcome, longest command, teardown time, and reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from results.judge import Judgement
from results.verdict import Outcome

STYLE = {
    Outcome.PASS: "green", Outcome.FIXED: "bold green", Outcome.KNOWN: "cyan",
    Outcome.UNKNOWN: "yellow", Outcome.FAIL: "bold red",
}
"""Colours, best outcome first: the order in which they are counted."""

HEADINGS = ("scenario", "outcome", "longest command", "teardown", "decided by")


def show(judgements: Sequence[Judgement], console: Console) -> None:
    """Print the table: with colour and lines on a terminal, one plain line each elsewhere."""
    if console.is_terminal:
        console.print(_table(judgements))
    else:
        for line in lines(judgements):
            console.file.write(line + "\n")
    console.print(Text(tally(judgements)), soft_wrap=True)


def lines(judgements: Sequence[Judgement]) -> list[str]:
    """Return the table as aligned plain text; no reason is cut."""
    rows = [HEADINGS, *(row(judgement) for judgement in judgements)]
    widths = [max(len(cells[column]) for cells in rows) for column in range(len(HEADINGS))]
    aligned = (
        [cells[0].ljust(widths[0]), cells[1].ljust(widths[1]), cells[2].rjust(widths[2]),
         cells[3].rjust(widths[3]), cells[4]]
        for cells in rows
    )
    return ["  ".join(cells).rstrip() for cells in aligned]


def row(judgement: Judgement) -> tuple[str, str, str, str, str]:
    """Return the cells of one scenario; for a PASS the reason is empty, or its slow times."""
    return (
        judgement.scenario,
        str(judgement.outcome),
        _seconds(judgement, "longest_command"),
        _seconds(judgement, "teardown_time"),
        _why(judgement),
    )


def tally(judgements: Sequence[Judgement]) -> str:
    """Return the number of scenarios of each outcome, and of slow ones: "5 PASS, 1 FAIL"."""
    counts = Counter(judgement.outcome for judgement in judgements)
    slow = sum(bool(judgement.slow) for judgement in judgements)
    return (counted(counts) or "no scenario was judged") + (f"; {slow} SLOW" if slow else "")


def counted(counts: Mapping[Outcome, int]) -> str:
    """Return counts of outcomes as text, the best outcome first; "" without any."""
    shown = [f"{counts[outcome]} {outcome}" for outcome in STYLE if counts.get(outcome)]
    return ", ".join(shown)


def _table(judgements: Sequence[Judgement]) -> Table:
    table = Table()
    for heading in HEADINGS:
        table.add_column(heading, overflow="fold",
                         justify="right" if heading in HEADINGS[2:4] else "left")
    for judgement in judgements:
        scenario, outcome, *cells = row(judgement)
        table.add_row(Text(scenario), Text(outcome, STYLE[judgement.outcome]), *map(Text, cells))
    return table


def _why(judgement: Judgement) -> str:
    return "; ".join(filter(None, [_decided(judgement), *map(str, judgement.slow)]))


def _decided(judgement: Judgement) -> str:
    issue = judgement.known
    if judgement.outcome is Outcome.KNOWN and issue:
        return f"{issue.id} ({issue.link}){judgement.recognised}; {judgement.reason}"
    if judgement.outcome is Outcome.FIXED and issue:
        return f"{issue.id} ({issue.link}) was expected and not seen"
    return "" if judgement.outcome is Outcome.PASS else judgement.reason


def _seconds(judgement: Judgement, name: str) -> str:
    figure = judgement.figures.get(name)
    return "-" if figure is None or figure.value is None else f"{figure.value:.2f} s"
