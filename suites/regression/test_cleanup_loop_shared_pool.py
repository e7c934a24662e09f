# SPDX-License-Identifier: GPL-2.0-or-later
"""83745c0a2 (2026): scst_user: Fix infinite cleanup loop caused by stale SGV pool reference.

Defect: scst_user's cleanup thread flushed the device's buffer pools only before it unjammed the
commands that the backend had not answered. An unjammed command put its buffer back into the pool,
and the buffer's reference kept the command in the device's table until the next flush. Normally
that flush was the thread's next iteration. If another device that shares the pool had taken the
buffer before it, the thread looped forever, two million times a second, and the release of the
device waited for the thread in D state.

Steps: two devices of one backend share a pool. A WRITE to the first is held in EXEC, and the first
device is closed. As soon as that WRITE has failed, a WRITE of the same size is sent to the second
device, and is held.

Expected: the first device is released in bounded time, with at most ``ITERATIONS_MAX`` iterations
of the cleanup thread.
"""

from __future__ import annotations

from fixtures.context import ScenarioContext
from fixtures.scenario import Arrangement, Plan, Selection, scenarios
from inject.backend_close import BackendClose
from inject.point import Point
from suites.regression.flushes import Flushes
from suites.regression.steps import (
    BIG,
    SHARED_POOL,
    Chain,
    arrange,
    close_device,
    hold_write,
    must_come,
    recover,
    registered,
    wait_held,
)
from targets.target import Transport

PLAN = Plan(BackendClose(), Point(count=1), Arrangement(Transport.LOOPBACK, SHARED_POOL, fio=None),
            variant="83745c0a2")

ITERATIONS_MAX = 10_000
"""The limit at which the workaround before the fix panicked (the commit's message). A healthy
teardown needs fewer than 10 iterations."""


def plans(selection: Selection) -> list[Plan]:
    """Return the plan, for a target whose backend speaks scst_user."""
    return [PLAN] if selection.traits.serves_scst_user else []


@scenarios(plans)
def test_first_device_is_released(ctx: ScenarioContext) -> None:
    """A device is released although another device has taken its buffer from the pool."""
    family = arrange(ctx)
    first, second = family.disks
    chain = Chain(ctx, [(first, BIG), (second, BIG)])
    family.backend.call("flush_cache", deadline=ctx.ladder.step)
    for device in ctx.plan.arrangement.device.family:
        hold_write(ctx, family, device.name)
    chain.begin()                       # a WRITE to the first device
    wait_held(ctx, family, 1)
    flushes = Flushes(ctx.machine)
    try:
        before = registered(ctx)
        ctx.phase("fault")
        ctx.fired()
        with ctx.operation("teardown"):
            close_device(ctx, family)
            ctx.phase("teardown")
            wait_held(ctx, family, 2)   # the WRITE to the second device has the buffer
            must_come(ctx, lambda: registered(ctx) < before, ctx.ladder.teardown,
                      "the kernel did not let go of the device that was closed")
        ctx.undone()
    finally:
        iterations = flushes.iterations()
        ctx.expect(f"the cleanup thread makes at most {ITERATIONS_MAX} iterations",
                   iterations <= ITERATIONS_MAX, f"{iterations} or more")
    flushes.stop()  # not while the cleanup thread spins: stopping waits for an RCU grace period
    family.backend.release(ctx.ladder.step)
    errors = chain.wait(ctx.ladder.command)
    ctx.expect("the write to the other device is carried out", errors[1] is None, str(errors[1]))
    recover(ctx, family)
