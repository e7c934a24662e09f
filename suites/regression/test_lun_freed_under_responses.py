# SPDX-License-Identifier: GPL-2.0-or-later
"""c2f9ce8df (2022): scst_targ: Fix tgt_dev_cmd_count ref counter management.

Defect: a command was subtracted from its LUN's count before its response was sent. A replacement or
deletion of the LUN, which waits for that count, could free the LUN's state and threads while the
target driver was still sending: a general protection fault after the sending. Since the fix a
command is counted until it has finished.

Steps: an initiator requests 4 MiB and does not receive the data, so the responses stay in the
target driver. Then the LUN is replaced by another device.

Expected: the replacement waits until the initiator has received its data, with status GOOD, and
then ends in time.
"""

from __future__ import annotations

from fixtures.context import ScenarioContext
from fixtures.scenario import Arrangement, Plan, Selection, scenarios
from inject.catalogue import FAULTS
from inject.point import NOTHING_HELD
from suites.regression.raw_initiator import RawInitiator
from suites.regression.steps import PAGE, arrange, must_come, recover, write_all
from targets.target import Transport

REPLACE = "lun-replace"
READS = 4
READ_BYTES = 1 << 20

WATCHED = 3.0
"""Seconds during which the replacement must not end. Without the fix it ended in 0.1 to 1.0 s."""

PLAN = Plan(FAULTS[REPLACE], NOTHING_HELD, Arrangement(Transport.ISCSI, fio=None),
            variant="c2f9ce8df")


def plans(selection: Selection) -> list[Plan]:
    """Return the plan, for a target whose backend speaks scst_user."""
    return [PLAN] if selection.traits.serves_scst_user else []


@scenarios(plans)
def test_replacement_waits_for_responses(ctx: ScenarioContext) -> None:
    """A LUN is not replaced before its last response has been sent."""
    family = arrange(ctx)
    write_all(ctx, (family.disk, PAGE))
    initiator = RawInitiator(ctx, family.deployment)
    blocks = READ_BYTES // ctx.plan.arrangement.device.block_size
    read_10 = f"28000000000000{blocks:04x}00"
    tags = [initiator.send(read_10, READ_BYTES, "read") for _ in range(READS)]
    must_come(ctx, lambda: executed(ctx) == READS, ctx.ladder.step, "the READs were not executed")
    must_come(ctx, initiator.jammed, ctx.ladder.step, "nothing jammed the responses")
    ctx.phase("fault")
    ctx.fired()
    with ctx.operation("teardown"):
        replacement = family.deployment.begin(REPLACE)
        early = ctx.wait_until(lambda: replacement.done, WATCHED)
        ctx.expect("a LUN is not replaced while its responses are being sent", not early,
                   "the replacement ended")
        status = initiator.finish(tags, ctx.ladder.command)
        ctx.expect("the READs end with GOOD", not any(status), str(status))
        replacement.finish(ctx.ladder.teardown)
    family.deployment.heal(REPLACE, ctx.ladder.step)
    ctx.undone()
    initiator.hang_up()
    write_all(ctx, (family.disk, PAGE))
    recover(ctx, family)


def executed(ctx: ScenarioContext) -> int:
    """Return the number of the READs that the backend has answered."""
    return sum(event.data["point"] == "EXEC" and event.data["action"] == "answered"
               and event.data["bytes"] == READ_BYTES
               for event in ctx.recorder.history().select("backend", "step"))
