# SPDX-License-Identifier: GPL-2.0-or-later
"""The report of one scenario: plain text from which a kernel developer can continue.

Its first line is the earliest cause in the evidence (results.headline): a command that nobody
answered, a spinning or waiting task. The consequences follow.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from results.block_io import account
from results.checkers import threads
from results.headline import headline
from results.history import Event, History
from results.judge import Judgement
from results.standstill import Row, blocked, evidence_of, quoted, shown_opcode
from results.timeline import Timeline
from results.verdict import Verdict

LINES_MAX = 40
"""Lines of each list; history.jsonl and console.log contain all of them."""


def text(
    judgement: Judgement, history: History, *, stuck: Sequence[Row] = (),
    waiters: Sequence[Row] = (), missing: Sequence[str] = (), files: Sequence[str] = (),
    command: str | None = None,
) -> str:
    """Return the report, ending with a newline.

    ``stuck``, ``waiters``: the target's commands, and the tasks that wait or run, as read from the
    guest's memory. ``missing``: unavailable evidence, each with the way to get it. ``files``: the
    files beside the report. ``command``: the command line that runs the scenario again, where one
    is known.
    """
    first, *consequences = cause(judgement, history, stuck, waiters)
    sections = (
        ("Consequences", consequences),
        ("Verdict", _verdict(judgement)),
        ("Slow", [*map(str, judgement.slow)]),
        ("Stuck commands", list(_tables(stuck))),
        ("Spinning and blocked tasks", list(standing(judgement, waiters))),
        ("Kernel reports", list(_reports(judgement))),
        ("Commands in flight", list(in_flight(history))),
        ("Time line", _times(judgement, history)),
        ("Run it again", list(_replay(history, command))),
        ("Files", list(files)),
        ("Missing evidence", list(missing)),
    )
    parts = [first]
    for title, lines in sections:
        if lines:
            parts.append("\n".join([title, *(f"  {line}".rstrip() for line in lines)]))
    return "\n\n".join(parts) + "\n"


def cause(
    judgement: Judgement, history: History, stuck: Sequence[Row] | None = None,
    waiters: Sequence[Row] | None = None,
) -> list[str]:
    """Return the earliest cause of a FAIL, then its consequences; else the verdict's reason."""
    if judgement.verdict is Verdict.PASS and judgement.slow:
        return [f"{judgement.verdict}, {judgement.slow[0]}"]
    if judgement.verdict is not Verdict.FAIL:
        return [f"{judgement.verdict}: {judgement.reason}"]
    found = headline(judgement.checks, history, stuck, waiters)
    return [found.cause, *found.consequences] if found else [judgement.reason]


def _verdict(judgement: Judgement) -> list[str]:
    lines = [f"{judgement.scenario}: {judgement.outcome}"]
    if judgement.known:
        lines[0] += f", {judgement.known.id} ({judgement.known.link})"
        lines += [f"recognised by {words}" for words in judgement.matched]
    wide = max((len(check.name) for check in judgement.checks), default=0)
    return lines + [
        f"{check.verdict:<7}  {check.name:<{wide}}  {check.reason}" for check in judgement.checks
    ]


