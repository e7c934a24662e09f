# SPDX-License-Identifier: GPL-2.0-or-later
"""b39b5d850 (2014): Fix race between scst_resume_activity() and scst_init_thread().

Defect: commands that arrive while SCST is suspended wait in a list, which the thread scst_initd
processes when activity is resumed. The wakeup of the resume could fall between the thread's check
of the list and its sleep, and was lost: the commands then waited until the next command arrived.

Steps: SCST is suspended and resumed ``ROUNDS`` times. In each round one WRITE is issued while SCST
is suspended, and no other command.

Expected: each WRITE ends in time. The race's window is a few instructions long: a pass proves only
that the race did not occur.
"""

from __future__ import annotations

from fixtures.context import ScenarioContext
from fixtures.scenario import Arrangement, Plan, Selection, scenarios
from inject.point import NOTHING_HELD
from inject.release import Release
from suites.regression.steps import PAGE, Chain, arrange, recover
from targets.scst.sysfs import SCST
from targets.target import Transport

ROUNDS = 20
SUSPEND = f"{SCST}/suspend"

PLAN = Plan(Release(), NOTHING_HELD, Arrangement(Transport.LOOPBACK, fio=None),
            variant="b39b5d850")

NOT_MET = ("a race that cannot be staged was not met: "
           "without the fix it was not met in a run of 20 rounds either")
"""Measured on 6.1 under TCG."""


def plans(selection: Selection) -> list[Plan]:
    """Return the plan, for a target whose backend speaks scst_user."""
    return [PLAN] if selection.traits.serves_scst_user else []


@scenarios(plans)
def test_write_ends_once_activity_is_resumed(ctx: ScenarioContext) -> None:
    """A command that arrived while SCST was suspended does not wait for the next command."""
    ctx.unproven = NOT_MET
    family = arrange(ctx)
    chain = Chain(ctx, [(family.disk, PAGE)] * ROUNDS, stops=True)
    ctx.phase("fault")
    ctx.fired()
    for number in range(1, ROUNDS + 1):
        ctx.machine.write(SUSPEND, "0")
        chain.begin()
        ctx.must(family.trace.wait(lambda ledger: ledger.in_flight == 1, ctx.ladder.step),
                 "a write was not issued")
        ctx.machine.write(SUSPEND, "-1")
        chain.wait(ctx.ladder.command, number)
    recover(ctx, family)
