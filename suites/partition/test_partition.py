"""The network between initiator and target fails: in time to be healed, or not.

One that heals in time costs no error; one that does not is reported in bounded time; what was
acknowledged is there after both.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

import pytest

from fixtures.initiator.openiscsi import Timeouts
from fixtures.plugin import RunPlan, accept
from fixtures.scenario import Plan
from fixtures.workload.stamps import StampJob
from inject.catalogue import FAULTS
from inject.partition import MORE_PATIENT, PARTITIONS, PATIENT, TRIES, How, Partition
from inject.point import NOTHING_HELD, Point
from results.judge import Judgement
from results.verdict import Verdict
from suites.system.matrix import PATIENT as PATIENT_TARGET
from targets.target import Device

TEARDOWNS = ("backend-close", "backend-kill", "lun-remove")
"""Ways to take the device away that every target has."""


STAMPS = StampJob(threads=6, rate_iops=120, blocks=48)
"""Fewer than usual: each guest has a share of the host's CPUs only."""


def plans(target: str) -> list[Plan]:
    """Return a plan for each partition: under I/O, with writes held (for no longer than a target
    waits for them), and around a teardown."""
    return [
        *(alone(target, partition, point) for partition in PARTITIONS.values()
          for point in (NOTHING_HELD, Point()) if not (partition.outlasts_target and point.count)),
        *around_teardowns(target)]


def alone(target: str, partition: Partition, point: Point) -> Plan:
    """Return a plan in which nothing else is broken."""
    return Plan(target, partition.name, point=point, device=Device(options=PATIENT_TARGET[target]),
                workload=None, stamps=STAMPS, apart=True, partition=partition.name,
                timeouts=timeouts(partition), story="suites.partition.stories:partitioned")


def around_teardowns(target: str) -> Iterator[Plan]:
    """Yield plans in which the device is taken away meanwhile, silently: the target cannot know.
    It goes at once, but for what inject.partition.WAITS_FOR_THE_REST says; of a partition that
    lasts longer nothing else comes."""
    for partition in (each for each in PARTITIONS.values()
                      if each.how is How.SILENT and not each.outlasts_target):
        for teardown in TEARDOWNS:
            yield Plan(target, teardown, workload=None, stamps=STAMPS, apart=True,
                       variant=partition.name, partition=partition.name,
                       timeouts=timeouts(partition), story="suites.partition.stories:torn_down")


WRONG = (
    (Partition("late-called-a-blip", How.SILENT, 9.0, timers=(20.0, 30.0)), Verdict.FAIL),
    (Partition("blip-called-late", How.SILENT, 1.5, timers=(0.5, 1.0)), Verdict.UNKNOWN),
)
"""What is said of these is wrong: the initiator's timers are others. The first costs errors and a
session; the second costs nothing, so nothing was tried."""


def timeouts(partition: Partition) -> Timeouts | None:
    """Return the initiator's timers that a partition reckons with."""
    if partition.timers not in (PATIENT, MORE_PATIENT):
        return None
    notices, reports = partition.timers
    command = max(Timeouts.command, 1 + ceil(partition.patience / TRIES))
    return Timeouts(replacement=round(reports - notices), command=command)


def test_partition(judgement: Judgement, request: pytest.FixtureRequest) -> None:
    """It costs no error, or one that comes in time, and no acknowledged write."""
    accept(judgement, request)


@pytest.mark.parametrize(("partition", "verdict"), [
    pytest.param(*each, id=each[0].when) for each in WRONG])
def test_a_wrong_word_is_caught(
    partition: Partition, verdict: Verdict, run_plan: RunPlan, kernel_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A partition of which the wrong thing is said does not pass."""
    monkeypatch.setitem(FAULTS, partition.name, partition)
    monkeypatch.setitem(PARTITIONS, partition.name, partition)
    judgement = run_plan(alone(run_plan.target, partition, NOTHING_HELD), kernel_name)
    assert judgement.verdict is verdict, judgement.reason
    told = {check.name: check.verdict for check in judgement.checks}
    assert told["partition"] is verdict
    if verdict is Verdict.FAIL:
        assert told["ledger"] is Verdict.FAIL
