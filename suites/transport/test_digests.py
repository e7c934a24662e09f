# SPDX-License-Identifier: GPL-2.0-or-later
"""Wrong header and data digests: of NOP-Out, SCSI Command, immediate data and Data-Out PDUs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fixtures.context import ScenarioContext
from fixtures.scenario import Arrangement, Plan, Selection, scenarios
from fixtures.workload.stamps import LIGHT
from inject.point import NOTHING_HELD
from inject.wire import DIGESTS
from suites.transport.digests import ALLOWED, CLAUSE, Rule
from targets.target import Device

MODULE = "fixtures.initiator.raw.digests_guest"

ANSWER_WITHIN = 1.5
"""Seconds to wait for a response to a PDU with a wrong digest."""

CASE = 6.0
"""Maximum duration of one case including its logins, in seconds."""


def plans(selection: Selection) -> list[Plan]:
    """Return one plan, which runs all cases one after another."""
    device = Device(session=selection.traits.wire.digest_session)
    return [Plan(DIGESTS, NOTHING_HELD, Arrangement.stamped(LIGHT, device=device))]


@scenarios(plans)
def test_wrong_digests(ctx: ScenarioContext) -> None:
    """The target responds to each wrong digest as the standard requires, and writes no such data.
    """
    lun = ctx.arrange()
    with ctx.broken(lun):
        address = lun.deployment.address
        program = ctx.program("raw initiator", MODULE, {  # a session for each case
            "portal": address.portal, "iqn": address.iqn, "lun": address.lun,
            "reaction_bound": ANSWER_WITHIN})
        program.wait_event("end", CASE * len(ALLOWED))
        seen = {str(each["case"]): each for each in program.events_of("digest")}
        for case, rule in ALLOWED.items():
            expect_digest(ctx, case, rule, seen.get(case))
    ctx.drain(lun)
    ctx.recover(lun)


def expect_digest(
    ctx: ScenarioContext, case: str, rule: Rule, seen: Mapping[str, Any] | None,
) -> None:
    """Expect that a case's responses meet the rule; note responses that are unusual for the target.

    ``seen``: the program's event for the case; None: there was no event.
    """
    if seen is None:
        ctx.expect(f"{case}: the target responds", False, "the program ended before this case")
        return
    if not seen["agreed"]:
        ctx.expect(f"{case}: the target uses digests", False)
        return
    answers, kept = tuple(seen["answers"]), seen["kept"]
    ctx.expect(f"{case}: {rule.words}", rule.met(answers), str(answers), CLAUSE)
    if kept is not None:
        ctx.expect(f"{case}: the block is not written", bool(kept), clause=CLAUSE)
    usual = ctx.traits.wire.digest_answers.to(case)
    if answers != usual:
        ctx.note("otherwise", case=case, said=answers, did=usual)
