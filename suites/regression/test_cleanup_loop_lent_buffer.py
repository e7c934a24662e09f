"""Not fixed in 3.11.0-pre (aa5cc2dd70f9): a device is closed while another has its buffer.

Defect: the one cleanup thread loops over a closed device until that device's table is empty
(dev_user_process_cleanup). A buffer of the device may be with a command of another device that
shares the pool. While that command lasts the thread burns a CPU; and if the other device is closed
meanwhile, its commands are to be ended by the same thread, which never reaches them.

Steps: as in 3ec348004 (test_device_freed_under_commands), but while the first device's release
waits, the backend is killed.

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
    """The cleanup of one closed device does not keep that of another from its turn."""
    family = arrange(ctx)
    chain = lend_buffer(ctx, family)
    before = registered(ctx)
    close_device(ctx, family)
    expect_not_released(ctx, before)
    kill_backend(ctx, family)
    chain.wait(ctx.ladder.command)
    recover(ctx, family)
