# SPDX-License-Identifier: GPL-2.0-or-later
"""Not fixed in 3.11.0-pre (aa5cc2dd70f9): a backend that dies with commands in the background.

Defect: SCST_EXEC_REPLY_BACKGROUND takes a reference to the command, which the backend's COMPLETED
drops (dev_user_process_reply_exec). If the backend closes the device before COMPLETED, the
reference remains. The command has been answered, so the cleanup does not unjam it, and it stays in
the device's table. The cleanup thread loops until the table is empty, which never happens; the
release of the device waits for the thread in D state. All steps conform to the specification: a
WRITE, on_free IGNORE, no memory reuse.

Steps: the backend answers a WRITE in the background, and closes the device.

Expected, as after every teardown: all I/O ends, the teardown ends in time, the kernel stays
healthy, and the device can be deployed again.
"""

from __future__ import annotations

from fixtures.context import ScenarioContext
from fixtures.scenario import Arrangement, Plan, Selection, scenarios
from fixtures.workload.commands import CommandJob
from fixtures.workload.stamps import LIGHT
from inject.backend_close import BackendClose
from inject.point import Point, State
from targets.target import Device, Transport

PLAN = Plan(BackendClose(), Point(State.BACKGROUND, 1, None), Arrangement.stamped(
    LIGHT, transport=Transport.LOOPBACK,
    device=Device(options={"on_free_cmd_type": "IGNORE", "memory_reuse_type": "NONE"})),
    CommandJob("write", 1), "background-abandoned")


def plans(selection: Selection) -> list[Plan]:
    """Return the plan, for a target whose backend speaks scst_user."""
    return [PLAN] if selection.traits.serves_scst_user else []


@scenarios(plans)
def test_device_is_released(ctx: ScenarioContext) -> None:
    """A device is released although its backend still executes a command in the background."""
    lun = ctx.arrange()
    ctx.hold(lun)           # a WRITE, answered in the background
    ctx.break_device(lun)   # the backend closes the device
    ctx.drain(lun)
    ctx.recover(lun)
