# SPDX-License-Identifier: GPL-2.0-or-later
"""Figures of a race: medians, and ratios of interleaved measurements."""

from __future__ import annotations

import json
from typing import Any

import pytest

from suites.performance.race import Cell, Contender, Result, iops, race
from suites.performance.test_performance import OURS, THEIRS, table
from targets.machine import Completed

CELL = Cell("randread", 16)


class Machine:
    """Returns fio's output: disk "sda" gets faster with each call, "sdb" stays the same."""

    lost: str | None = None

    def __init__(self) -> None:
        self.written: dict[str, str] = {}
        self.requested: list[list[str]] = []

    def write(self, path: str, text: str) -> None:
        self.written[path] = text

    def run(self, argv: list[str], *, deadline: float) -> Completed:
        self.requested.append(argv)
        did = 100.0 * len(self.requested) if "--filename=/dev/sda" in argv else 50.0
        output = {"jobs": [{"read": {"iops": did}, "write": {"iops": 0.0}}]}
        return Completed(tuple(argv), 0, "fio: a note\n" + json.dumps(output), "")


def test_contenders_take_turns() -> None:
    machine: Any = Machine()
    reported: list[str] = []
    result, = race(machine, [Contender("a", "sda"), Contender("b", "sdb")], [CELL], rounds=2,
                   seconds=3, report=reported.append)
    assert [argv[2] for argv in machine.requested] == [
        "--filename=/dev/sda", "--filename=/dev/sdb"] * 2
    assert {"--rw=randread", "--iodepth=16", "--runtime=3s"} <= set(machine.requested[0])
    assert result.iops == {"a": [100.0, 300.0], "b": [50.0, 50.0]}
    assert machine.written["/sys/block/sdb/queue/scheduler"] == "none"
    assert reported == ["randread QD16: a 200, b 50"]
    assert result.record() == {"rw": "randread", "iodepth": 16, "iops": result.iops}


def test_iops_of_one_run() -> None:
    machine: Any = Machine()
    assert iops(machine, "sdb", CELL, 1) == 50.0


def test_a_ratio_compares_what_was_measured_side_by_side() -> None:
    result = Result(CELL, {OURS: [100.0, 20.0, 60.0], THEIRS: [50.0, 10.0, 90.0]})
    assert result.ratio(OURS, THEIRS) == 2.0
    assert (result.median(OURS), result.median(THEIRS)) == (60.0, 50.0)
    with pytest.raises(ValueError, match="longer"):
        Result(CELL, {OURS: [1.0], THEIRS: [1.0, 2.0]}).ratio(OURS, THEIRS)
    assert table("6.1", [result])[1].split() == ["randread", "QD16", "50", "60", "2.00"]
