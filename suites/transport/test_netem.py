"""Delay, loss, duplicates, reordering: the load goes on without an error, and no write is lost."""

from __future__ import annotations

import pytest

from fixtures.plugin import accept
from fixtures.scenario import Plan
from fixtures.workload.stamps import StampJob
from inject.netem import NETEMS
from inject.point import NOTHING_HELD, Point
from results.judge import Judgement
from suites.system.matrix import PATIENT
from targets.target import Device

STAMPS = StampJob(threads=6, rate_iops=120, blocks=48)
"""Fewer than usual: each command takes longer."""

TEARDOWNS = ("backend-close", "lun-remove")


def plans(target: str) -> list[Plan]:
    """Return plans for loopback and for a link between two machines, each treatment on each; and
    for those that lose something, around a teardown."""
    alone = [
        Plan(target, netem.name, point=point, device=Device(options=PATIENT[target]), apart=apart,
             workload=None, stamps=STAMPS, story="suites.transport.netem:treated")
        for apart, point in ((False, Point()), (True, NOTHING_HELD)) for netem in NETEMS.values()]
    return alone + [
        Plan(target, teardown, workload=None, stamps=STAMPS, netem=netem.name, variant=netem.name,
             story="suites.transport.netem:torn_down")
        for netem in NETEMS.values() if netem.drops for teardown in TEARDOWNS]


def test_bad_network(judgement: Judgement, request: pytest.FixtureRequest) -> None:
    """TCP makes up for it: it costs time and nothing else."""
    accept(judgement, request)
