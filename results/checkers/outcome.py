# SPDX-License-Identifier: GPL-2.0-or-later
"""Outcome: the commands that were at the point of the fault ended as the standard permits.

Judged from commands issued by SG_IO, whose status and sense data are known. The fault's ``armed``
event lists the permitted endings as text: a status of SAM-5 5.3.1 ("GOOD", "BUSY"), for CHECK
CONDITION with sense key/ASC/ASCQ in hexadecimal ("CHECK CONDITION 05/25/00"), "host NAME" for a
command that the initiator ended by itself, the errno for one that it refused. Where one command may
end differently, its own event lists its endings. A residual (RFC 7143 11.4.5) is required by a
suffix: "GOOD residual 512" (underflow), "GOOD residual -512" (overflow); without one, GOOD allows
none. A FAIL cites the clause in the event that lists the endings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from results.checkers import EVIDENCE_MAX, cited
from results.history import Event, History
from results.timeline import Timeline, command_bound, expected
from results.verdict import Check, Figure, Signature, Verdict

NAME = "outcome"

GOOD = "GOOD"

READ_DATA = "SBC-4 5.16: a READ transfers the data of the blocks that it specifies"

AT_FAULT = "commands"
"""The job whose commands are judged: a plan's. The commands of other jobs are preparation."""

STATUSES = {
    0x00: "GOOD", 0x02: "CHECK CONDITION", 0x04: "CONDITION MET", 0x08: "BUSY",
    0x18: "RESERVATION CONFLICT", 0x28: "TASK SET FULL", 0x30: "ACA ACTIVE", 0x40: "TASK ABORTED",
}
"""SAM-5 5.3.1."""

HOSTS = {
    0x00: "OK", 0x01: "NO_CONNECT", 0x02: "BUS_BUSY", 0x03: "TIME_OUT", 0x04: "BAD_TARGET",
    0x05: "ABORT", 0x06: "PARITY", 0x07: "ERROR", 0x08: "RESET", 0x09: "BAD_INTR",
    0x0A: "PASSTHROUGH", 0x0B: "SOFT_ERROR", 0x0C: "IMM_RETRY", 0x0D: "REQUEUE",
    0x0E: "TRANSPORT_DISRUPTED", 0x0F: "TRANSPORT_FAILFAST", 0x14: "TRANSPORT_MARGINAL",
}
"""The DID_ codes of include/scsi/scsi_status.h."""


def check(history: History) -> Check | None:
    """FAIL for a command with a forbidden ending or none; None when no ending was prescribed."""
    expect = expected(history)
    for_all: list[str] = list(expect.get("commands") or ())
    issued = {number: event for number, event in _by_number(history, "command").items()
              if for_all or event.data.get("allowed")}
    if not issued:
        return None
    answers = {number: event for number, event in _by_number(history, "answer").items()
               if number in issued}
    timeline = Timeline.of(history)
    figures = {"commands_issued": Figure(len(issued), "1"),
               "commands_answered": Figure(len(answers), "1")}
    own = {number: event.data.get("allowed") or for_all for number, event in issued.items()}
    wrong = [event for number, event in answers.items()
             if timeline.witnessed(event.time) and not _allowed(event, own[number])]
    other = [event for event in answers.values() if event.data.get("differs") is not None
             and outcome(event.data) == GOOD and timeline.witnessed(event.time)]
    if other:
        name, size = _name(issued, other[0]), issued[int(other[0].data["number"])].data["bytes"]
        return Check(
            NAME, Verdict.FAIL, f"{len(other)} of {len(issued)} commands returned other data than "
            f"were written: {name} from byte {other[0].data['differs']} of {size} on"
            f"{cited(READ_DATA)}", _quote(other),
            {**figures, **timeline.detected(NAME, other[0].time)},
            [Signature.of("other data", _name(issued, each)) for each in other])
    if wrong:
        number = int(wrong[0].data["number"])
        first = f"{_name(issued, wrong[0])} " if issued[number].data.get("allowed") else ""
        return Check(
            NAME, Verdict.FAIL, f"{len(wrong)} of {len(issued)} commands ended with "
            f"{_words(wrong)}, {first}allowed: {' or '.join(own[number])}"
            f"{cited(_clause(issued[number], expect))}", _quote(wrong),
            {**figures, **timeline.detected(NAME, wrong[0].time)},
            [Signature.of("outcome", _name(issued, each), outcome(each.data)) for each in wrong])
    if missing := [event for key, event in issued.items() if key not in answers]:
        return _missing(history, timeline, missing, figures,
                        cited(_clause(missing[0], expect)))
    words = _words(answers.values())
    return Check(NAME, Verdict.PASS, f"{len(answers)} commands ended with {words}", (), figures)


