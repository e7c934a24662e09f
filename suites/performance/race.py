"""Contenders that take turns in one guest, so that a disturbance of one disturbs the other too.

Figures under emulation mean nothing by themselves; the ratio of two contenders that were measured
within seconds of each other does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median

from targets.machine import Machine

QUEUE_DEPTH = 64
"""Commands that the SCSI layer lets a disk have at once."""


@dataclass(frozen=True)
class Cell:
    """Random 4 KiB reads or writes, ``iodepth`` at once."""

    rw: str
    iodepth: int

    def __str__(self) -> str:
        return f"{self.rw} QD{self.iodepth}"


CELLS = tuple(Cell(rw, depth) for depth in (1, 16, 64) for rw in ("randread", "randwrite"))


@dataclass(frozen=True)
class Contender:
    """A disk, by the name of its backend."""

    name: str
    disk: str


@dataclass(frozen=True)
class Result:
    """A cell's rounds: IOPS of each contender, by its name, in the order they were measured."""

    cell: Cell
    iops: Mapping[str, Sequence[float]]

    def median(self, name: str) -> float:
        """Return a contender's median IOPS."""
        return median(self.iops[name])

    def ratio(self, name: str, other: str) -> float:
        """Return the median over the rounds of one contender's IOPS by another's."""
        return median(ours / theirs for ours, theirs in zip(
            self.iops[name], self.iops[other], strict=True))

    def record(self) -> dict[str, object]:
        """Return it as JSON values."""
        return {**asdict(self.cell), "iops": {name: [round(value, 1) for value in values]
                                              for name, values in self.iops.items()}}


def prepare(machine: Machine, disk: str) -> None:
    """Let a disk have many commands at once, with no scheduler before it."""
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
    """Measure every contender in every cell, ``rounds`` times in turn."""
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
