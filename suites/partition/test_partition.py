# SPDX-License-Identifier: GPL-2.0-or-later
"""The network between initiator and target fails, for a shorter or longer time than their timers.

A shorter partition causes no error. A longer one is reported in bounded time. After both, every
acknowledged write is on the medium.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import ceil

import pytest

from fixtures.context import Lun, ScenarioContext
from fixtures.initiator.openiscsi import Timeouts
from fixtures.plugin import RunPlan
from fixtures.scenario import Arrangement, Plan, Selection, scenarios
from fixtures.workload.stamps import StampJob, Stamps
from inject.backend_close import BackendClose
from inject.backend_end import KILL
from inject.combined import Combined
from inject.contract import How
from inject.lun_remove import LunRemove
from inject.partition import LONG_REPLACEMENT, PARTITIONS, TRIES, Partition
from inject.point import NOTHING_HELD, Point
from inject.traits import TargetTraits
from results.verdict import Verdict
from targets.target import ISCSI_PORT, Device

TEARDOWNS = (BackendClose(), KILL, LunRemove())
"""Teardowns that every target supports."""

STAMPS = StampJob(threads=6, rate_iops=120, blocks=48)
"""A smaller load than usual: the two guests share the host's CPUs."""

COMMAND_TIMEOUT = 20
"""The kernel's timeout for commands in a backend, in seconds, where it has one: longer than the
project's default, since the backend may need as long."""

CONNECTIONS = "/proc/net/tcp"
ESTABLISHED = "01"
"""TCP_ESTABLISHED (include/net/tcp_states.h), as /proc/net/tcp shows it (proc_pid_net(5))."""

AFTERWARDS = 20
"""Stamped writes that must be acknowledged after the network is joined again."""


def alone(selection: Selection) -> Iterator[Plan]:
    """Yield a plan for each partition under I/O and, unless it outlasts the target's session, one
    with held WRITEs."""
    for partition in (each.at(selection.traits) for each in PARTITIONS.values()):
        for point in (NOTHING_HELD, Point()):
            if not (partition.outlasts_target and point.count):
                yield under_load(selection.traits, partition, point)


def under_load(traits: TargetTraits, partition: Partition, point: Point) -> Plan:
    """Return a plan in which only the network is broken."""
    device = Device(options=traits.command_timeout(COMMAND_TIMEOUT))
    return Plan(partition, point, Arrangement.stamped(
        STAMPS, device=device, apart=True, timeouts=timeouts(partition)),
        arguments={"partition": partition.name})


def around_teardowns(selection: Selection) -> Iterator[Plan]:
    """Yield plans with a teardown during a partition.

    Only for silent partitions, which the target cannot notice. One that outlasts the target's
    session is left out: its outcomes would be the same.
    """
    for partition in PARTITIONS.values():
        if partition.how is not How.SILENT or partition.outlasts_target:
            continue
        arrangement = Arrangement.stamped(STAMPS, apart=True, timeouts=timeouts(partition))
        for teardown in TEARDOWNS:
            yield Plan(Combined(partition, teardown, label=teardown.name),
                       arrangement=arrangement, variant=partition.name,
                       arguments={"partition": partition.name})


def timeouts(partition: Partition) -> Timeouts | None:
    """Return the initiator's timers for a partition; None: the default ones."""
    if partition.timers != LONG_REPLACEMENT and not partition.outlasts_target:
        return None
    notices, reports = partition.timers
    command = max(Timeouts.command, 1 + ceil(partition.grace / TRIES))
    return Timeouts(replacement=round(reports - notices), command=command)


@scenarios(alone)
def test_partition(ctx: ScenarioContext, partition: str) -> None:
    """A partition causes no error, or errors that are reported in time, and loses no acknowledged
    write."""
    cut_and_join(ctx, PARTITIONS[partition].at(ctx.traits))


def cut_and_join(ctx: ScenarioContext, partition: Partition) -> None:
    """Cut the network under load and held commands, join it again, wait until the load continues.

    Raises TargetFailedError.
    """
    lun = ctx.arrange()
    ctx.network.prepare(partition)
    if ctx.plan.point.count:
        ctx.hold(lun)
    with ctx.broken(lun):  # the network is cut
        try:
            if partition.outlasts_target:
                ctx.network.wait_lasted()
                expect_connections(ctx)
            ctx.network.mend(ctx.ladder.step)
        finally:
            lun.backend.release(ctx.ladder.step)
        wait_load_goes_on(ctx, lun)
        ctx.network.restore(ctx.ladder.step)
    ctx.drain(lun)
    ctx.recover(lun)


@scenarios(around_teardowns)
def test_device_goes_while_cut_off(ctx: ScenarioContext, partition: str) -> None:
    """A teardown ends in time although the initiator is unreachable.

    The target may have received a part of a WRITE's data. A target that waits for the rest receives
    it only after the network is joined, so the join must not wait for the teardown. The teardown of
    every other target has to end before the join.
    """
    lun = ctx.arrange()
    ctx.network.prepare(PARTITIONS[partition])
    ctx.hold(lun)
    ctx.break_device(lun)  # the network is cut, then the device goes
    ctx.drain(lun)
    ctx.recover(lun)


WRONG = (
    (Partition("late-called-a-blip", How.SILENT, 9.0, timers=(20.0, 30.0)), Verdict.FAIL),
    (Partition("blip-called-late", How.SILENT, 1.5, timers=(0.5, 1.0)), Verdict.UNKNOWN),
)
"""Partitions with timers that are not the initiator's. The first causes errors and the loss of a
session. The second has no effect, so it tests nothing."""


@pytest.mark.parametrize(("partition", "verdict"), [
    pytest.param(*each, id=each[0].when) for each in WRONG])
def test_a_wrong_prediction_is_noticed(
    partition: Partition, verdict: Verdict, run_plan: RunPlan, kernel_name: str,
) -> None:
    """A partition with a wrong predicted outcome does not pass."""
    plan = under_load(run_plan.traits, partition, NOTHING_HELD)
    judgement = run_plan(plan, kernel_name, partial(cut_and_join, partition=partition))
    assert judgement.verdict is verdict, judgement.reason
    found = {check.name: check.verdict for check in judgement.checks}
    assert found["partition"] is verdict
    if verdict is Verdict.FAIL:
        assert found["ledger"] is Verdict.FAIL


def expect_connections(ctx: ScenarioContext) -> None:
    """Expect that the target keeps or closes its connection to a silent initiator, by its traits.
    """
    rows = [line.split() for line in ctx.machine.read(CONNECTIONS).splitlines()[1:]]
    there = sum(local.endswith(f":{ISCSI_PORT:04X}") and state == ESTABLISHED
                for _, local, _, state, *_ in rows)
    gives_up = ctx.traits.silent_session_ends is not None
    ctx.expect("the target has given its connection up" if gives_up else
               "the target keeps its connection", (there == 0) is gives_up,
               f"{there} are established")


def wait_load_goes_on(ctx: ScenarioContext, lun: Lun) -> None:
    """Wait until writes are acknowledged again: TCP has retransmitted, or the initiator logged in.

    Raises TargetFailedError.
    """
    login = (ctx.plan.arrangement.timeouts or Timeouts()).login
    bound = ctx.grace + login + ctx.ladder.command
    for stamps in [load for load in lun.loads if isinstance(load, Stamps)]:
        ctx.must(stamps.wait_written(stamps.written + AFTERWARDS, bound),
                 f"no write is acknowledged {bound:g} s after the network was joined again")