def status_word(status: int) -> str:
    """Return the name of a status; its number if the standard does not define it."""
    return STATUSES.get(status, f"status {status:#04x}")


def outcome(data: Mapping[str, Any]) -> str:
    """Return a command's ending as text, from the data of its ``answer``."""
    if data.get("error"):
        return str(data["error"])
    if data.get("host"):
        return f"host {HOSTS.get(data['host'], hex(data['host']))}"
    status = int(data.get("status") or 0) & 0xFE
    word = status_word(status)
    if status != 0x02:
        return word
    if "key" not in data:
        return f"{word} without sense data"
    return f"{word} {data['key']:02x}/{data['asc']:02x}/{data['ascq']:02x}"


def _allowed(event: Event, allowed: list[str]) -> bool:
    words, residual = outcome(event.data), event.data.get("residual") or 0
    if words == GOOD and residual:  # data are missing, or in excess, unless that is expected
        return any(fnmatchcase(_with_residual(words, residual), each) for each in allowed)
    return any(fnmatchcase(each, pattern) for pattern in allowed
               for each in (words, _with_residual(words, residual)))


def _with_residual(words: str, residual: int) -> str:
    return f"{words} residual {residual}"


def _clause(command: Event, expect: Mapping[str, Any]) -> object:
    """Return the clause that prescribes a command's ending: its own, or the fault's."""
    return command.data.get("clause") if command.data.get("allowed") else expect.get("clause")


def _missing(
    history: History, timeline: Timeline, missing: list[Event], figures: Mapping[str, Figure],
    clause: str,
) -> Check:
    first = missing[0]
    waited = timeline.seen_until - timeline.since_fault(first.time)
    words = f"{len(missing)} commands had not ended {waited:.1f} s after the fault, first: " \
            f"{first.data['name']}"
    late = timeline.fired is not None and waited > command_bound(history)
    if not late:
        return Check(NAME, Verdict.UNKNOWN, words, _quote(missing), figures)
    detected = timeline.detected(NAME, timeline.since_fault(first.time) + command_bound(history))
    return Check(NAME, Verdict.FAIL, f"{words}{clause}", _quote(missing), {**figures, **detected},
                 [Signature.of("no answer", str(each.data["name"])) for each in missing])


def _name(issued: Mapping[int, Event], answer: Event) -> str:
    event = issued.get(int(answer.data["number"]))
    return str(event.data["name"]) if event else "?"


def _by_number(history: History, kind: str) -> dict[int, Event]:
    return {int(event.data["number"]): event for event in history.select("workload", kind)
            if event.data["job"] == AT_FAULT}


def _words(answers: Iterable[Event]) -> str:
    return ", ".join(dict.fromkeys(
        _with_residual(words, residual) if (words := outcome(event.data)) == GOOD and (
            residual := event.data.get("residual")) else words for event in answers))


def _quote(events: list[Event]) -> list[dict[str, Any]]:
    return list(_evidence(events[:EVIDENCE_MAX]))


def _evidence(events: list[Event]) -> Iterator[dict[str, Any]]:
    for event in events:
        ended = outcome(event.data) if event.kind == "answer" else None
        yield {"time": event.time, "outcome": ended, **event.data}
