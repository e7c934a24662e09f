"""Command ledger: every I/O issued on the target's disks ended, once, and as it was allowed to.

Counted at the block layer, independently of the workload, which writes nothing when it hangs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from results.block_io import Account, Io, account
from results.checkers import EVIDENCE_MAX
from results.history import Event, History
from results.timeline import Timeline, ladder, phase
from results.verdict import Check, Figure, Verdict

NAME = "ledger"

HARMLESS_FAULTS = frozenset({"release"})
"""Faults that break nothing: the control. No I/O may fail under them before the teardown."""

DATA_OPS = frozenset({"read", "write", "flush"})
"""Operations that no healthy disk fails; others (discard, write same) are also probed for."""


def check(history: History) -> Check:
    """FAIL for an I/O that never ended, ended twice, or failed when nothing was broken."""
    book = account(history)
    timeline = Timeline.of(history)
    figures = _figures(history, book)
    if not book.disks:
        return Check(NAME, Verdict.UNKNOWN, "no disk of the target was announced", (), figures)
    if not book.ios:
        disks = ", ".join(sorted(book.disks))
        return Check(NAME, Verdict.UNKNOWN, f"no I/O was seen on {disks}", (), figures)
    jobs = _unfinished_jobs(history)
    verdicts = (
        _broken_record(book),
        _false_completions(history, book),
        _early_errors(history, timeline, book),
        _open(history, timeline, book, jobs),
        _failed_while_held(history, timeline, book),
        _jobs(jobs),
    )
    verdict, reason, evidence = next(
        (found for found in verdicts if found),
        (Verdict.PASS, f"all {len(book.ios)} I/Os ended once", ()),
    )
    return Check(NAME, verdict, reason, evidence, figures)


Finding = tuple[Verdict, str, Sequence[Any]]


def _broken_record(book: Account) -> Finding | None:
    if book.overrun:
        return Verdict.UNKNOWN, f"the block trace lost {book.overrun} events", ()
    if book.reissued:
        event = book.reissued[0]
        words = f"the block trace has I/O {event.data['io']} of {event.data['disk']} issued twice"
        return Verdict.UNKNOWN, words, _quote(book.reissued)
    return None


def _false_completions(history: History, book: Account) -> Finding | None:
    strays = _strays(history, book)
    if book.twice:
        event = book.twice[0]
        return Verdict.FAIL, (
            f"{len(book.twice)} completed twice, first: {event.data['op']} at sector "
            f"{event.data['sector']} of {event.data['disk']}"
        ), _quote(book.twice)
    if strays:
        event = strays[0]
        return Verdict.FAIL, (
            f"{len(strays)} completed without having been issued, first: "
            f"{event.data['op']} at sector {event.data['sector']} of {event.data['disk']}"
        ), _quote(strays)
    return None


def _strays(history: History, book: Account) -> list[Event]:
    """Return the strays since the first workload began.

    What the kernel itself read from a new disk (its partition table) may have been issued
    before the trace began.
    """
    begin = history.first("workload", "begin")
    return [event for event in book.strays if begin and event.time >= begin.time]


def _early_errors(history: History, timeline: Timeline, book: Account) -> Finding | None:
    until = _errors_allowed_from(history, timeline)
    held = _failed_in_hold(history, timeline, book)
    failed = [io for io in _failures(book, 0.0, until) if io not in held]
    refused = [event for event in book.refused if event.time < until]
    if refused:
        event = refused[0]
        return Verdict.FAIL, (
            f"{len(refused)} were refused when nothing was broken, first: {event.data['op']} at "
            f"sector {event.data['sector']} of {event.data['disk']} with {event.data['error']}"
        ), _quote(refused)
    if not failed:
        return None
    return Verdict.FAIL, (
        f"{len(failed)} failed when nothing was broken, first: {failed[0].describe()} "
        f"with {failed[0].error}"
    ), _quote_ios(failed)


def _failures(book: Account, begin: float, end: float) -> list[Io]:
    return [
        io for io in book.ios
        if io.error and io.op in DATA_OPS
        and io.completed is not None and begin <= io.completed < end
    ]


def _failed_in_hold(history: History, timeline: Timeline, book: Account) -> list[Io]:
    armed = history.first("fault", "armed")
    if armed is None:
        return []
    return _failures(book, armed.time, timeline.since_fault(armed.time))


def _failed_while_held(history: History, timeline: Timeline, book: Account) -> Finding | None:
    """The test held commands for longer than the target's own timeout: not what was asked."""
    failed = _failed_in_hold(history, timeline, book)
    if not failed:
        return None
    words = (
        f"{len(failed)} failed while commands were being held, before the fault, first: "
        f"{failed[0].describe()} with {failed[0].error}"
    )
    return Verdict.UNKNOWN, words, _quote_ios(failed)