def _tables(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of a table for each kind of row, aligned under the names of its columns."""
    for cells in alike(rows):
        yield from _table(cells)


def alike(rows: Sequence[Row]) -> list[list[list[str]]]:
    """Return a table of cells, its heading first, for each kind of row."""
    kinds: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        kinds.setdefault(tuple(sorted(row)), []).append(row)
    return [
        [list(kind[0]), *([_cell(row, column) for column in kind[0]] for row in kind)]
        for kind in kinds.values()
    ]


def _table(cells: Sequence[Sequence[str]]) -> list[str]:
    wide = [max(len(line[number]) for line in cells) for number in range(len(cells[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, wide, strict=True)).rstrip()
        for line in cells
    ]


def _cell(row: Row, column: str) -> str:
    value = row.get(column)
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "-"
    if value is None:
        return "-"
    return shown_opcode(value) if column == "opcode" else str(value)


def standing(judgement: Judgement, waiters: Sequence[Row] = ()) -> Iterator[str]:
    """Yield lines on the tasks that spin, or wait in D state, with their stacks."""
    for each in evidence_of(judgement.checks, threads.NAME):
        if "spinning" in each:
            spin = each["spinning"]
            yield (f"{spin['comm']}:{spin['pid']} spins: {spin['share']:.0%} of a CPU for "
                   f"{spin['seconds']:.1f} s")
            yield from (f"    {frame}" for frame in spin["stack"])
    for task in blocked(judgement.checks):
        yield f"{task['comm']}:{task['pid']} in D state"
        frames = task.get("stack") or [task.get("wchan") or "its stack is not known"]
        yield from (f"    {frame}" for frame in frames)
    for row in waiters:
        at = "" if row.get("cpu") is None else f", on CPU {row['cpu']}"
        yield f"{row['task']}:{row['pid']} in the guest's memory: state {row['state']}{at}"
        yield from (f"    {frame}" for frame in row["stack"])


def _reports(judgement: Judgement) -> Iterator[str]:
    reports = quoted(judgement.checks)
    times = Counter(each["title"] for each in reports)
    first = {each["title"]: each for each in reversed(reports)}
    for title, number in times.items():
        each = first[title]
        facts = [f"named by {each['frame']}" if each["frame"] else "no function names it"]
        facts += [f"task {each['task']}"] if each["task"] else []
        facts += [f"CPU {each['cpu']}"] if each["cpu"] is not None else []
        facts += [f"{number} times"] if number > 1 else []
        yield f"{title}: {', '.join(facts)}"
        yield from (f"    {line}" for line in each["lines"][:LINES_MAX])
        if len(each["lines"]) > LINES_MAX:
            yield "    ... (console.log has the rest)"


def in_flight(history: History) -> Iterator[str]:
    """Yield lines on the I/Os and commands still open, at the block layer and in the backend."""
    open_ios = account(history).open
    yield from (f"{io.describe()}, issued at {io.issued:.3f} s" for io in open_ios[:LINES_MAX])
    if len(open_ios) > LINES_MAX:
        yield f"... and {len(open_ios) - LINES_MAX} more"
    unanswered: dict[tuple[object, ...], Event] = {}
    for event in history.select("backend", "step"):
        data = event.data
        key = (data.get("device"), data["point"], data["handle"])
        unanswered.pop(key, None)
        if data["action"] not in ("answered", "given up"):
            unanswered[key] = event
    for event in list(unanswered.values())[:LINES_MAX]:
        data = event.data
        yield (f"the backend did not answer {data['point']}, handle {data['handle']}, opcode "
               f"{shown_opcode(data['opcode'])}: {data['action']} at {event.time:.3f} s")
    if len(unanswered) > LINES_MAX:
        yield f"... and {len(unanswered) - LINES_MAX} more"


PARTICULAR = re.compile(": (?:tag|number) ")
"""Separates the text that events share from the number of one command."""


def _ending(data: Mapping[str, Any]) -> str:
    """Return a command's error, or else its status."""
    if data.get("error") or data.get("status") is None:
        return str(data.get("error") or "done")
    return f"status {data['status']:#04x}"


WORDS: Mapping[tuple[str, str], Callable[[Mapping[str, Any]], str]] = {
    ("harness", "phase"): lambda data: f"phase {data['name']}",
    ("harness", "error"): lambda data: f"{data['family']}: {data['message']}",
    ("harness", "lost"): lambda data: f"the machine was lost: {data['what']}",
    ("target", "begin"): lambda data: f"{data['operation']} begins",
    ("target", "end"): lambda data: f"{data['operation']} ends after {data['seconds']:.2f} s"
                                    + (f": {data['error']}" if data["error"] else ""),
    ("target", "disk"): lambda data: f"disk {data['name']}",
    ("fault", "armed"): lambda data: f"armed: {data['fault']} at {data['count']} {data['point']}",
    ("fault", "fired"): lambda data: f"{data['fault']} fires, {data['held']} commands held",
    ("fault", "undone"): lambda data: f"{data['fault']} is undone",
    ("fault", "injected"): lambda data: f"{data['operation']}: {data['count']} allocations failed",
    ("backend", "held"): lambda data: f"holds handles {', '.join(map(str, data['handles']))}",
    ("backend", "released"): lambda _: "releases what it held",
    ("backend", "closed"): lambda _: "closes the device",
    ("backend", "exit"): lambda data: f"ends with status {data['status']}",
    ("scsi", "timeout"): lambda data: f"command timed out: tag {data['tag']} on {data['host']}",
    ("workload", "begin"): lambda data: f"{data['job']} begins on {data['disk']}",
    ("workload", "command"): lambda data: f"issues {data['name']}: number {data['number']}",
    ("workload", "answer"): lambda data: f"has an answer: number {data['number']}, "
                                         f"{_ending(data)}, after {data['seconds']:.2f} s",
    ("workload", "function"): lambda data: f"requests {data['name']}: number {data['number']}",
    ("workload", "response"): lambda data: f"has a response: number {data['number']}, "
                                           f"{data.get('response') or data.get('error')}, "
                                           f"after {data['seconds']:.2f} s",
    ("workload", "end"): lambda data: f"{data['job']} ends: {data['ios']} I/Os, "
                                      f"{data['errors']} errors, exit {data['exit']}",
}
"""Text of each kind of event that the time line shows."""


@dataclass(frozen=True)
class Moment:
    """A line of the time line. ``time``: seconds of the guest's clock."""

    time: float
    source: str
    words: str

    @property
    def group(self) -> str:
        """The source and the text without a command's number: the same for all repetitions."""
        return f"{self.source}: {PARTICULAR.split(self.words, maxsplit=1)[0]}"


def moments(judgement: Judgement, history: History) -> list[Moment]:
    """Return a scenario's key events in order; from the fourth on, repetitions are only counted."""
    shown = [
        Moment(event.time, event.source, WORDS[event.source, event.kind](event.data))
        for event in history.events if (event.source, event.kind) in WORDS
    ]
    shown += [Moment(each["time"], "console", each["title"]) for each in quoted(judgement.checks)
              if each["time"] is not None]
    origin = zero(Timeline.of(history)) if history.events else 0.0
    for check in judgement.checks:
        figure = judgement.figures.get(f"{check.name}_detected_after")
        if figure and figure.value is not None and check.verdict is Verdict.FAIL:
            shown.append(
                Moment(origin + figure.value, "first evidence of", check.name))
    shown.sort(key=lambda each: each.time)
    return list(_thinned(shown))


def zero(timeline: Timeline) -> float:
    """Return the origin of a scenario's times: the fault, or else the begin."""
    return timeline.begin if timeline.fired is None else timeline.fired


def _times(judgement: Judgement, history: History) -> list[str]:
    """Return the key events in order, in seconds from the fault, or else from the beginning."""
    if not history.events:
        return []
    timeline = Timeline.of(history)
    since = "begin" if timeline.fired is None else "fault"
    return [f"s from the {since}",
            *(f"{each.time - zero(timeline):+10.3f}  {each.source}: {each.words}"
              for each in moments(judgement, history))]


def _thinned(shown: Sequence[Moment]) -> Iterator[Moment]:
    """Yield the first three events of each group, then the group's total if there are more."""
    counts: Counter[str] = Counter()
    for moment in shown:
        counts[moment.group] += 1
        if counts[moment.group] <= 3:
            yield moment
    for group, number in counts.items():
        if number > 3:
            source, _, words = group.partition(": ")
            yield Moment(shown[-1].time, source, f"{words}: {number} times in all")


def _replay(history: History, command: str | None) -> Iterator[str]:
    """Yield the means to run the scenario again: its id, its seed, and a command line."""
    scenario = history.first("harness", "scenario")
    if scenario is None:
        return
    data = scenario.data
    yield f"scenario {data['id']}, seed {data.get('seed')}"
    if command is None and {"target", "kernel", "seed"} <= set(data):
        command = (f"pytest suites --target {data['target']} --kernel {data['kernel']} "
                   f"--seed {data['seed']} -k {data['id']}")
    if command is not None:
        yield command
