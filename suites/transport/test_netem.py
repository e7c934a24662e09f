# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets delayed, lost, duplicated or reordered cause no error and no lost write."""

from __future__ import annotations

from collections.abc import Iterator

from fixtures.context import Lun, ScenarioContext
from fixtures.scenario import Arrangement, Plan, Selection, scenarios
from fixtures.workload.stamps import StampJob, Stamps
from inject.backend_close import BackendClose
from inject.combined import Combined
from inject.lun_remove import LunRemove
from inject.netem import NETEMS, Netem
from inject.point import NOTHING_HELD, Point
from results.errors import MachineLostError
from targets.target import Device

STAMPS = StampJob(threads=6, rate_iops=120, blocks=48)
"""A smaller load than usual: each command takes longer."""

TEARDOWNS = (BackendClose(), LunRemove())

COMMAND_TIMEOUT = 20
"""The kernel's timeout for commands in a backend, in seconds, where it has one: longer than the
project's default, since the backend may need as long."""

WRITES = 60
"""Stamped writes that must be acknowledged while the network is impaired."""

DROPS = 3
"""Minimum number of lost packets, with a treatment that loses packets."""


def alone(selection: Selection) -> Iterator[Plan]:
    """Yield a plan for each treatment, over loopback and over a link between two machines."""
    device = Device(options=selection.traits.command_timeout(COMMAND_TIMEOUT))
    for apart, point in ((False, Point()), (True, NOTHING_HELD)):
        for netem in NETEMS.values():
            yield Plan(netem, point, Arrangement.stamped(STAMPS, device=device, apart=apart),
                       arguments={"netem": netem.name})


def around_teardowns(selection: Selection) -> Iterator[Plan]:
    """Yield a plan for each treatment that loses packets, around each teardown."""
    for netem in NETEMS.values():
        for teardown in TEARDOWNS if netem.drops else ():
            yield Plan(Combined(netem, teardown, label=teardown.name),
                       arrangement=Arrangement.stamped(STAMPS), variant=netem.name)


@scenarios(alone)
def test_bad_network(ctx: ScenarioContext, netem: str) -> None:
    """An impaired network costs time only: TCP hides it from the initiator and the target."""
    lun = ctx.arrange()
    ctx.network.prepare()
    if ctx.plan.point.count:
        ctx.hold(lun)
    with ctx.broken(lun):  # the network is impaired
        lun.backend.release(ctx.ladder.step)
        wait_written(ctx, lun)
        must_have_met(ctx, NETEMS[netem])
        ctx.network.restore(ctx.ladder.step)
    ctx.drain(lun)
    ctx.recover(lun)


@scenarios(around_teardowns)
def test_device_goes_on_a_bad_network(ctx: ScenarioContext) -> None:
    """A teardown ends in time although packets are lost."""
    lun = ctx.arrange()
    ctx.network.prepare()
    ctx.hold(lun)
    ctx.break_device(lun)  # the network is impaired, then the device goes
    ctx.drain(lun)
    ctx.recover(lun)


def wait_written(ctx: ScenarioContext, lun: Lun) -> None:
    """Wait until ``WRITES`` more writes have been acknowledged. Raises TargetFailedError."""
    stamps = next(load for load in lun.loads if isinstance(load, Stamps))
    bound = ctx.ladder.scenario / 2
    ctx.must(stamps.wait_written(stamps.written + WRITES, bound),
             f"no {WRITES} writes are acknowledged in {bound:g} s")


def must_have_met(ctx: ScenarioContext, netem: Netem) -> None:
    """Record netem's statistics; raise MachineLostError if the treatment affected no packets."""
    seen = ctx.network.statistics()
    ctx.note("netem", how=netem.how, seen=seen)
    if not all(each["packets"] for each in seen) or (
            netem.drops and sum(each["drops"] for each in seen) < DROPS):
        raise MachineLostError(f"the network was not {netem.how}: {seen}")
