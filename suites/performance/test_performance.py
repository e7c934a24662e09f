# SPDX-License-Identifier: GPL-2.0-or-later
"""The project's scst_user backend is fast enough that SCST, not the backend, is the bottleneck.

The backend is compared with SCST's fileio_tgt over scst_local: files in memory of the same size,
the same options (parse STANDARD, on_free IGNORE, reuse ALL), and no events for the commands' steps.
At queue depths above 1 the backend fetches several commands per ioctl (REPLY_AND_GET_MULTI).
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from fixtures.initiator.loopback import Loopback
from fixtures.plugin import RunPlan
from results.history import Recorder
from results.store import write_json
from suites.performance import fileio_tgt
from suites.performance.race import CELLS, Contender, Result, race
from targets.target import Device, Transport

pytestmark = pytest.mark.performance

SIZE = 64 << 20
OPTIONS = {"parse_type": "STANDARD", "on_free_cmd_type": "IGNORE", "memory_reuse_type": "ALL"}
OURS, THEIRS = "scst_user", "fileio_tgt"
THREADS = 1
"""Threads of the project's backend. Python runs one at a time; more would contend for the GIL."""

ROUNDS = 5
SECONDS = 2.0
RECORD = "performance-{kernel}.json"

LEAST = {1: 0.8, 16: 1.0, 64: 1.0}
"""By queue depth: the minimum ratio of the project's backend's IOPS to fileio_tgt's."""


def test_ours_is_as_fast_as_scsts_own(
    run_plan: RunPlan, kernel_name: str, lines: list[str]
) -> None:
    """The median of the rounds' IOPS ratios reaches ``LEAST`` in every cell."""
    if not run_plan.traits.serves_scst_user:
        pytest.skip("the target's backend does not use scst_user")
    tree = run_plan.pool.target.tree
    if tree is None or not (tree / fileio_tgt.PROGRAM).is_file():
        pytest.skip(f"{tree}: no {fileio_tgt.PROGRAM}")
    results = _race(run_plan, kernel_name)
    write_json(run_plan.results / RECORD.format(kernel=kernel_name.replace("/", "_")), {
        "kernel": kernel_name, "options": OPTIONS, "threads": THREADS, "seconds": SECONDS,
        "cells": [result.record() for result in results]})
    lines += table(kernel_name, results)
    slow = [f"{result.cell}: {result.ratio(OURS, THEIRS):.2f}" for result in results
            if result.ratio(OURS, THEIRS) < LEAST[result.cell.iodepth]]
    assert not slow, "ours is slower than it may be: " + ", ".join(slow)


def _race(run_plan: RunPlan, kernel: str) -> Sequence[Result]:
    pool, ladder = run_plan.pool, run_plan.ladder()
    device = Device("ours", SIZE, options=OPTIONS, threads=THREADS, multi=True)
    with pool.restored(kernel) as guest, Recorder(run_plan.results / "performance.jsonl") as seen:
        machine = guest.machine
        deployment = pool.target.deploy(machine, device, Transport.LOOPBACK, ladder, seen)
        ours = Loopback().login(machine, deployment.address, ladder).name
        deployment.backend.call("steps", deadline=ladder.step, on=False)
        with fileio_tgt.deployed(machine, "theirs", SIZE, ladder) as theirs:
            results: list[Result] = []
            for several in (False, True):
                deployment.backend.call("multi", deadline=ladder.step, on=several)
                cells = [cell for cell in CELLS if (cell.iodepth > 1) is several]
                results += race(machine, [Contender(OURS, ours), Contender(THEIRS, theirs)], cells,
                                rounds=ROUNDS, seconds=SECONDS, report=pool.progress)
        deployment.remove()
    return results


def table(kernel: str, results: Sequence[Result]) -> list[str]:
    """Return the lines of a table of medians and ratios."""
    head = f"{'kernel ' + kernel:24} {THEIRS:>10} {OURS:>10} {'ratio':>6}"
    return [head, *(
        f"{result.cell!s:24} {result.median(THEIRS):10.0f} {result.median(OURS):10.0f} "
        f"{result.ratio(OURS, THEIRS):6.2f}" for result in results)]