def _errors_allowed_from(history: History, timeline: Timeline) -> float:
    fired = history.first("fault", "fired")
    if fired is None or timeline.fired is None:
        return timeline.seen_until
    if fired.data["fault"] not in HARMLESS_FAULTS:
        return timeline.fired
    teardown = next(
        (event.time for event in history.select("target", "begin")
         if event.time >= fired.time and event.data["operation"] == "teardown"), None,
    )
    marks = (teardown, phase(history, "cleanup"), timeline.seen_until)
    return min(mark for mark in marks if mark is not None)


def _open(
    history: History, timeline: Timeline, book: Account, jobs: Sequence[str],
) -> Finding | None:
    if not book.open:
        return None
    until = timeline.seen_until
    oldest = book.open[0]
    waited = until - timeline.since_fault(oldest.issued)
    words = (
        f"{len(book.open)} of {len(book.ios)} never ended, first: {oldest.describe()}, "
        f"open for {oldest.seconds(until):.1f} s"
    )
    if jobs:
        words += f"; stuck with them: {', '.join(jobs)}"
    ran_to_end = timeline.end is not None and timeline.lost is None
    overdue = timeline.fired is not None and waited > ladder(history).command
    if ran_to_end or overdue:
        return Verdict.FAIL, words, _quote_ios(book.open)
    words = (
        f"{len(book.open)} were open when the scenario stopped, after {waited:.1f} s: "
        f"too early to tell, first: {oldest.describe()}"
    )
    return Verdict.UNKNOWN, words, _quote_ios(book.open)


def _jobs(jobs: Sequence[str]) -> Finding | None:
    if not jobs:
        return None
    return Verdict.UNKNOWN, f"no end was recorded of: {', '.join(jobs)}", list(jobs)


def _unfinished_jobs(history: History) -> list[str]:
    begun = [str(event.data["job"]) for event in history.select("workload", "begin")]
    for event in history.select("workload", "end"):
        if event.data["job"] in begun:
            begun.remove(event.data["job"])
    return [f"workload {job}" for job in begun]


def _figures(history: History, book: Account) -> dict[str, Figure]:
    counts = {
        "io_issued": len(book.ios),
        "io_open": len(book.open),
        "io_errors": sum(1 for io in book.ios if io.error),
        "io_refused": len(book.refused),
        "scsi_started": sum(1 for _ in history.select("scsi", "start")),
        "scsi_done": sum(1 for _ in history.select("scsi", "done")),
        "scsi_timeouts": sum(1 for _ in history.select("scsi", "timeout")),
    }
    return {name: Figure(count, "1") for name, count in counts.items()}


def _quote(events: Sequence[Event]) -> list[dict[str, Any]]:
    return [{"time": event.time, **event.data} for event in events[:EVIDENCE_MAX]]


def _quote_ios(ios: Sequence[Io]) -> list[dict[str, Any]]:
    return [io.evidence() for io in ios[:EVIDENCE_MAX]]
