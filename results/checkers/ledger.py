# SPDX-License-Identifier: GPL-2.0-or-later
"""Command ledger: every I/O issued on the target's disks ended, once, and only as allowed.

Counted at the block layer, independently of the workload, which writes nothing when it hangs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from results.block_io import DATA_OPS, Account, Io, account
from results.checkers import EVIDENCE_MAX, cited
from results.history import Event, History
from results.resent import resent
from results.timeline import Timeline, command_bound, expected, phase
from results.verdict import Check, Figure, Signature, Verdict

NAME = "ledger"

EXEC = "EXEC"
"""The point at which a backend executes a command; it answers each command there once."""

CONTROL = "release"
"""Name of the control in histories whose event ``armed`` does not record whether a fault breaks
anything."""

ONCE = "SAM-5, Send Command Complete: a command ends once"
RESIDUAL = "RFC 7143 11.4.5: a residual states how much was not transferred"
ENDS = "SAM-5, Execute Command: every command ends with a status or with a delivery failure"
"""Requirements, by the procedure call's name in the standard."""


@dataclass(frozen=True)
class Finding:
    """The result of one rule. ``first``: time of the first evidence of a FAIL."""

    verdict: Verdict
    reason: str
    evidence: Sequence[Any]
    signatures: Sequence[Signature] = ()
    first: float | None = None


def check(history: History) -> Check:
    """FAIL for an I/O that never ended, ended twice, or failed without permission."""
    book = account(history)
    timeline = Timeline.of(history)
    figures = _figures(history, book)
    if not book.disks:
        return Check(NAME, Verdict.UNKNOWN, "no disk of the target was announced", (), figures)
    if not book.ios:
        disks = ", ".join(sorted(book.disks))
        return Check(NAME, Verdict.UNKNOWN, f"no I/O was seen on {disks}", (), figures)
    jobs = _unfinished_jobs(history)
    broken = _broken_record(book)
    rules = (_answered_twice(history), broken) if broken else (
        _answered_twice(history),
        _events(book.twice, "twice", "completed twice"),
        _events(_strays(history, book), "stray", "completed without having been issued"),
        _resent(history, book),
        _refused_early(history, timeline, book),
        _failed_early(history, timeline, book),
        _open(history, timeline, book, jobs),
        _unexpected(history, timeline, book),
        _failed_while_held(history, timeline, book),
        _jobs(jobs),
    )
    found = [finding for finding in rules if finding]
    failed = [finding for finding in found if finding.verdict is Verdict.FAIL]
    if failed:
        first = min((each.first for each in failed if each.first is not None), default=None)
        signatures = dict.fromkeys(each for finding in failed for each in finding.signatures)
        return Check(NAME, Verdict.FAIL, failed[0].reason, failed[0].evidence,
                     {**figures, **timeline.detected(NAME, first)}, list(signatures))
    if found:
        return Check(NAME, found[0].verdict, found[0].reason, found[0].evidence, figures)
    return Check(NAME, Verdict.PASS, f"all {len(book.ios)} I/Os ended once", (), figures)


def _broken_record(book: Account) -> Finding | None:
    if book.overrun:
        return Finding(Verdict.UNKNOWN, f"the block trace lost {book.overrun} events", ())
    if book.reissued:
        event = book.reissued[0]
        words = f"the block trace has I/O {event.data['io']} of {event.data['disk']} issued twice"
        return Finding(Verdict.UNKNOWN, words, _quote(book.reissued))
    return None


def _answered_twice(history: History) -> Finding | None:
    """Return a finding on commands that the backend reports as answered twice.

    The kernel's reaction to the second answer does not matter.
    """
    answered: set[tuple[str | None, int]] = set()
    again: list[Event] = []
    for event in history.select("backend", "step"):
        data = event.data
        key = (data.get("device"), data["handle"])
        if data["point"] != EXEC:
            continue
        if data["action"] == "received":
            answered.discard(key)
        elif data["action"] == "answered":
            if key in answered:
                again.append(event)
            answered.add(key)
    if not again:
        return None
    handles = ", ".join(dict.fromkeys(str(event.data["handle"]) for event in again))
    return Finding(
        Verdict.FAIL, f"the backend answered twice at {EXEC}: handle {handles}{cited(ONCE)}",
        _quote(again),
        [Signature.of("answered twice", EXEC, event.data["direction"]) for event in again],
        again[0].time,
    )


def _resent(history: History, book: Account) -> Finding | None:
    found = list(resent(history, book.ios))
    if not found:
        return None
    io, commands = found[0].io, found[0].commands
    reason = (f"{len(found)} have no end although their commands end with GOOD, as with a residual "
              f"after a full transfer; first: {io.describe()}, {commands} commands, allowed: 1")
    return Finding(
        Verdict.FAIL, reason + cited(RESIDUAL),
        [{**each.io.evidence(), "commands": each.commands} for each in found[:EVIDENCE_MAX]],
        [Signature.of("resent", each.io.op) for each in found], io.issued)


def _events(events: Sequence[Event], kind: str, words: str) -> Finding | None:
    if not events:
        return None
    event = events[0]
    reason = (
        f"{len(events)} {words}, first: {event.data['op']} at sector {event.data['sector']} of "
        f"{event.data['disk']}"
    )
    if event.data.get("error"):
        reason += f" with {event.data['error']}"
    signatures = [Signature.of(kind, each.data["op"], each.data.get("error")) for each in events]
    clause = cited(ONCE if kind in {"twice", "stray"} else None)
    return Finding(Verdict.FAIL, reason + clause, _quote(events), signatures, event.time)


