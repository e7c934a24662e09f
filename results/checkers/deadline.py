# SPDX-License-Identifier: GPL-2.0-or-later
"""Completion latency: every I/O in flight at the fault or issued later ended within its bound.

The bound of a command runs from its issue or from the fault, whichever is later: before the fault
the test itself may hold commands. On a LUN that the fault does not concern no I/O may fail, and its
bound is lower: the ladder's, or ten times the LUN's own longest I/O before the fault.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from results.block_io import DATA_OPS, Account, Io, account
from results.calibration import SPIN, spin_quartile
from results.checkers import EVIDENCE_MAX
from results.history import Event, History
from results.service import service_figures
from results.timeline import Timeline, command_bound, ladder, phase
from results.verdict import Check, Figure, Signature, Verdict

NAME = "deadline"


def check(history: History) -> Check:
    """FAIL for an I/O longer than the ladder's command bound, or for a bystander's failed I/O."""
    book = account(history)
    timeline = Timeline.of(history)
    figures = {**latency_figures(_tested(book), timeline), **service_figures(history),
               SPIN: spin_quartile(history)}
    if book.bystanders:
        seconds = [io.seconds(timeline.seen_until) for io in _concerned(_aside(book), timeline)]
        figures["bystander_max"] = Figure(max(seconds, default=None), "s")
    if timeline.fired is None:
        return Check(NAME, Verdict.UNKNOWN, "the fault never fired", (), figures)
    bound = command_bound(history)
    found = [
        *_late(_seen(book, _concerned(_tested(book), timeline)), timeline, bound, "late"),
        *_late(_seen(book, _concerned(_aside(book), timeline)), timeline,
               bystander_bound(history, book, timeline), "bystander late"),
        *_failed_aside(history, book, timeline),
    ]
    if found:
        return Check(
            NAME, Verdict.FAIL, "; ".join(finding.reason for finding in found),
            [each for finding in found for each in finding.evidence],
            {**figures, **timeline.detected(NAME, min(finding.seen for finding in found))},
            [signature for finding in found for signature in finding.signatures],
        )
    concerned = _concerned(_tested(book), timeline)
    return Check(NAME, *_not_late(history, timeline, book, concerned), (), figures)


OWN_BASELINE = 10
"""Multiple of a bystander's longest I/O before the fault that its I/O may take after it."""


def bystander_bound(history: History, book: Account, timeline: Timeline) -> float:
    """Return the bound in seconds of an I/O on a LUN that the fault does not concern."""
    before = [io.completed - io.issued for io in _aside(book)
              if io.completed is not None and timeline.fired is not None
              and io.completed < timeline.fired]
    return min(command_bound(history),
               max(ladder(history).bystander, OWN_BASELINE * max(before, default=0.0)))


@dataclass(frozen=True)
class Finding:
    """One violation. ``seen``: time at which the history first showed it."""

    reason: str
    evidence: Sequence[Mapping[str, Any]]
    signatures: Sequence[Signature]
    seen: float


def _tested(book: Account) -> list[Io]:
    return [io for io in book.ios if io.disk not in book.bystanders]


def _aside(book: Account) -> list[Io]:
    return [io for io in book.ios if io.disk in book.bystanders]


def _concerned(ios: Sequence[Io], timeline: Timeline) -> list[Io]:
    """Return the I/Os in flight at the fault or issued after it."""
    if timeline.fired is None:
        return []
    return [io for io in ios if io.completed is None or io.completed >= timeline.fired]


def _seen(book: Account, ios: Sequence[Io]) -> list[Io]:
    """Return the I/Os with a recorded end; all of them when the trace is complete."""
    return [io for io in ios if book.trusted or io.completed is not None]


def _late(
    concerned: Sequence[Io], timeline: Timeline, bound: float, kind: str,
) -> Iterator[Finding]:
    late = [io for io in concerned if overdue(io, timeline, bound)]
    if not late:
        return
    worst = max(late, key=lambda io: io.seconds(timeline.seen_until))
    took = worst.seconds(timeline.seen_until)
    state = "still open after" if worst.completed is None else "took"
    whose = "" if kind == "late" else " on a LUN that the fault does not concern"
    yield Finding(
        f"{len(late)} of {len(concerned)}{whose} later than {bound:g} s, worst: "
        f"{worst.describe()}, {state} {took:.1f} s",
        [io.evidence() for io in late[:EVIDENCE_MAX]],
        [Signature.of(kind, op) for op in dict.fromkeys(io.op for io in late)],
        min(timeline.since_fault(io.issued) for io in late) + bound,
    )


