"""Does the target survive losing device, session or backend, wherever its commands are?

On SCST each cell of the matrix (suites.teardown.matrix) is one scenario: the commands at the point
end as they must, the teardown ends, nothing leaks, the device can be deployed again at once. On tgt
there is one point, four WRITEs in EXEC: each way to take something away is one scenario.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from fixtures.plugin import accept
from fixtures.scenario import Plan
from fixtures.workload.stamps import StampJob
from inject.catalogue import MECHANISMS
from results.judge import Judgement
from suites.teardown.matrix import MATRIX, Cell
from targets.target import Transport

MORE = StampJob(threads=8, rate_iops=120, blocks=32)
"""A light load that goes on while four of its WRITEs are held."""

PATIENTLY = "suites.teardown.patient:lose_device"
COME_BACK = frozenset({"daemon-kill"})
"""Faults after which the target is there again, for who has the patience."""


def plans(target: str, config: pytest.Config) -> list[Plan]:
    """Return a plan for each cell, those of all pairs or with --full all; on tgt for each fault."""
    if target == "tgt":
        plans = [Plan(target, fault.name, workload=None, stamps=MORE) for fault in MECHANISMS
                 if fault.needs.met(target, "nbd", Transport.ISCSI)]
        return [replace(plan, story=PATIENTLY) if plan.fault in COME_BACK else plan
                for plan in plans]
    if target != "scst":
        return []
    return [Cell(**known).plan() for known in MATRIX.cells(config)]


def test_matrix(judgement: Judgement, request: pytest.FixtureRequest) -> None:
    """One cell."""
    accept(judgement, request)
