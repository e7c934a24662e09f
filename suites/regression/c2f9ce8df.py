"""c2f9ce8df (2022): scst_targ: Fix tgt_dev_cmd_count ref counter management.

What was broken: a command was taken off its LUN's count before its response was sent. Replacing
or deleting the LUN, which waits for that count, could free the LUN's state and threads while the
target driver was still sending: general protection fault when it had sent. Since then a command
counts until it has finished.

What is told: an initiator reads 4 MiB and does not take the data in, so the responses stay in
the target driver; then the LUN is replaced by another device. What is asserted: the replacement
waits until the initiator has taken in its data, which is GOOD, and ends in time then.
"""

from __future__ import annotations

from fixtures.scenario import Plan
from fixtures.stage import Stage
from inject.point import NOTHING_HELD
from suites.regression.raw import RawInitiator
from suites.regression.telling import PAGE, must_come, on_stage, write_all
from targets.target import Deployment, Transport
from targets.waiting import wait_until

READS = 4
READ_BYTES = 1 << 20

WATCHED = 3.0
"""Seconds for which the replacement is watched not to end. Without the fix it took 0.1 to 1.0 s."""

PLAN = Plan("scst", "lun-replace", Transport.ISCSI, workload=None, point=NOTHING_HELD,
            variant="c2f9ce8df", story=f"{__name__}:story")


def story(stage: Stage) -> None:
    """Tell it."""
    with on_stage(stage) as (deployment, (disk,), _):
        write_all(stage, (disk, PAGE))
        initiator = RawInitiator(stage, deployment)
        cdb = f"28000000000000{READ_BYTES // stage.plan.device.block_size:04x}00"
        tags = [initiator.send(cdb, READ_BYTES, "read") for _ in range(READS)]
        must_come(stage, lambda: executed(stage) == READS, stage.ladder.step,
                  "the READs were not executed")
        must_come(stage, initiator.jammed, stage.ladder.step, "nothing jammed the responses")
        replace_lun(stage, deployment, initiator, tags)
        initiator.hang_up()
        write_all(stage, (disk, PAGE))


def executed(stage: Stage) -> int:
    """Return how many of the READs the backend has answered."""
    return sum(event.data["point"] == "EXEC" and event.data["action"] == "answered"
               and event.data["bytes"] == READ_BYTES
               for event in stage.recorder.history().select("backend", "step"))


def replace_lun(
    stage: Stage, deployment: Deployment, initiator: RawInitiator, tags: list[int],
) -> None:
    """Replace the LUN while responses are on their way."""
    stage.phase("fault")
    stage.fired()
    with stage.operation("teardown"):
        replacement = deployment.begin("lun-replace")
        early = wait_until(lambda: replacement.done, WATCHED)
        stage.expect("a LUN is not replaced while its responses are being sent", not early,
                     "the replacement ended")
        status = initiator.finish(tags, stage.ladder.command)
        stage.expect("the READs end well", not any(status), str(status))
        replacement.finish(stage.ladder.teardown)
    deployment.heal("lun-replace", stage.ladder.step)
    stage.undone()
