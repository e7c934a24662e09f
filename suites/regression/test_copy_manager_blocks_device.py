# SPDX-License-Identifier: GPL-2.0-or-later
"""4aa7817db (2019): scst_copy_mgr: Avoid that device deletion sporadically causes a hang.

Defect: the copy manager reads the designators of each device that is added to it (INQUIRY, page
83h), and blocks the device meanwhile. If the INQUIRY was repeated after the LUN had been deleted,
it found no LUN and the device stayed blocked: all later commands, and the device's deletion, waited
forever.

Steps: the device is added as a LUN of the copy manager, whose INQUIRY is held. A WRITE from the
initiator waits behind it. The backend answers the INQUIRY with BUSY, and the LUN is deleted before
the copy manager repeats the INQUIRY (after SCST_CM_RETRIES_WAIT, 1 s).

Expected: the WRITE ends with GOOD. SCST reports the failure of its INQUIRY as a critical error: a
known issue (suites/known_issues.toml).
"""

from __future__ import annotations

from fixtures.context import ScenarioContext
from fixtures.scenario import Arrangement, Plan, Selection, scenarios
from inject.point import Point
from inject.release import Release
from suites.regression.steps import PAGE, Chain, arrange, recover, wait_held, write_all
from targets.scst.sysfs import TARGETS, write
from targets.target import Transport

LUNS = f"{TARGETS}/copy_manager/copy_manager_tgt/luns/mgmt"
FREE_LUN = 5
INQUIRY = 0x12

PLAN = Plan(Release(), Point(count=1, direction="read", opcodes=(INQUIRY,)),
            Arrangement(Transport.LOOPBACK, fio=None), variant="4aa7817db")


def plans(selection: Selection) -> list[Plan]:
    """Return the plan, for a target whose backend speaks scst_user."""
    return [PLAN] if selection.traits.serves_scst_user else []


@scenarios(plans)
def test_write_behind_the_inquiry_ends(ctx: ScenarioContext) -> None:
    """A device is unblocked although the copy manager's INQUIRY fails."""
    family = arrange(ctx)
    backend, step = family.backend, ctx.ladder.step
    chain = Chain(ctx, [(family.disk, PAGE)])
    backend.hold("EXEC", 1, opcodes=[INQUIRY], deadline=step)
    write(ctx.machine, LUNS, f"add {ctx.plan.arrangement.device.name} {FREE_LUN}", step)
    wait_held(ctx, family, 1)
    chain.begin()
    ctx.must(family.trace.wait(lambda ledger: ledger.in_flight == 1, step),
             "the write was not issued")
    ctx.phase("fault")
    ctx.fired()
    backend.call("answer", deadline=step, fields={"status": "BUSY"})
    write(ctx.machine, LUNS, f"del {FREE_LUN}", step)
    errors = chain.wait(ctx.ladder.command)
    ctx.expect("the write that waits for the copy manager ends with GOOD", not any(errors),
               str(errors))
    write_all(ctx, (family.disk, PAGE))
    recover(ctx, family)
