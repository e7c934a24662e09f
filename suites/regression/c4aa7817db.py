"""4aa7817db (2019): scst_copy_mgr: Avoid that device deletion sporadically causes a hang.

What was broken: the copy manager asks every new device of its own for its designators (INQUIRY,
page 83h) and blocks it meanwhile. Where that INQUIRY could no longer find its LUN, because it
was repeated after the LUN had gone, nobody unblocked the device: all later commands waited for
ever, and with them the device's deletion.

What is told: the device is made a LUN of the copy manager, and its INQUIRY held; a WRITE from the
initiator waits behind it. The INQUIRY is answered with BUSY, and before the copy manager repeats
it (after SCST_CM_RETRIES_WAIT, 1 s) the LUN is deleted. What is asserted: the WRITE ends well.
That SCST calls its INQUIRY's failure a critical error is known (suites/known_issues.toml).
"""

from __future__ import annotations

from fixtures.scenario import Plan
from fixtures.stage import Stage
from inject.point import Point
from suites.regression.telling import PAGE, Chain, in_the_open, wait_held, write_all
from targets.scst.sysfs import TARGETS, write
from targets.target import Transport

LUNS = f"{TARGETS}/copy_manager/copy_manager_tgt/luns/mgmt"
FREE_LUN = 5
INQUIRY = 0x12

PLAN = Plan("scst", "release", Transport.LOOPBACK, workload=None, variant="4aa7817db",
            point=Point(count=1, direction="read", opcodes=(INQUIRY,)), story=f"{__name__}:story")


def story(stage: Stage) -> None:
    """Tell it."""
    machine, step = stage.machine, stage.ladder.step
    with in_the_open(stage) as (deployment, (disk,), trace):
        chain = Chain(stage, [(disk, PAGE)])
        backend = deployment.backend
        backend.hold("EXEC", 1, opcodes=[INQUIRY], deadline=step)
        write(machine, LUNS, f"add {stage.plan.device.name} {FREE_LUN}", step)
        wait_held(stage, deployment, 1)
        chain.begin()
        stage.must(trace.wait(lambda ledger: ledger.in_flight == 1, step),
                   "the write was not issued")
        stage.phase("fault")
        stage.fired()
        backend.call("answer", deadline=step, fields={"status": "BUSY"})
        write(machine, LUNS, f"del {FREE_LUN}", step)
        errors = chain.wait(stage.ladder.command)
        stage.expect("the write that waits for the copy manager ends well", not any(errors),
                     str(errors))
        write_all(stage, (disk, PAGE))
