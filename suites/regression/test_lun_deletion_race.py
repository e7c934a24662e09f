"""Not fixed in 3.11.0-pre (aa5cc2dd70f9): a LUN is deleted while the device that it leads to goes.

Defect: a device's end deletes its LUNs one by one (scst_unregister_virtual_device, scst_main.c),
and keeps a pointer to the next one while scst_acg_del_lun drops the mutex that guards the list and
waits for the LUN's commands. If an administrator deletes the next LUN meanwhile, the list is walked
through freed memory.

Steps: a device with two LUNs is blocked, and closed; while the first LUN's removal waits for
commands, the second is deleted; the device is unblocked (inject.lun_race).

Expected: as after every teardown: all I/O ends, the teardown ends in time, the kernel stays
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
    """A LUN that is deleted while its device goes leaves no freed memory in the list."""
    lun = ctx.arrange()
    ctx.hold(lun)           # a WRITE, in the backend
    ctx.break_device(lun)   # the device goes, and its second LUN is deleted meanwhile
    ctx.drain(lun)
    ctx.recover(lun)
