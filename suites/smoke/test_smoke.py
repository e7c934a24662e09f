"""The main job: does the target survive losing its device with four WRITEs in its hands?"""

from __future__ import annotations

from collections.abc import Iterator

from fixtures.context import ScenarioContext
from fixtures.scenario import Arrangement, Plan, Selection, scenarios
from inject.backend_close import BackendClose
from inject.backend_end import KILL
from inject.lun_remove import LunRemove
from inject.point import Point
from inject.release import Release
from targets.target import Device, Transport

FAULTS = (Release(), BackendClose(), KILL, LunRemove())

NO_BACKEND = (Release(), LunRemove())
"""Faults of a device that no backend of ours serves."""


def plans(selection: Selection) -> Iterator[Plan]:
    """Yield a plan for each fault; with scst_user for each transport and way of ON_FREE_CMD."""
    traits = selection.traits
    if traits.serves_scst_user:
        for transport in traits.transports:
            for on_free in ("CALL", "IGNORE"):
                device = Device(options={"on_free_cmd_type": on_free})
                for fault in FAULTS:
                    yield Plan(fault, arrangement=Arrangement(transport, device),
                               variant=f"on-free-{on_free.lower()}")
        return
    for fault in FAULTS:
        yield Plan(fault)
    if Transport.LOOPBACK in traits.transports:
        yield Plan(BackendClose(), arrangement=Arrangement(Transport.LOOPBACK))
    for variant, options in traits.file_devices.items():
        for fault in NO_BACKEND:
            yield Plan(fault, Point(count=0), Arrangement(device=Device(options=options)),
                       variant=variant)


@scenarios(plans)
def test_teardown_with_writes_held(ctx: ScenarioContext) -> None:
    """Every command ends in time, the teardown ends, the kernel stays healthy, the device can be
    deployed again."""
    lun = ctx.arrange()     # the device deployed, logged in to, under fio's load
    ctx.hold(lun)           # four WRITEs, in the backend's hands
    ctx.break_device(lun)   # what the fault does: released, or its device goes under them
    ctx.drain(lun)          # every I/O in flight has ended, and fio too
    ctx.recover(lun)        # removed, deployed again at once, verified, unloaded
