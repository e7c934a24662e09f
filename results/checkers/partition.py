# SPDX-License-Identifier: GPL-2.0-or-later
"""Partition: the effects of a network cut agree with the initiator's timers.

The history's ``cut`` event states the expected effects: whether the session survives, and after how
many seconds a waiting I/O is reported as failed. The ledger judges whether any I/O may fail when
the network heals in time, by the fault's permitted errors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from results.block_io import DATA_OPS, Io, account
from results.checkers import EVIDENCE_MAX
from results.checkers.kernel_health import INITIATOR
from results.history import Event, History
from results.timeline import Timeline, ladder
from results.verdict import Check, Figure, Signature, Verdict

NAME = "partition"

SESSION_LOST = "detected conn error"
"""Kernel message of an initiator that drops a connection (iscsi_conn_error_event,
scsi_transport_iscsi.c)."""

LEFT_OVER = 0.25
"""Seconds after the cut in which responses that arrived before it may still end I/Os."""


@dataclass(frozen=True)
class Cut:
    """A cut of the network, from ``event`` until ``mended``, and its effects.

    ``session_lost``: time at which the initiator dropped its connection, or None.
    """

    event: Event
    mended: float
    ios: Sequence[Io]
    session_lost: float | None

    @property
    def lost_session(self) -> bool:
        """Whether the initiator dropped its connection."""
        return self.session_lost is not None

    @property
    def waiting(self) -> list[Io]:
        """I/Os that were open at some time during the cut, and could not succeed then."""
        return [io for io in self.ios if io.issued < self.mended
                and (io.completed is None or io.completed > self.event.time + LEFT_OVER)]

    @property
    def crossed(self) -> list[Io]:
        """I/Os that succeeded during the cut, which is impossible."""
        return [io for io in self.ios if io.error is None and io.completed is not None
                and self.event.time + LEFT_OVER < io.completed < self.mended]

    @property
    def failed(self) -> list[Io]:
        """I/Os that failed after the cut, earliest first."""
        failed = [io for io in self.ios if io.error and io.completed is not None
                  and io.completed >= self.event.time]
        return sorted(failed, key=lambda io: io.completed or 0.0)

    @property
    def resumed(self) -> float | None:
        """Time of the first success after the network was mended, or None."""
        return min((io.completed for io in self.ios if io.completed is not None
                    and io.error is None and io.completed >= self.mended), default=None)


def check(history: History) -> Check | None:
    """FAIL for a partition reported too late, or a lost session that had to survive.

    UNKNOWN when nothing shows that the network was cut; None when no cut was planned.
    """
    event = history.first("fault", "cut")
    if event is None:
        return None
    cut = _cut(history, event)
    figures = dict(_figures(cut))
    if unknown := _not_as_recorded(cut):
        return Check(NAME, Verdict.UNKNOWN, unknown, [io.evidence() for io in
                                                      cut.crossed[:EVIDENCE_MAX]], figures)
    bound = None
    if event.data["reported_after"] is not None:
        bound = float(event.data["reported_after"]) + ladder(history).slack
        figures["report_bound"] = Figure(bound, "s")
    if found := next(_wrong(cut, bound), None):
        reason, signature, ios = found
        seen = cut.session_lost if signature.kind == "session lost" else None
        return Check(NAME, Verdict.FAIL, reason, [io.evidence() for io in ios[:EVIDENCE_MAX]],
                     {**figures, **Timeline.of(history).detected(NAME, seen)}, [signature])
    return Check(NAME, Verdict.PASS, _words(cut, bound), (), figures)


def _cut(history: History, event: Event) -> Cut:
    mended = history.first("fault", "mended")
    until = Timeline.of(history).seen_until
    return Cut(
        event, mended.time if mended else until,
        [io for io in account(history).ios if io.op in DATA_OPS],
        next((line.time for line in history.select("console", "line")
              if line.data.get("machine") == INITIATOR and SESSION_LOST in line.data["text"]),
             None))


def _not_as_recorded(cut: Cut) -> str | None:
    if cut.crossed:
        return (f"{len(cut.crossed)} I/Os succeeded while the network was cut, first: "
                f"{cut.crossed[0].describe()}: it was not")
    if not cut.waiting:
        return "no I/O was in flight while the network was cut"
    if cut.event.data["keeps_session"] is False and not cut.lost_session:
        return "the initiator has not dropped its connection: the partition was too short for that"
    return None


def _wrong(cut: Cut, bound: float | None) -> Iterator[tuple[str, Signature, Sequence[Io]]]:
    begin = cut.event.time
    if cut.event.data["keeps_session"] and cut.lost_session:
        yield ("the initiator dropped its connection, although the partition healed before its "
               "timers", Signature.of("session lost"), ())
    if bound is None:
        return
    if not cut.failed:
        yield (f"no I/O was reported as failed, although the network was cut for "
               f"{cut.mended - begin:.1f} s", Signature.of("not reported"), cut.waiting)
        return
    first = cut.failed[0]
    assert first.completed is not None
    if first.completed - begin > bound:
        yield (f"the first error was reported after {first.completed - begin:.1f} s, allowed are "
               f"{bound:g} s", Signature.of("reported late", first.op), [first])
    late = [io for io in cut.waiting if io.issued <= begin
            and (io.completed is None or io.completed - begin > bound)]
    if late:
        yield (f"{len(late)} I/Os issued before the cut had not ended {bound:g} s after it, first: "
               f"{late[0].describe()}", Signature.of("not reported", late[0].op), late)


def _words(cut: Cut, bound: float | None) -> str:
    waited = f"{len(cut.waiting)} I/Os met a cut of {cut.mended - cut.event.time:.1f} s"
    if bound is None:
        lost = "lost and replaced" if cut.lost_session else "kept"
        return f"{waited}; the session was {lost}"
    first = cut.failed[0].completed
    assert first is not None
    return f"{waited}; it was reported after {first - cut.event.time:.1f} s of {bound:g} s"


def _figures(cut: Cut) -> Iterator[tuple[str, Figure]]:
    begin = cut.event.time
    yield "cut_seconds", Figure(cut.mended - begin, "s")
    yield "cut_waiting", Figure(len(cut.waiting), "1")
    if cut.failed and cut.failed[0].completed is not None:
        yield "error_reported_after", Figure(cut.failed[0].completed - begin, "s")
    if cut.resumed is not None:
        yield "resumed_after", Figure(cut.resumed - cut.mended, "s")
