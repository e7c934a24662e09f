# SPDX-License-Identifier: GPL-2.0-or-later
"""The block layer's record of the I/O on the target's disks, from issue to completion."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from results.history import Event, History

BYSTANDER = "bystander"
"""Role of a disk that the fault does not concern."""

DATA_OPS = frozenset({"read", "write", "flush"})
"""Operations that no healthy disk fails. Others (discard, write same) also serve as probes."""


@dataclass(frozen=True, slots=True)
class Io:
    """One I/O. Times in seconds of the guest's clock; ``completed`` is None while it is open.

    ``sector``: in units of 512 bytes, as the block layer counts. ``error``: errno name, or None.
    """

    disk: str
    serial: int
    op: str
    sector: int
    bytes: int
    issued: float
    completed: float | None = None
    error: str | None = None

    def seconds(self, until: float) -> float:
        """Return the I/O's duration in seconds, or its age at ``until`` while it is open."""
        return (until if self.completed is None else self.completed) - self.issued

    def describe(self) -> str:
        """Return operation, size, sector and disk as one phrase for a reason or report."""
        return f"{self.op} of {self.bytes} bytes at sector {self.sector} of {self.disk}"

    def evidence(self) -> dict[str, Any]:
        """Return the I/O as JSON."""
        return {
            "disk": self.disk, "io": self.serial, "op": self.op, "sector": self.sector,
            "bytes": self.bytes, "issued": self.issued, "completed": self.completed,
            "error": self.error,
        }


@dataclass
class Account:
    """The I/Os issued and their completions.

    ``bystanders``: members of ``disks`` that the fault does not concern. ``strays``: completions
    that match no issue. ``refused``: I/Os that the block layer ended before the disk's driver
    received them. ``twice``: completions of an I/O that had already ended. ``reissued``: I/Os
    issued again while open. ``overrun``: number of events that the trace lost. The last two mean
    that the record is at fault, not the target.
    """

    disks: frozenset[str] = frozenset()
    bystanders: frozenset[str] = frozenset()
    ios: list[Io] = field(default_factory=list)
    strays: list[Event] = field(default_factory=list)
    refused: list[Event] = field(default_factory=list)
    twice: list[Event] = field(default_factory=list)
    reissued: list[Event] = field(default_factory=list)
    overrun: int = 0

    @property
    def open(self) -> list[Io]:
        """I/Os that have not completed, oldest first."""
        return [io for io in self.ios if io.completed is None]

    @property
    def trusted(self) -> bool:
        """Whether the record is complete."""
        return not self.reissued and not self.overrun


def account(history: History) -> Account:
    """Match issues and completions on every disk that was announced as the target's."""
    announced = list(history.select("target", "disk"))
    book = Account(
        frozenset(event.data["name"] for event in announced),
        frozenset(each.data["name"] for each in announced if each.data.get("role") == BYSTANDER),
    )
    place: dict[tuple[str, int], int] = {}
    for event in history.select("block"):
        if event.kind == "lost":
            book.overrun += event.data["count"]
        elif event.data["disk"] in book.disks:
            _enter(book, place, event)
    return book


def _enter(book: Account, place: dict[tuple[str, int], int], event: Event) -> None:
    if event.kind in {"stray", "refused"}:
        (book.strays if event.kind == "stray" else book.refused).append(event)
        return
    data = event.data
    key = (data["disk"], data["io"])
    known = book.ios[place[key]] if key in place else None
    if event.kind == "issue":
        if known and known.completed is None:
            book.reissued.append(event)
            return
        place[key] = len(book.ios)
        book.ios.append(
            Io(data["disk"], data["io"], data["op"], data["sector"], data["bytes"], event.time)
        )
    elif known is None:
        book.strays.append(event)
    elif known.completed is not None:
        book.twice.append(event)
    else:
        book.ios[place[key]] = replace(known, completed=event.time, error=data["error"])


class BusyTimes:
    """The times at which at least one I/O was in flight."""

    def __init__(self, ios: Iterable[Io]) -> None:
        self._starts: list[float] = []
        self._ends: list[float] = []
        for start, end in sorted(
            (io.issued, float("inf") if io.completed is None else io.completed) for io in ios
        ):
            if self._ends and start <= self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], end)
            else:
                self._starts.append(start)
                self._ends.append(end)

    def within(self, start: float, end: float) -> float:
        """Return the seconds between two times during which any I/O was in flight."""
        seconds = 0.0
        for at in range(bisect_right(self._ends, start), len(self._starts)):
            if self._starts[at] >= end:
                break
            seconds += min(end, self._ends[at]) - max(start, self._starts[at])
        return seconds

