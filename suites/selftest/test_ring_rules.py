# SPDX-License-Identifier: GPL-2.0-or-later
"""The TCMU backend as a witness: each rule on a ring that breaks it, and on one that does not."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from suites.selftest.test_tcmu import (
    DATA_AT,
    PAGE,
    RING_AT,
    RING_SIZE,
    Bench,
    Kernel,
    read10,
    write10,
)
from targets.backend.witness_guest import Witness
from targets.lio import ring_guest as abi
from targets.lio.ring_guest import BrokenRingError, Ring


class Log:
    """A sink for a witness's events."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def emit(self, kind: str, **data: Any) -> None:
        self.events.append({"kind": kind, **data})

    def flush(self) -> None:
        pass

    def breaches(self) -> list[tuple[str, int | None]]:
        """Return rule and handle of each breach that was not provoked."""
        return [(event["rule"], event["handle"]) for event in self.events
                if event["kind"] == "breach" and not event["provoked"]]


class Watched:
    """A ring of a stand-in kernel, and what its witness reports."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel, self.log = kernel, Log()
        self.ring = Ring(kernel.area)
        self.ring.watch(Witness(self.log, "target_core_user.h"))

    def take(self) -> list[object]:
        with suppress(BrokenRingError, struct.error):
            return list(self.ring.take())
        return []

    def change(self, at: int, layout: str, *values: int) -> None:
        """Overwrite fields of the shared memory."""
        struct.pack_into("=" + layout, self.kernel.area, at, *values)


@pytest.fixture
def watched() -> Watched:
    return Watched(Kernel())


def test_a_kernel_that_keeps_the_rules(watched: Watched) -> None:
    kernel, ring = watched.kernel, watched.ring
    for cmd_id in range(1, 60):  # around the ring, over its padding, with data used again
        kernel.command(1 + cmd_id % 9, write10(1), pages=tuple(range(cmd_id % 4)))
        kernel.task_management(5, 1 + cmd_id % 9)
        watched.take()
        ring.complete(1 + cmd_id % 9, 0)
        ring.skip()
        kernel.collect()
        kernel.answers.clear()
    assert watched.log.breaches() == []
    ring.close()
    assert [event["entries"] for event in watched.log.events][-1] >= 118


def first(watched: Watched) -> None:
    watched.kernel.command(1, read10(0), pages=(0,))


def outstanding(watched: Watched) -> None:
    first(watched)
    watched.take()


def twice(watched: Watched) -> None:
    outstanding(watched)
    watched.kernel.command(1, read10(0), pages=(1,))


def overlapping(watched: Watched) -> None:
    outstanding(watched)
    watched.kernel.command(2, read10(0), pages=(1, 0))


def outside(at: int) -> Callable[[Watched], None]:
    def steps(watched: Watched) -> None:
        first(watched)
        watched.change(RING_AT + abi.IOV, "Q", at)
    return steps


def changed(at: int, layout: str, *values: int) -> Callable[[Watched], None]:
    def steps(watched: Watched) -> None:
        first(watched)
        watched.change(at, layout, *values)
    return steps


def backwards(watched: Watched) -> None:
    for cmd_id in (1, 2, 3):
        watched.kernel.command(cmd_id, bytes(6))
    watched.take()
    watched.change(abi.CMD_HEAD, "I", 120)


def moved_tail(watched: Watched) -> None:
    outstanding(watched)
    watched.kernel.command(2, read10(0), pages=(1,))
    watched.change(abi.CMD_TAIL, "I", 128)


BREACHES: dict[str, tuple[Callable[[Watched], None], tuple[str, int | None]]] = {
    "an identifier twice": (twice, ("handle-twice", 1)),
    "data of another command": (overlapping, ("data-overlap", 2)),
    "data before the data area": (outside(DATA_AT - 8), ("data-place", 1)),
    "data beyond the end": (outside(DATA_AT + 64 * PAGE), ("data-place", 1)),
    "a CDB outside of the ring": (
        changed(RING_AT + abi.CDB_OFF, "Q", DATA_AT), ("cdb-place", 1)),
    "an unknown operation": (changed(RING_AT, "I", 120 | 5), ("entry-operation", 1)),
    "flags": (changed(RING_AT + 6, "B", 1), ("entry-flags", 1)),
    "no length": (changed(RING_AT, "I", abi.OP_CMD), ("entry-length", 1)),
    "beyond cmd_head": (changed(RING_AT, "I", 256 | abi.OP_CMD), ("entry-length", 1)),
    "cmd_head beyond the ring": (changed(abi.CMD_HEAD, "I", RING_SIZE + 64), ("ring-head", None)),
    "cmd_head backwards": (backwards, ("ring-head", None)),
    "cmd_tail that the backend did not write": (moved_tail, ("ring-tail", None)),
    "a notification of an unknown command": (
        lambda watched: watched.kernel.task_management(5, 77), ("handle-unknown", 77)),
    "an unknown function": (
        lambda watched: watched.kernel.task_management(99), ("field-value", None)),
}


@pytest.mark.parametrize(("steps", "expected"), BREACHES.values(), ids=BREACHES)
def test_a_kernel_that_breaks_a_rule(
    watched: Watched, steps: Callable[[Watched], None], expected: tuple[str, int | None],
) -> None:
    steps(watched)
    watched.take()
    assert watched.log.breaches()[0] == expected


def test_what_another_backend_left_is_not_compared() -> None:
    """It may have completed a command in the entry of an older one."""
    kernel = Kernel()
    for cmd_id in (1, 2):
        kernel.command(cmd_id, read10(0), pages=(cmd_id,))
    before = Ring(kernel.area)
    list(before.take())
    before.complete(2, 0)
    kernel.collect()
    watched = Watched(kernel)
    kernel.command(3, read10(0), pages=(2,))
    kernel.task_management(5, 1, 2)
    assert len(watched.take()) == 3
    assert watched.log.breaches() == []
    kernel.command(3, read10(0), pages=(2,))
    watched.take()
    assert ("handle-twice", 3) in watched.log.breaches()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "medium")
    yield made
    made.close()


def test_the_backend_reports_it(bench: Bench) -> None:
    bench.order("hold", point="EXEC", count=1)
    bench.run()
    for _ in range(2):
        bench.kernel.command(4, write10(0), pages=(0,))
    events = bench.run()
    breach, *_ = (event for event in events if event["kind"] == "breach")
    assert (breach["rule"], breach["handle"], breach["document"]) == (
        "handle-twice", 4, "target_core_user.h")


def test_what_follows_from_a_duplicate_completion_is_provoked(bench: Bench) -> None:
    bench.kernel.collect = lambda: None  # type: ignore[method-assign]
    bench.order("misbehave", how="twice", count=1, direction="write")
    bench.run()
    bench.kernel.command(4, write10(0), pages=(0,))
    bench.kernel.command(5, write10(0), pages=(1,))
    bench.run()
    bench.kernel.command(6, write10(0), pages=(1,))
    bench.kernel.task_management(99)
    found = [event["provoked"] for event in bench.run() if event["kind"] == "breach"]
    assert found == [True]