def _strays(history: History, book: Account) -> list[Event]:
    """Return the strays of disks that a workload drove since they were announced.

    The kernel's own reads from a new disk (its partition table) may have been issued before the
    trace of that disk began.
    """
    announced = [(event.data["name"], event.time) for event in history.select("target", "disk")]
    begun = [(event.data["disk"], event.time) for event in history.select("workload", "begin")]

    def driven(stray: Event) -> bool:
        since = max((time for name, time in announced
                     if name == stray.data["disk"] and time <= stray.time), default=0.0)
        return any(name == stray.data["disk"] and since <= time <= stray.time
                   for name, time in begun)

    return [event for event in book.strays if driven(event)]


def _refused_early(history: History, timeline: Timeline, book: Account) -> Finding | None:
    until = _errors_allowed_from(history, timeline)
    refused = [event for event in book.refused if event.time < until]
    return _events(refused, "refused", "were refused when nothing was broken")


def _failed_early(history: History, timeline: Timeline, book: Account) -> Finding | None:
    held = _failed_in_hold(history, timeline, book)
    until = _errors_allowed_from(history, timeline)
    failed = [io for io in _failures(book, 0.0, until) if io not in held]
    return _errors(failed, "early error", "failed when nothing was broken")


def _unexpected(history: History, timeline: Timeline, book: Account) -> Finding | None:
    """Return a finding on errors, until the clean-up, that the fault does not permit."""
    expect = expected(history)
    if expect.get("errors") is None or timeline.fired is None:
        return None
    until = phase(history, "cleanup") or timeline.seen_until
    begin = _errors_allowed_from(history, timeline)
    allowed = frozenset(expect["errors"])
    failed = [
        io for io in _failures(book, begin, until)
        if io.error not in allowed and io.disk not in book.bystanders
    ]
    names = ", ".join(sorted(allowed)) or "none"
    return _errors(failed, "unexpected error", f"failed as the fault does not allow ({names})",
                   cited(expect.get("clause")))


def _errors(ios: Sequence[Io], kind: str, words: str, clause: str = "") -> Finding | None:
    if not ios:
        return None
    reason = f"{len(ios)} {words}, first: {ios[0].describe()} with {ios[0].error}{clause}"
    first = min(io.completed for io in ios if io.completed is not None)
    return Finding(Verdict.FAIL, reason, _quote_ios(ios),
                   [Signature.of(kind, io.op, io.error) for io in ios], first)


def _failures(book: Account, begin: float, end: float) -> list[Io]:
    return [
        io for io in book.ios
        if io.error and io.op in DATA_OPS
        and io.completed is not None and begin <= io.completed < end
    ]


def _failed_in_hold(history: History, timeline: Timeline, book: Account) -> list[Io]:
    armed = history.first("fault", "armed")
    if armed is None or expected(history).get("wears_others_out"):
        return []
    return _failures(book, armed.time, timeline.since_fault(armed.time))


def _failed_while_held(history: History, timeline: Timeline, book: Account) -> Finding | None:
    """Return UNKNOWN for I/Os that failed in the hold: it outlasted the target's own timeout."""
    failed = _failed_in_hold(history, timeline, book)
    if not failed:
        return None
    words = (
        f"{len(failed)} failed while commands were being held, before the fault, first: "
        f"{failed[0].describe()} with {failed[0].error}"
    )
    return Finding(Verdict.UNKNOWN, words, _quote_ios(failed))


def _errors_allowed_from(history: History, timeline: Timeline) -> float:
    fired, armed = history.first("fault", "fired"), history.first("fault", "armed")
    if armed and expected(history).get("wears_others_out"):
        return armed.time
    if fired is None or timeline.fired is None:
        return timeline.seen_until
    if _breaks(armed, fired):
        return timeline.fired
    teardown = next(
        (event.time for event in history.select("target", "begin")
         if event.time >= fired.time and event.data["operation"] == "teardown"), None,
    )
    marks = (teardown, phase(history, "cleanup"), timeline.seen_until)
    return min(mark for mark in marks if mark is not None)


def _breaks(armed: Event | None, fired: Event) -> bool:
    """Return whether the fault breaks anything; False for the control."""
    recorded = armed.data.get("breaks") if armed else None
    return bool(fired.data["fault"] != CONTROL if recorded is None else recorded)


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
    overdue = timeline.fired is not None and waited > command_bound(history)
    if overdue:
        words += f", allowed are {command_bound(history):g} s"
    if jobs:
        words += f"; stuck with them: {', '.join(jobs)}"
    words += cited(ENDS)
    # After an error the remaining steps are skipped and the trace is no longer read.
    ran_to_end = (timeline.end is not None and timeline.lost is None
                  and history.first("harness", "error") is None)
    if ran_to_end or overdue:
        return Finding(Verdict.FAIL, words, _quote_ios(book.open), _open_signatures(book.open),
                       timeline.since_fault(oldest.issued) + command_bound(history))
    words = (
        f"{len(book.open)} were open when the scenario stopped, after {waited:.1f} s: "
        f"too early to judge, first: {oldest.describe()}"
    )
    return Finding(Verdict.UNKNOWN, words, _quote_ios(book.open))


def _open_signatures(ios: Iterable[Io]) -> list[Signature]:
    return [Signature.of("open", op) for op in dict.fromkeys(io.op for io in ios)]


def _jobs(jobs: Sequence[str]) -> Finding | None:
    if not jobs:
        return None
    return Finding(Verdict.UNKNOWN, f"no end was recorded of: {', '.join(jobs)}", list(jobs))


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
