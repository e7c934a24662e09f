"""c5ff6adea (2020): Fix unloading of scst_vdisk while I/O is ongoing.

What was broken: a virtual device that was deleted lost its handler before its commands had ended.
One that came to be executed then found nothing behind the device: NULL pointer dereference in the
handler. Since then the handler goes after the last command.

What is told: an initiator sends a WRITE to a vdisk_fileio device but not its data; the device is
deleted; once its LUN has gone, the data are sent. What is asserted: the WRITE ends (GOOD, or with
the sense of a LUN that has gone), the deletion ends in time after it, and the kernel stays
healthy.
"""

from __future__ import annotations

from fixtures.scenario import Plan
from fixtures.stage import Stage
from inject.point import NOTHING_HELD
from suites.regression.raw import RawInitiator
from suites.regression.telling import PAGE, Chain, must_come, on_stage, write_all
from targets.scst.sysfs import DEVICES, HANDLERS, TARGETS, begin, finish
from targets.target import Device, Transport
from targets.waiting import wait_until

HANDLER = "vdisk_fileio"
WRITE = "2a000000000000000800"
"""WRITE(10) of 8 blocks."""

PLAN = Plan("scst", "device-delete", Transport.ISCSI, workload=None, point=NOTHING_HELD,
            variant="c5ff6adea", device=Device(handler=HANDLER), story=f"{__name__}:story")


def story(stage: Stage) -> None:
    """Tell it."""
    with on_stage(stage) as (deployment, (disk,), _):
        write_all(stage, (disk, PAGE))
        initiator = RawInitiator(stage, deployment)
        tag = initiator.send(WRITE, PAGE, "write")
        initiator.wait_active(1)
        lun = f"{TARGETS}/iscsi/{deployment.address.iqn}/luns/{deployment.address.lun}"
        stage.phase("fault")
        stage.fired()
        with stage.operation("teardown"):
            deletion = begin(stage.machine, f"{HANDLERS}/{HANDLER}/mgmt",
                             f"del_device {stage.plan.device.name}")
            stage.phase("teardown")
            must_come(stage, lambda: not stage.machine.exists(lun), stage.ladder.step,
                      "the LUN of a device that is deleted stays")
            status = initiator.finish([tag], stage.ladder.command)
            finish(stage.machine, deletion, "the deletion", stage.ladder.teardown)
            stage.must(wait_until(lambda: not stage.machine.exists(
                f"{DEVICES}/{stage.plan.device.name}"), stage.ladder.step), "the device stays")
        stage.expect("a WRITE whose data come late is carried out", status == [0], str(status))
        stage.undone()
        initiator.hang_up()
        lost = Chain(stage, [(disk, PAGE)])
        lost.begin()
        lost.wait(stage.ladder.command)
