"""A wrong header or data digest: of a ping, a command, immediate data, Data-Out."""

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
"""Seconds in which a PDU with a wrong digest is answered, or not at all."""

CASE = 6.0
"""Seconds that a case of a wrong digest may take, with its logins."""


def plans(selection: Selection) -> list[Plan]:
    """Return the one plan: all cases, one after another."""
    device = Device(session=selection.traits.wire.digest_session)
    return [Plan(DIGESTS, NOTHING_HELD, Arrangement.stamped(LIGHT, device=device))]


@scenarios(plans)
def test_wrong_digests(ctx: ScenarioContext) -> None:
    """The target answers each as the standard wants, and writes nothing of it."""
    lun = ctx.arrange()
    with ctx.broken(lun):
        address = lun.deployment.address
        program = ctx.program("raw initiator", MODULE, {  # a session for each case
            "portal": address.portal, "iqn": address.iqn, "lun": address.lun,
            "patience": ANSWER_WITHIN})
        program.wait_event("end", CASE * len(ALLOWED))
        seen = {str(each["case"]): each for each in program.events_of("digest")}
        for case, rule in ALLOWED.items():
            expect_digest(ctx, case, rule, seen.get(case))
    ctx.drain(lun)
    ctx.recover(lun)


def expect_digest(
    ctx: ScenarioContext, case: str, rule: Rule, seen: Mapping[str, Any] | None,
) -> None:
    """Expect a case's answers to keep the rule, and note where they are not this target's usual.

    ``seen``: what the program reported of the case; None: nothing.
    """
    if seen is None:
        ctx.expect(f"{case}: the target says something", False, "the program did not get there")
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
