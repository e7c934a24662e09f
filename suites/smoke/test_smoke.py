# SPDX-License-Identifier: GPL-2.0-or-later
"""The main scenario: does the target survive the loss of its device while four WRITEs are held?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fixtures.context import ScenarioContext
from fixtures.scenario import Arrangement, Plan, Selection, scenarios
from fixtures.workload.commands import CommandJob
from fixtures.workload.fio import FioJob
from fixtures.workload.stamps import LIGHT
from inject.backend_close import BackendClose
from inject.backend_end import KILL
from inject.lun_remove import LunRemove
from inject.point import Point
from inject.release import Release
from targets.target import Device, Transport

ARRANGED = Arrangement(fio=FioJob(rate_iops=160), stamps=LIGHT, bystander=True)
"""fio, stamped blocks beside it, and another device that must not notice. The rate leaves the host
time to read all events as they come."""

WRITES = CommandJob("write", 4)
"""The commands at the point: WRITE(16), whose status, sense data and residual are judged."""

FAULTS = (Release(), BackendClose(), KILL, LunRemove())

NO_BACKEND = (Release(), LunRemove())
"""Faults for a device without one of the project's backends."""


def plans(selection: Selection) -> Iterator[Plan]:
    """Yield a plan for each fault; with scst_user, for each transport and on_free_cmd_type."""
    traits = selection.traits
    if traits.serves_scst_user:
        for transport in traits.transports:
            for on_free in ("CALL", "IGNORE"):
                device = Device(options={"on_free_cmd_type": on_free})
                for fault in FAULTS:
                    yield Plan(fault, commands=WRITES, variant=f"on-free-{on_free.lower()}",
                               arrangement=replace(ARRANGED, transport=transport, device=device))
        return
    for fault in FAULTS:
        yield Plan(fault, arrangement=ARRANGED, commands=WRITES)
    if Transport.LOOPBACK in traits.transports:
        yield Plan(BackendClose(), commands=WRITES,
                   arrangement=replace(ARRANGED, transport=Transport.LOOPBACK))
    for variant, options in traits.file_devices.items():
        for fault in NO_BACKEND:
            yield Plan(fault, Point(count=0), variant=variant,
                       arrangement=replace(ARRANGED, device=Device(options=options)))


@scenarios(plans)
def test_teardown_with_writes_held(ctx: ScenarioContext) -> None:
    """Every command ends in time and as it must, the teardown ends, the kernel stays healthy, no
    acknowledged write is lost, another device does not notice, the device can be deployed again.
    """
    lun = ctx.arrange()     # deploy bystander and device, log in, start fio and stamped I/O
    ctx.hold(lun)           # hold four WRITEs in the backend, if it is the project's
    ctx.break_device(lun)   # fire the fault: release the WRITEs, or remove their device
    ctx.drain(lun)          # wait until every I/O in flight, and fio, has ended
    ctx.recover(lun)        # remove, deploy again at once, verify, unload
