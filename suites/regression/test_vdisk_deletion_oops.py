# SPDX-License-Identifier: GPL-2.0-or-later
"""c5ff6adea (2020): Fix unloading of scst_vdisk while I/O is ongoing.

Defect: the deletion of a virtual device removed its handler before its commands had ended. A
command executed after that had no handler: NULL pointer dereference. Since the fix the handler is
removed after the last command.

Steps: an initiator sends a WRITE to a vdisk_fileio device without its data. The device is deleted.
After its LUN has disappeared, the initiator sends the data.

Expected: the WRITE ends with GOOD, the deletion then ends in time, and the kernel stays healthy.
"""

from __future__ import annotations

from fixtures.context import ScenarioContext
from fixtures.scenario import Arrangement, Plan, Selection, scenarios
from inject.catalogue import FAULTS
from inject.point import NOTHING_HELD
from suites.regression.raw_initiator import RawInitiator
from suites.regression.steps import PAGE, Chain, arrange, must_come, recover, write_all
from targets.scst.sysfs import DEVICES, HANDLERS, TARGETS, begin, finish
from targets.target import Device, Transport

HANDLER = "vdisk_fileio"
WRITE = "2a000000000000000800"
"""WRITE(10) of 8 blocks."""

PLAN = Plan(FAULTS["device-delete"], NOTHING_HELD,
            Arrangement(Transport.ISCSI, Device(handler=HANDLER), fio=None), variant="c5ff6adea")


def plans(selection: Selection) -> list[Plan]:
    """Return the plan, for a target whose backend speaks scst_user."""
    return [PLAN] if selection.traits.serves_scst_user else []


@scenarios(plans)
def test_deletion_waits_for_the_write(ctx: ScenarioContext) -> None:
    """A WRITE whose data arrive after the deletion of its device still has its handler."""
    family = arrange(ctx)
    device, address = ctx.plan.arrangement.device.name, family.deployment.address
    write_all(ctx, (family.disk, PAGE))
    initiator = RawInitiator(ctx, family.deployment)
    tag = initiator.send(WRITE, PAGE, "write")
    initiator.wait_active(1)
    lun = f"{TARGETS}/iscsi/{address.iqn}/luns/{address.lun}"
    ctx.phase("fault")
    ctx.fired()
    with ctx.operation("teardown"):
        deletion = begin(ctx.machine, f"{HANDLERS}/{HANDLER}/mgmt", f"del_device {device}")
        ctx.phase("teardown")
        must_come(ctx, lambda: not ctx.machine.exists(lun), ctx.ladder.step,
                  "the LUN of a device that is deleted stays")
        status = initiator.finish([tag], ctx.ladder.command)
        finish(ctx.machine, deletion, "the deletion", ctx.ladder.teardown)
        ctx.must(ctx.wait_until(lambda: not ctx.machine.exists(f"{DEVICES}/{device}"),
                            ctx.ladder.step), "the device stays")
    ctx.expect("a WRITE whose data come late is carried out", status == [0], str(status))
    ctx.undone()
    initiator.hang_up()
    lost = Chain(ctx, [(family.disk, PAGE)])
    lost.begin()
    lost.wait(ctx.ladder.command)
    recover(ctx, family)
