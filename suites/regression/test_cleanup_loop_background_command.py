"""Not fixed in 3.11.0-pre (aa5cc2dd70f9): a backend that dies with commands in the background.

Defect: SCST_EXEC_REPLY_BACKGROUND takes a reference of the command which the backend's COMPLETED
puts back (dev_user_process_reply_exec). When the backend closes the device before that, the
reference stays: the command has its answer, so it is not among those that are unjammed, and it
stays in the device's table. The cleanup thread loops until the table is empty, for ever; the
release of the device waits for it in D state. All steps are as the specification wants them: a
WRITE, on_free IGNORE, no reuse of its memory.

Steps: a WRITE is answered in the background, and the backend closes its device.

Expected: as after every teardown: all I/O ends, the teardown ends in time, the kernel stays
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
    """A device goes although a command of its backend is still in the background."""
    lun = ctx.arrange()
    ctx.hold(lun)           # a WRITE, answered in the background
    ctx.break_device(lun)   # the backend closes the device
    ctx.drain(lun)
    ctx.recover(lun)