def _failed_aside(history: History, book: Account, timeline: Timeline) -> Iterator[Finding]:
    """Yield a finding on the I/Os that failed on a bystander between fault and clean-up."""
    until = phase(history, "cleanup") or timeline.seen_until
    failed = [
        io for io in _concerned(_aside(book), timeline)
        if io.error and io.op in DATA_OPS and io.completed is not None and io.completed <= until
    ]
    refused = [
        event for event in book.refused if event.data["disk"] in book.bystanders
        and timeline.since_fault(event.time) <= event.time <= until
    ]
    if not failed and not refused:
        return
    first = f"{failed[0].describe()} with {failed[0].error}" if failed else _refusal(refused[0])
    signatures = [Signature.of("bystander error", io.op, io.error) for io in failed]
    signatures += [Signature.of("bystander error", each.data["op"], each.data["error"])
                   for each in refused]
    yield Finding(
        f"{len(failed) + len(refused)} failed on a LUN that the fault does not concern, "
        f"first: {first}",
        [*(io.evidence() for io in failed), *(dict(each.data) for each in refused)][:EVIDENCE_MAX],
        list(dict.fromkeys(signatures)),
        min([io.completed for io in failed if io.completed is not None]
            + [event.time for event in refused]),
    )


NOT_WAITED_FOR = frozenset({
    "BACKGROUND", "ON_FREE_CMD", "ON_CACHED_MEM_FREE", "TASK_MGMT_RECEIVED", "TASK_MGMT_DONE",
    "ATTACH_SESS", "DETACH_SESS"})
"""Points at which a held request is no I/O that its initiator waits for."""


def _refusal(event: Event) -> str:
    data = event.data
    return f"{data['op']} at sector {data['sector']} of {data['disk']} with {data['error']}"


def _not_late(
    history: History, timeline: Timeline, book: Account, concerned: Sequence[Io],
) -> tuple[Verdict, str]:
    held = sum(event.data["held"] for event in history.select("fault", "fired")
               if event.data["point"] not in NOT_WAITED_FOR)
    in_flight = sum(1 for io in concerned if io.issued <= timeline.since_fault(0))
    if not book.trusted:
        return Verdict.UNKNOWN, "the block trace is not whole"
    chosen = history.first("workload", "command") is not None
    if not concerned:
        return (Verdict.PASS, "there were the chosen commands alone") if chosen else (
            Verdict.UNKNOWN, "no I/O was in flight at the fault or issued after it")
    if held and not in_flight and not chosen:
        return Verdict.UNKNOWN, f"{held} commands were held at the fault, but no I/O was in flight"
    if book.open:
        return Verdict.UNKNOWN, f"{len(book.open)} I/Os were open when the record ended"
    if book.bystanders and not _concerned(_aside(book), timeline):
        return Verdict.UNKNOWN, "no I/O was seen after the fault on the LUN it does not concern"
    worst = max(io.seconds(timeline.seen_until) for io in concerned)
    return Verdict.PASS, (
        f"{in_flight} I/Os in flight at the fault and {len(concerned) - in_flight} later ones "
        f"took at most {worst:.2f} s"
    )


def overdue(io: Io, timeline: Timeline, bound: float) -> bool:
    """Return whether an I/O exceeded ``bound`` seconds, as far as the record goes."""
    ended = timeline.seen_until if io.completed is None else io.completed
    return ended - timeline.since_fault(io.issued) > bound


def latency_figures(ios: Sequence[Io], timeline: Timeline) -> Mapping[str, Figure]:
    """Return count, p50, p99 and max before, during and after the fault, and the longest.

    Seconds from issue to completion, measured in the initiator's block layer. ``longest_command``
    counts an I/O that never completed with its age at the end of the record.
    """
    figures: dict[str, Figure] = {}
    for name, members in phases(ios, timeline).items():
        seconds = sorted(io.seconds(timeline.seen_until) for io in members if io.completed)
        figures[f"latency_{name}_count"] = Figure(len(seconds), "1")
        figures[f"latency_{name}_p50"] = Figure(percentile(seconds, 50), "s")
        figures[f"latency_{name}_p99"] = Figure(percentile(seconds, 99), "s")
        figures[f"latency_{name}_max"] = Figure(percentile(seconds, 100), "s")
    longest = max((io.seconds(timeline.seen_until) for io in ios), default=None)
    figures["longest_command"] = Figure(longest, "s")
    return figures


def phases(ios: Sequence[Io], timeline: Timeline) -> dict[str, list[Io]]:
    """Group I/Os by their end before the fault, overlap with it, or issue after it."""
    groups: dict[str, list[Io]] = {"before": [], "during": [], "after": []}
    for io in ios:
        groups[_phase(io, timeline)].append(io)
    return groups


def _phase(io: Io, timeline: Timeline) -> str:
    if timeline.fired is None or (io.completed is not None and io.completed < timeline.fired):
        return "before"
    if timeline.over is not None and io.issued > timeline.over:
        return "after"
    return "during"


def percentile(ordered: Sequence[float], percent: float) -> float | None:
    """Return the nearest-rank percentile of an ascending sequence, None for an empty one."""
    if not ordered:
        return None
    return ordered[max(0, ceil(len(ordered) * percent / 100) - 1)]
