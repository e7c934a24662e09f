# SPDX-License-Identifier: GPL-2.0-or-later
"""3ec348004 (2009): Fixes race on a scst_user device cleanup.

Defect: the cleanup of a closed device ended as soon as there was no command to fetch, though
commands could still be in the device's table: the device was freed while they used it. Since the
fix the cleanup ends when the table is empty.

Steps: two devices of one backend share a buffer pool. A WRITE to the first leaves its buffer, and
with it its command, in the pool. A WRITE to the second takes that buffer and is held in EXEC. Then
the first device is closed.

Expected: the release does not end before the buffer is returned, ends in bounded time afterwards,
and the kernel stays healthy.

The cleanup waits by busy polling (observed on 3.11.0-pre, aa5cc2dd70f9). This test does not judge
that: the held WRITE is released before the polling counts as a spinning thread.
"""

from __future__ import annotations

from fixtures.context import ScenarioContext
from fixtures.scenario import Arrangement, Plan, Selection, scenarios
from inject.backend_close import BackendClose
from inject.point import Point
from suites.regression.steps import (
    SHARED_POOL,
    arrange,
    close_device,
    expect_not_released,
    lend_buffer,
    must_come,
    recover,
    registered,
)
from targets.target import Transport

PLAN = Plan(BackendClose(), Point(count=1), Arrangement(Transport.LOOPBACK, SHARED_POOL, fio=None),
            variant="3ec348004")


def plans(selection: Selection) -> list[Plan]:
    """Return the plan, for a target whose backend speaks scst_user."""
    return [PLAN] if selection.traits.serves_scst_user else []


@scenarios(plans)
def test_release_waits_for_the_buffer(ctx: ScenarioContext) -> None:
    """A device is not released before its last command has left its table."""
    family = arrange(ctx)
    chain = lend_buffer(ctx, family)
    before = registered(ctx)
    ctx.phase("fault")
    ctx.fired()
    with ctx.operation("teardown"):
        close_device(ctx, family)
        ctx.phase("teardown")
        expect_not_released(ctx, before)
        family.backend.release(ctx.ladder.step)
        must_come(ctx, lambda: registered(ctx) < before, ctx.ladder.teardown,
                  "the kernel did not let go of the device that was closed")
    ctx.undone()
    errors = chain.wait(ctx.ladder.command)
    ctx.expect("the write to the other device is carried out", not any(errors), str(errors))
    recover(ctx, family)
