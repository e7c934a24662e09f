# SPDX-License-Identifier: GPL-2.0-or-later
"""Integrity: blocks contain the last acknowledged write or a later one, and nothing else.

Judged from stamped blocks: the stamp of every block written contains its identity and version. A
block's writes may overlap; then either may be the last.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

from results.checkers import EVIDENCE_MAX, cited
from results.history import Event, History
from results.timeline import Timeline
from results.verdict import Check, Figure, Signature, Verdict

NAME = "integrity"

UNWRITTEN = 0
"""The version of a block before the first stamped write."""


@dataclass
class Write:
    """One stamped write. ``issued`` and ``ended``: its events' numbers in the history."""

    version: int
    issued: int
    ended: float = inf
    acknowledged: bool = False


@dataclass
class Block:
    """A block's writes, by version."""

    writes: dict[int, Write] = field(default_factory=dict)

    @property
    def acknowledged(self) -> int:
        """The highest version that was acknowledged, or UNWRITTEN."""
        return max((each.version for each in self.writes.values() if each.acknowledged),
                   default=UNWRITTEN)

    def allowed(self, until: int | None = None, acknowledged: int | None = None) -> list[int]:
        """Return the versions that the block may have.

        A version must have been issued before event number ``until``. It must not have been
        replaced by an acknowledged write that was issued after its end; of acknowledged writes only
        those up to version ``acknowledged`` count.
        """
        highest = self.acknowledged if acknowledged is None else acknowledged
        end = inf if until is None else until
        issued = [Write(UNWRITTEN, -1, -1), *self.writes.values()]
        sure = [each for each in self.writes.values()
                if each.acknowledged and each.version <= highest]
        last = max((each.issued for each in sure), default=-1)
        return [
            write.version for write in issued if write.issued < end and write.ended >= last
        ]


@dataclass(frozen=True)
class Violation:
    """A block with wrong content. ``kind``: one of GRAVITY."""

    kind: str
    words: str
    event: Event


GRAVITY = ("foreign", "torn", "never issued", "lost write", "stale read", "unreadable")
"""Kinds of violations, gravest first: the reason names the first that occurs."""

CLAUSES = {
    "foreign": "SBC-4 5.16: a READ transfers the data of the blocks that it specifies",
    "torn": "SBC-4 5.40: a WRITE that ended with GOOD has written the whole of its blocks",
    "never issued": "SBC-4 5.40: a WRITE writes the data that were transferred",
    "lost write":
        "SBC-4 4.15.4: data of a WRITE that ended with GOOD are kept until the medium has them",
    "stale read": "SBC-4 4.15.7: a read operation returns the most recent data of a block",
    "unreadable": "SBC-4 5.16: a READ transfers the data of the blocks that it specifies",
}
"""The requirement that each kind violates."""

Key = tuple[str, int]
"""The identity of a disk and the index of a block."""


def check(history: History) -> Check | None:
    """FAIL for a lost, stale, torn or foreign block; None when no block was stamped."""
    if history.first("workload", "writing", "wrote") is None:
        return None
    timeline = Timeline.of(history)
    book = Book()
    for number, event in enumerate(history.events):
        book.enter(number, event, timeline)
    violations = [violation for violation in book.reads if violation] + book.wrong
    figures = book.figures()
    if violations:
        first = min(violations, key=lambda each: (GRAVITY.index(each.kind), each.event.time))
        return Check(
            NAME, Verdict.FAIL, _count(violations, first.kind) + first.words
            + cited(CLAUSES[first.kind]),
            [{"what": each.kind, "time": each.event.time, **each.event.data}
             for each in violations[:EVIDENCE_MAX]],
            {**figures, **timeline.detected(NAME, min(each.event.time for each in violations))},
            _signatures(violations),
        )
    if missing := book.missing():
        disk, block = missing[0]
        return Check(
            NAME, Verdict.UNKNOWN, f"{len(missing)} of {len(book.blocks)} stamped blocks were not "
            f"read back, first: block {block} of {disk}", (), figures)
    return Check(
        NAME, Verdict.PASS, f"all {len(book.blocks)} stamped blocks have allowed versions, as have "
        f"{len(book.reads)} reads", (), figures)


