# SPDX-License-Identifier: GPL-2.0-or-later
"""Not fixed in 3.11.0-pre (aa5cc2dd70f9): SCST_USER_REPLY_CMD wakes no thread.

Defect: a thread that replies to PARSE or ALLOC_MEM moves the command on to EXEC, and adds it to the
list of ready commands without a wakeup (dev_user_add_to_ready wakes in interrupt context only): the
replying thread is expected to fetch next. If the thread replies with SCST_USER_REPLY_CMD and does
not fetch, the command stays in the list until another command arrives, while all fetching threads
sleep in the ioctl. Under load the defect has no visible effect.

Steps: a WRITE, the only command, is held in PARSE. A thread that does not fetch replies to it.

Expected: the WRITE is executed in time.
"""

from __future__ import annotations

from fixtures.context import ScenarioContext
from fixtures.scenario import Arrangement, Plan, Selection, scenarios
from fixtures.workload.commands import CommandJob
from inject.point import Point, State
from inject.release import Release
from suites.regression.steps import arrange, bring_command, recover, release_and_end
from targets.target import Device, Transport

PLAN = Plan(Release(), Point(State.PARSE, 1, None), Arrangement(
    Transport.LOOPBACK, Device(options={"parse_type": "CALL"}, threads=4), fio=None),
    CommandJob("write", 1), "reply-wakes-nobody")

IN_TIME = 2.0
"""Seconds until the WRITE must have ended: less than the initiator's command timer, whose ABORT
TASK would wake a thread."""


def plans(selection: Selection) -> list[Plan]:
    """Return the plan, for a target whose backend speaks scst_user."""
    return [PLAN] if selection.traits.serves_scst_user else []


@scenarios(plans)
def test_parsed_command_is_fetched(ctx: ScenarioContext) -> None:
    """A command proceeds from PARSE to EXEC although no other command arrives."""
    family = arrange(ctx)
    commands = bring_command(ctx, family)       # held in PARSE
    ctx.phase("fault")
    ctx.fired()
    family.backend.call("release", nudge=False, deadline=ctx.ladder.step)
    ctx.expect("a command whose PARSE was answered by SCST_USER_REPLY_CMD is carried out",
               commands.wait_answered(1, IN_TIME), f"not within {IN_TIME:g} s")
    release_and_end(ctx, family, commands)
    recover(ctx, family)
