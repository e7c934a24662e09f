# SPDX-License-Identifier: GPL-2.0-or-later
"""Measure backends in turn in one guest, so that a disturbance affects all of them.

Under emulation absolute figures mean nothing. The ratio of two backends that were measured within
seconds of each other is meaningful.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median

from targets.machine import Machine

QUEUE_DEPTH = 64
"""Maximum number of commands in flight per disk (sysfs ``queue_depth``)."""


@dataclass(frozen=True)
class Cell:
    """Random 4 KiB reads or writes at a queue depth of ``iodepth``."""

    rw: str
    iodepth: int

    def __str__(self) -> str:
        return f"{self.rw} QD{self.iodepth}"


CELLS = tuple(Cell(rw, depth) for depth in (1, 16, 64) for rw in ("randread", "randwrite"))


@dataclass(frozen=True)
class Contender:
    """A disk, and the name of its backend."""

    name: str
    disk: str


@dataclass(frozen=True)
class Result:
    """The rounds of a cell. ``iops``: by contender's name, IOPS in the order of measurement."""

    cell: Cell
    iops: Mapping[str, Sequence[float]]

    def median(self, name: str) -> float:
        """Return a contender's median IOPS."""
        return median(self.iops[name])

    def ratio(self, name: str, other: str) -> float:
        """Return the median, over the rounds, of one contender's IOPS divided by another's."""
        return median(ours / theirs for ours, theirs in zip(
            self.iops[name], self.iops[other], strict=True))

    def record(self) -> dict[str, object]:
        """Return the result as JSON values."""
        return {**asdict(self.cell), "iops": {name: [round(value, 1) for value in values]
                                              for name, values in self.iops.items()}}


def prepare(machine: Machine, disk: str) -> None:
    """Set a disk's queue depth to ``QUEUE_DEPTH``, and disable its I/O scheduler."""
    machine.write(f"/sys/block/{disk}/device/queue_depth", str(QUEUE_DEPTH))
    machine.write(f"/sys/block/{disk}/queue/scheduler", "none")


def iops(machine: Machine, disk: str, cell: Cell, seconds: float) -> float:
    """Run fio for some seconds; return its IOPS. Raises TargetFailedError."""
    printed = machine.run([
        "fio", "--name=race", f"--filename=/dev/{disk}", "--direct=1", "--ioengine=libaio",
        "--thread=1", f"--rw={cell.rw}", "--bs=4k", f"--iodepth={cell.iodepth}",
        f"--runtime={seconds}s", "--time_based", "--norandommap", "--randrepeat=1",
        "--output-format=json"], deadline=60 + 10 * seconds).stdout
    job = json.loads(printed[printed.index("{"):])["jobs"][0]
    return float(job["read"]["iops"] + job["write"]["iops"])


def race(
    machine: Machine, contenders: Sequence[Contender], cells: Sequence[Cell] = CELLS, *,
    rounds: int, seconds: float, report: Callable[[str], None],
) -> list[Result]:
    """Measure all contenders in turn in every cell, ``rounds`` times.

    ``seconds``: duration of one measurement. ``report``: called with a summary after each cell.
    """
    for contender in contenders:
        prepare(machine, contender.disk)
    results = []
    for cell in cells:
        found: dict[str, list[float]] = {contender.name: [] for contender in contenders}
        for _ in range(rounds):
            for contender in contenders:
                found[contender.name].append(iops(machine, contender.disk, cell, seconds))
        results.append(Result(cell, found))
        report(f"{cell}: " + ", ".join(
            f"{name} {results[-1].median(name):.0f}" for name in found))
    return results
