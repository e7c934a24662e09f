# SPDX-License-Identifier: GPL-2.0-or-later
"""Not fixed in 3.11.0-pre (aa5cc2dd70f9): after a background reply, a reply other than COMPLETED.

Defect: after a reply with SCST_EXEC_REPLY_BACKGROUND to an EXEC, SCST answers the initiator and
drops the command. It takes any next reply for the handle as the end of EXEC
(dev_user_process_reply). If that reply is not COMPLETED, dev_user_process_reply_exec reports it
with the command's operation code and dereferences a NULL pointer, since the command is gone. A
second BACKGROUND is sufficient. With on_free CALL, which the specification advises against here,
the reply to ON_FREE_CMD is taken for the end of EXEC, too; SCST then interprets bytes outside that
reply's fields, and fails (observed in 3 of 3 cells of the matrix with parse CALL and
REPLY_AND_GET_MULTI, before the matrix's rule followed the specification).

Steps: a WRITE is answered in the background, its initiator receives GOOD, and the backend replies
in the background again.

Expected: the kernel refuses the second reply, and stays healthy.
"""

from __future__ import annotations

from fixtures.context import ScenarioContext
from fixtures.scenario import Arrangement, Plan, Selection, scenarios
from fixtures.workload.commands import CommandJob
from inject.point import Point, State
from inject.release import Release
from suites.regression.steps import arrange, bring_command, recover, release_and_end
from targets.target import Device, Transport

PLAN = Plan(Release(), Point(State.BACKGROUND, 1, None), Arrangement(
    Transport.LOOPBACK,
    Device(options={"on_free_cmd_type": "IGNORE", "memory_reuse_type": "NONE"}), fio=None),
    CommandJob("write", 1), "background-twice")

BACKGROUND = {"reply_type": "BACKGROUND"}


def plans(selection: Selection) -> list[Plan]:
    """Return the plan, for a target whose backend speaks scst_user."""
    return [PLAN] if selection.traits.serves_scst_user else []


@scenarios(plans)
def test_second_reply_is_refused(ctx: ScenarioContext) -> None:
    """The kernel refuses a second BACKGROUND for a command, with EINVAL."""
    family = arrange(ctx)
    commands = bring_command(ctx, family)       # answered in the background once
    ctx.must(commands.wait_answered(1, ctx.ladder.step), "the initiator has no answer")
    held = ctx.recorder.history().last("backend", "held")
    assert held is not None
    ctx.phase("fault")
    ctx.fired()
    replies = family.backend.call("answer", handle=held.data["handles"][0], fields=BACKGROUND,
                                  deadline=ctx.ladder.step)
    ctx.expect("the kernel refuses a second answer in the background",
               replies[0]["errors"] == ["EINVAL"], str(replies))
    release_and_end(ctx, family, commands)
    recover(ctx, family)
