"""1a7cfc8e6 (2025): scst_cmd_set_sn: remove lockless fast path.

What was broken: commands got their sequence numbers without a lock where a target driver promised
not to start two of a session at the same time. The numbers are the device's, though, not the
session's: with several targets on one device, two got the same number, or one was skipped, and
commands waited in EXEC_CHECK_SN for ever (issue 333). There is a lock now.

What is told: a vdisk_fileio device with one task set for all (TST 0) behind two iSCSI targets,
read through both at once by many jobs for ``SECONDS``. What is asserted: every command ends in
time. It is a race: a pass says that it was not met, the more the longer it ran (see ``--repeat``).
"""

from __future__ import annotations

import time

from fixtures.initiator.disk import Disk
from fixtures.scenario import Plan
from fixtures.stage import Stage
from fixtures.workload.fio import Fio, FioJob
from inject.point import NOTHING_HELD
from results.errors import TargetFailedError
from suites.regression.telling import in_the_open
from targets.target import Device, Transport

SECONDS = 10
JOB = FioJob(rw="randread", iodepth=16, numjobs=2, rate_iops=None, runtime=SECONDS)

PLAN = Plan("scst", "release", Transport.ISCSI, workload=JOB, point=NOTHING_HELD,
            variant="1a7cfc8e6", story=f"{__name__}:story",
            device=Device(handler="vdisk_fileio", options={"tst": 0}, targets=2))


def story(stage: Stage) -> None:
    """Tell it."""
    with in_the_open(stage) as (_, disks, _):
        stage.phase("fault")
        stage.fired()
        drive(stage, disks)


def drive(stage: Stage, disks: list[Disk]) -> None:
    """Read through all disks at once. Raises TargetFailedError when that does not end."""
    assert stage.plan.workload is not None
    loads = [Fio(stage.machine, f"load-{disk.name}", stage.plan.workload, disk, stage.recorder)
             for disk in disks]
    end = time.monotonic() + SECONDS + stage.ladder.step + stage.ladder.command
    for load in loads:
        if load.wait(max(1.0, end - time.monotonic())) is None:
            raise TargetFailedError("reads through two targets at once do not end")
