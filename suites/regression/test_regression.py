"""Historic defects of SCST, each staged as it was met, and named by the commit that fixed it."""

from __future__ import annotations

import pytest

from fixtures.plugin import accept
from fixtures.scenario import Plan
from results.judge import Judgement
from suites.regression import (
    background_abandoned,
    background_twice,
    c1a7cfc8e6,
    c2c5c12c01,
    c2f9ce8df,
    c3ec348004,
    c4aa7817db,
    c70e0d8143,
    c83745c0a2,
    c784044307,
    cb39b5d850,
    cc5ff6adea,
    lender_killed,
    lun_list_race,
    reply_wakes_nobody,
)

STAGED = (c83745c0a2, c784044307, c3ec348004, c70e0d8143, c2f9ce8df, cc5ff6adea, c4aa7817db,
          c2c5c12c01, c1a7cfc8e6, cb39b5d850, lender_killed,
          background_twice, background_abandoned, lun_list_race,
          reply_wakes_nobody)


RACES = {
    c1a7cfc8e6.PLAN.variant: "without the fix it was not met in 5 runs of 10 s either",
    cb39b5d850.PLAN.variant: "without the fix it was not met in a run of 20 rounds either",
}
"""Defects that nothing can make happen; why a pass says nothing (measured on 6.1 under TCG)."""


def plans(target: str) -> list[Plan]:
    """Return a plan for each defect; they are SCST's alone."""
    return [module.PLAN for module in STAGED] if target == "scst" else []


def test_stays_fixed(judgement: Judgement, request: pytest.FixtureRequest) -> None:
    """What the commit fixed does not happen: the module named after it says what that was."""
    accept(judgement, request)
    for variant, reason in RACES.items():
        if f"-{variant}-" in judgement.scenario:
            pytest.skip(f"a race that cannot be staged was not met: {reason}")