class Book:
    """The stamped writes, and the blocks read."""

    def __init__(self) -> None:
        self.blocks: dict[Key, Block] = {}
        self.found: set[Key] = set()
        self.wrong: list[Violation] = []
        self.reads: list[Violation | None] = []
        self._identities: dict[str, str] = {}

    def enter(self, number: int, event: Event, timeline: Timeline) -> None:
        """Take in the next event of the history."""
        data = event.data
        if (event.source, event.kind) == ("target", "disk"):
            self._identities[data["name"]] = str(data["identity"])
        if event.source != "workload" or "block" not in data:
            return
        key = (self._identities.get(data["disk"], str(data["disk"])), int(data["block"]))
        if event.kind in {"writing", "wrote"}:
            self._write(key, number, event)
        elif timeline.witnessed(event.time):
            if event.kind == "found":
                self.found.add(key)
                self._read_back(key, event)
            elif event.kind == "read" and data["error"] is None:
                self.reads.append(self._read(key, number, event))

    def _write(self, key: Key, number: int, event: Event) -> None:
        data = event.data
        writes = self.blocks.setdefault(key, Block()).writes
        write = writes.setdefault(data["version"], Write(data["version"], number))
        self.found.discard(key)
        if event.kind == "wrote":
            write.ended = number
            write.acknowledged = data["error"] is None

    def _read(self, key: Key, number: int, event: Event) -> Violation | None:
        block = self.blocks.get(key, Block())
        return _violation(key, event, block, block.allowed(number, event.data["issued_after"]),
                          "stale read")

    def _read_back(self, key: Key, event: Event) -> None:
        block = self.blocks.get(key, Block())
        if event.data.get("error") is not None:
            words = f"{_name(key)} cannot be read back: {event.data['error']}"
            self.wrong.append(Violation("unreadable", words, event))
        elif found := _violation(key, event, block, block.allowed(), "lost write"):
            self.wrong.append(found)

    def missing(self) -> list[Key]:
        """Return the blocks that were written and not read back since."""
        return [key for key in self.blocks if key not in self.found]

    def figures(self) -> dict[str, Figure]:
        """Return the numbers of stamped writes, of acknowledged ones, and of blocks read."""
        writes = [write for block in self.blocks.values() for write in block.writes.values()]
        counts = {
            "stamped_writes": len(writes),
            "stamped_acknowledged": sum(write.acknowledged for write in writes),
            "stamped_reads": len(self.reads),
            "stamped_read_back": len(self.found),
        }
        return {name: Figure(count, "1") for name, count in counts.items()}


def _violation(
    key: Key, event: Event, block: Block, allowed: Sequence[int], outdated: str,
) -> Violation | None:
    """Return the violation that a block's content shows when read, or None."""
    data = event.data
    where = _name(key)
    expected = f"expected {_versions(allowed)}"
    if data["foreign"] is not None:
        return Violation("foreign", f"{where} holds {data['foreign']}, {expected}", event)
    if data["torn"]:
        return Violation("torn", f"{where} is torn within a logical block, {expected}", event)
    wrong = [version for version in _read_versions(data) if version not in allowed]
    if not wrong:
        return None
    known = {UNWRITTEN, *block.writes}
    strange = next((version for version in wrong if version not in known), None)
    version = wrong[0] if strange is None else strange
    kind = outdated if strange is None else "never issued"
    note = ", which was never issued" if strange is not None else ""
    verb = "was read with" if event.kind == "read" else "holds"
    return Violation(kind, f"{where} {verb} {_versions([version])}{note}, {expected}", event)


def _read_versions(data: Mapping[str, Any]) -> Iterator[int]:
    """Yield the versions that a block holds: one, or one for each of its logical blocks."""
    for version in data.get("sectors") or [data["version"]]:
        yield UNWRITTEN if version is None else version


def _versions(versions: Sequence[int]) -> str:
    names = ["nothing stamped" if version == UNWRITTEN else f"version {version}"
             for version in sorted(versions)]
    return " or ".join(names)


def _name(key: Key) -> str:
    disk, block = key
    return f"block {block} of {disk}"


def _count(violations: Sequence[Violation], kind: str) -> str:
    number = sum(1 for each in violations if each.kind == kind)
    others = len(violations) - number
    also = f" (and {others} blocks otherwise wrong)" if others else ""
    return f"{kind}: {number}{also}, first: "


def _signatures(violations: Sequence[Violation]) -> list[Signature]:
    kinds = dict.fromkeys((each.kind, each.event.kind) for each in violations)
    return [Signature.of(kind, seen) for kind, seen in kinds]
