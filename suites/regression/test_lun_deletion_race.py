# SPDX-License-Identifier: GPL-2.0-or-later
"""Not fixed in 3.11.0-pre (aa5cc2dd70f9): a LUN is deleted while its device is being removed.

Defect: the removal of a device deletes its LUNs one by one (scst_unregister_virtual_device,
scst_main.c). It keeps a pointer to the next LUN while scst_acg_del_lun drops the mutex that
protects the list and waits for the LUN's commands. If an administrator deletes the next LUN
meanwhile, the loop follows a pointer into freed memory.

Steps: a device with two LUNs is blocked and closed. While the first LUN's removal waits for
commands, the second LUN is deleted. Then the device is unblocked (inject.lun_race).

Expected, as after every teardown: all I/O ends, the teardown ends in time, the kernel stays
healthy, and the device can be deployed again.
"""

from __future__ import annotations

from fixtures.context import ScenarioContext
from fixtures.scenario import Arrangement, Plan, Selection, scenarios
from fixtures.workload.commands import CommandJob
from fixtures.workload.stamps import LIGHT
from inject.lun_race import LunRace
from inject.point import Point, State
from targets.target import Device, Transport

PLAN = Plan(LunRace(), Point(State.EXEC, 1, None), Arrangement.stamped(
    LIGHT, transport=Transport.LOOPBACK, device=Device(luns=LunRace().luns)),
    CommandJob("write", 1), "lun-list")


def plans(selection: Selection) -> list[Plan]:
    """Return the plan, for a target whose backend speaks scst_user."""
    return [PLAN] if selection.traits.serves_scst_user else []


@scenarios(plans)
def test_lun_list_stays_whole(ctx: ScenarioContext) -> None:
    """Deleting a LUN during its device's removal leaves no freed memory in the list of LUNs."""
    lun = ctx.arrange()
    ctx.hold(lun)           # a WRITE, in EXEC
    ctx.break_device(lun)   # the device is removed, and its second LUN deleted meanwhile
    ctx.drain(lun)
    ctx.recover(lun)
