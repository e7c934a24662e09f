"""2c5c12c01 (2023): scst_lib: Enable scst_sync_ext_block_dev() to handle signals.

Defect: a process that blocked a device ("1" to its attribute ``block``) waited until the commands
in flight had ended, and ignored signals: with a backend that answered none, the process could not
be ended. Since then a signal ends the wait, and the state of the wait is freed by its last user.

Steps: while a WRITE is held in EXEC, a process blocks the device and is sent SIGTERM.

Expected: the process ends in time; the WRITE, released, ends well; and the device, unblocked, goes
on working.
"""

from __future__ import annotations

import signal

from fixtures.context import ScenarioContext
from fixtures.scenario import Arrangement, Plan, Selection, scenarios
from inject.point import Point
from inject.release import Release
from suites.regression.steps import (
    PAGE,
    Chain,
    arrange,
    hold_write,
    must_come,
    recover,
    wait_held,
    write_all,
)
from targets.scst.sysfs import DEVICES, write
from targets.target import Transport

PLAN = Plan(Release(), Point(count=1), Arrangement(Transport.LOOPBACK, fio=None),
            variant="2c5c12c01")


def plans(selection: Selection) -> list[Plan]:
    """Return the plan, for a target whose backend speaks scst_user."""
    return [PLAN] if selection.traits.serves_scst_user else []


@scenarios(plans)
def test_sigterm_ends_the_wait(ctx: ScenarioContext) -> None:
    """A process that waits for a device to be blocked can be ended."""
    family = arrange(ctx)
    machine, device = ctx.machine, ctx.plan.arrangement.device.name
    attribute = f"{DEVICES}/{device}/block"
    chain = Chain(ctx, [(family.disk, PAGE)])
    hold_write(ctx, family, device)
    chain.begin()
    wait_held(ctx, family, 1)
    blocker = machine.spawn("blocker", argv=["sh", "-c", f"echo 1 > {attribute}"])
    must_come(ctx, lambda: machine.read(attribute).split() == ["1", "1"], ctx.ladder.step,
              "the device was not being blocked")
    ctx.phase("fault")
    ctx.fired()
    blocker.signal(signal.SIGTERM)
    must_come(ctx, lambda: blocker.status is not None, ctx.ladder.command,
              "a process that blocks the device did not heed SIGTERM")
    family.backend.release(ctx.ladder.step)
    errors = chain.wait(ctx.ladder.command)
    ctx.expect("the write that was waited for ends well", not any(errors), str(errors))
    write(machine, attribute, "0", ctx.ladder.step)
    write_all(ctx, (family.disk, PAGE))
    recover(ctx, family)
