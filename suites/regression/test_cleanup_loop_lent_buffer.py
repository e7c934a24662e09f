# SPDX-License-Identifier: GPL-2.0-or-later
"""Not fixed in 3.11.0-pre (aa5cc2dd70f9): a device is closed while another one uses its buffer.

Defect: the single cleanup thread loops over a closed device until that device's table is empty
(dev_user_process_cleanup). A command of another device that shares the pool may use a buffer of the
closed device. Until that command ends, the thread consumes a full CPU. If the other device is also
closed meanwhile, the same thread has to end its commands, and never reaches them.

Steps: as in test_device_freed_under_commands (3ec348004), but the backend is killed while the first
device's release waits.

Expected: both devices are released in bounded time.
"""

from __future__ import annotations

from fixtures.context import ScenarioContext
from fixtures.scenario import Arrangement, Plan, Selection, scenarios
from inject.backend_end import KILL
from inject.point import Point
from suites.regression.steps import (
    SHARED_POOL,
    arrange,
    close_device,
    expect_not_released,
    kill_backend,
    lend_buffer,
    recover,
    registered,
)
from targets.target import Transport

PLAN = Plan(KILL, Point(count=1), Arrangement(Transport.LOOPBACK, SHARED_POOL, fio=None),
            variant="lender-closed")


def plans(selection: Selection) -> list[Plan]:
    """Return the plan, for a target whose backend speaks scst_user."""
    return [PLAN] if selection.traits.serves_scst_user else []


@scenarios(plans)
def test_both_devices_are_released(ctx: ScenarioContext) -> None:
    """The cleanup of one closed device does not block the cleanup of another one."""
    family = arrange(ctx)
    chain = lend_buffer(ctx, family)
    before = registered(ctx)
    close_device(ctx, family)
    expect_not_released(ctx, before)
    kill_backend(ctx, family)
    chain.wait(ctx.ladder.command)
    recover(ctx, family)
