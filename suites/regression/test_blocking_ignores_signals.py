# SPDX-License-Identifier: GPL-2.0-or-later
"""2c5c12c01 (2023): scst_lib: Enable scst_sync_ext_block_dev() to handle signals.

Defect: a process that blocked a device (by writing "1" to its attribute ``block``) waited until the
commands in flight had ended, and ignored signals. If the backend answered no command, the process
could not be terminated. Since the fix a signal ends the wait, and the last user frees the state of
the wait.

Steps: a WRITE is held in EXEC, a process blocks the device, and the process receives SIGTERM.

Expected: the process ends in time, the WRITE ends with GOOD after its release, and the device works
after it has been unblocked.
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
    """A process that waits in blocking a device can be terminated."""
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
    ctx.expect("the held write ends with GOOD", not any(errors), str(errors))
    write(machine, attribute, "0", ctx.ladder.step)
    write_all(ctx, (family.disk, PAGE))
    recover(ctx, family)
