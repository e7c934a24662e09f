"""Not fixed in 3.11.0-pre (aa5cc2dd70f9): a LUN is deleted while the device that it leads to goes.

What is broken: a device's end deletes its LUNs one by one (scst_unregister_virtual_device,
scst_main.c), and keeps the next one in hand while scst_acg_del_lun drops the mutex that guards the
list and waits for the LUN's commands. If an administrator deletes the next LUN meanwhile, the list
is walked through freed memory.

What is told: a device with two LUNs is blocked, and closed; while the first LUN's removal waits
for commands, the second is deleted; the block is lifted (inject.lun_race). What is asserted: what
every teardown has to keep to.
"""

from __future__ import annotations

from fixtures.scenario import Plan
from fixtures.workload.commands import CommandJob
from fixtures.workload.stamps import LIGHT
from inject.lun_race import LunRace
from inject.point import Point, State
from targets.target import Device, Transport

PLAN = Plan(
    "scst", LunRace().name, Transport.LOOPBACK, Point(State.EXEC, 1, None),
    Device(luns=LunRace().luns), None, LIGHT,
    CommandJob("write", 1), "lun-list")
