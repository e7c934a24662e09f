# SPDX-License-Identifier: GPL-2.0-or-later
"""Does the target survive a disturbance of its machine or daemon, alone and during a teardown?

A disturbance alone may delay commands. No command and no acknowledged write may be lost.
"""

from __future__ import annotations

from collections.abc import Iterator

from fixtures.context import ScenarioContext
from fixtures.scenario import Arrangement, Plan, Selection, scenarios
from fixtures.workload.stamps import StampJob
from inject.backend_close import BackendClose
from inject.daemon import DAEMONS
from inject.lun_remove import LunRemove
from inject.pair import DISTURBANCES
from inject.release import Release
from suites.system.daemon import REFUSED_FOR, begin_login, end_login, expect_sessions, logged_in
from suites.system.matrix import matrix, pair_of
from suites.system.pause import pause
from targets.target import Device, Transport

COMMAND_TIMEOUT = 20
"""The kernel's timeout for commands in a backend, in seconds, where it has one: a starved backend
may take seconds for a command."""

FEW = StampJob(blocks=64)


def disturbances(selection: Selection) -> Iterator[Plan]:
    """Yield a plan for each disturbance of the machine, over each transport."""
    traits = selection.traits
    device = Device(options=traits.command_timeout(COMMAND_TIMEOUT))
    for fault in DISTURBANCES:
        for transport in traits.transports:
            if fault not in DAEMONS and fault.needs.met(traits, traits.backend, transport):
                yield Plan(fault, arrangement=Arrangement.stamped(
                    StampJob(), transport=transport, device=device))


@scenarios(disturbances)
def test_disturbance(ctx: ScenarioContext) -> None:
    """No command is lost when memory, CPU time or the clock is disturbed while WRITEs are held."""
    lun = ctx.arrange()
    ctx.hold(lun)
    ctx.break_device(lun)    # the disturbance, for its duration
    ctx.drain(lun)
    ctx.recover(lun)


def daemons(selection: Selection) -> Iterator[Plan]:
    """Yield a plan for each fault of the target's daemon."""
    traits = selection.traits
    for fault in DAEMONS:
        if fault.needs.met(traits, traits.backend, Transport.ISCSI):
            yield Plan(fault, arrangement=Arrangement.stamped(FEW))


@scenarios(daemons)
def test_daemon_does_not_run(ctx: ScenarioContext) -> None:
    """No login succeeds while the daemon does not run; logins and I/O continue afterwards."""
    lun = ctx.arrange()
    ctx.hold(lun)
    with ctx.broken(lun):    # the daemon is stopped or killed; at the end continued or restarted
        expect_sessions(ctx, lun)
        attempt = begin_login(ctx, lun)
        ctx.expect("no login succeeds while the daemon does not run",
                   not logged_in(attempt, REFUSED_FOR))
    ctx.expect("a login succeeds once the daemon runs again",
               end_login(ctx, attempt) or end_login(ctx, begin_login(ctx, lun)))
    ctx.drain(lun)
    ctx.recover(lun)


def pauses(selection: Selection) -> Iterator[Plan]:
    """Yield a plan for each fault with pauses of the machine, over each transport."""
    for fault in (Release(), BackendClose(), LunRemove()):
        for transport in selection.traits.transports:
            yield Plan(fault, arrangement=Arrangement.stamped(FEW, transport=transport),
                       variant="paused")


@scenarios(pauses)
def test_machine_is_paused(ctx: ScenarioContext) -> None:
    """Long pauses of the machine, before and during a fault, cause no loss and no late command."""
    lun = ctx.arrange()
    ctx.hold(lun)
    pause(ctx, "before")
    with ctx.broken(lun):
        pause(ctx, "meanwhile")
    ctx.drain(lun)
    ctx.recover(lun)


def pairs(selection: Selection) -> Iterator[Plan]:
    """Yield a plan for each cell of the matrix of pairs."""
    return map(pair_of, matrix(selection.traits).cells(selection))


@scenarios(pairs)
def test_disturbed_teardown(ctx: ScenarioContext) -> None:
    """Every command and the teardown end when the device goes during a disturbance."""
    lun = ctx.arrange()
    ctx.hold(lun)
    ctx.break_device(lun)    # disturbance and teardown, in the order of the cell
    ctx.drain(lun)
    ctx.recover(lun)
