"""Completion latency: what was in flight at the fault, or came later, ended within its bound.

The bound of a command runs from its issue or from the fault, whichever is later: before the
fault the test itself may hold commands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil

from results.block_io import Account, Io, account
from results.checkers import EVIDENCE_MAX
from results.history import History
from results.timeline import Timeline, ladder
from results.verdict import Check, Figure, Verdict

NAME = "deadline"


def check(history: History) -> Check:
    """FAIL for an I/O that took longer than the ladder's command bound."""
    book = account(history)
    timeline = Timeline.of(history)
    figures = latency_figures(book.ios, timeline)
    if timeline.fired is None:
        return Check(NAME, Verdict.UNKNOWN, "the fault never fired", (), figures)
    fired = timeline.fired
    bound = ladder(history).command
    concerned = [io for io in book.ios if io.completed is None or io.completed >= fired]
    late = [io for io in concerned if overdue(io, timeline, bound)]
    if late:
        worst = max(late, key=lambda io: io.seconds(timeline.seen_until))
        took = worst.seconds(timeline.seen_until)
        state = "still open after" if worst.completed is None else "took"
        reason = (
            f"{len(late)} of {len(concerned)} later than {bound:g} s, worst: "
            f"{worst.describe()}, {state} {took:.1f} s"
        )
        evidence = [io.evidence() for io in late[:EVIDENCE_MAX]]
        return Check(NAME, Verdict.FAIL, reason, evidence, figures)
    return Check(NAME, *_not_late(history, timeline, book, concerned), (), figures)


def _not_late(
    history: History, timeline: Timeline, book: Account, concerned: Sequence[Io],
) -> tuple[Verdict, str]:
    held = sum(event.data["held"] for event in history.select("fault", "fired"))
    in_flight = sum(1 for io in concerned if io.issued <= timeline.since_fault(0))
    if not book.trusted:
        return Verdict.UNKNOWN, "the block trace is not whole"
    if not concerned:
        return Verdict.UNKNOWN, "no I/O was in flight at the fault or issued after it"
    if held and not in_flight:
        return Verdict.UNKNOWN, f"{held} commands were held at the fault, but no I/O was in flight"
    if book.open:
        return Verdict.UNKNOWN, f"{len(book.open)} I/Os were open when the record ended"
    worst = max(io.seconds(timeline.seen_until) for io in concerned)
    return Verdict.PASS, (
        f"{in_flight} I/Os in flight at the fault and {len(concerned) - in_flight} later ones "
        f"took at most {worst:.2f} s"
    )


def overdue(io: Io, timeline: Timeline, bound: float) -> bool:
    """Tell whether an I/O exceeded ``bound`` seconds, as far as the record goes."""
    ended = timeline.seen_until if io.completed is None else io.completed
    return ended - timeline.since_fault(io.issued) > bound


def latency_figures(ios: Sequence[Io], timeline: Timeline) -> Mapping[str, Figure]:
    """Return count, p50, p99 and max before, during and after the fault, and the longest.

    Seconds from issue to completion as the initiator's block layer saw them. ``longest_command``
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
    """Sort I/Os into those that ended before the fault, those during it, those issued after."""
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
    """Return the nearest-rank percentile of an ascending sequence, None of an empty one."""
    if not ordered:
        return None
    return ordered[max(0, ceil(len(ordered) * percent / 100) - 1)]
