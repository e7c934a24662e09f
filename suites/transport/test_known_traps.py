"""Single PDUs that targets are known to die of, each by itself: what a campaign leaves out."""

from __future__ import annotations

import pytest

from fixtures.plugin import accept
from fixtures.scenario import Plan
from inject.point import NOTHING_HELD
from inject.wire import MALFORMED
from results.judge import Judgement
from suites.transport.test_malformed import BESIDE
from suites.transport.traps import TRAPS


def plans(target: str) -> list[Plan]:
    """Return a plan for each trap of the target; other targets' are sent it by test_malformed."""
    return [Plan(target, MALFORMED.name, point=NOTHING_HELD, workload=None, stamps=BESIDE,
                 variant=name, story="suites.transport.stories:trap")
            for name, trap in TRAPS.items() if target in trap.targets]


def test_known_traps(judgement: Judgement, request: pytest.FixtureRequest) -> None:
    """An initiator's mistake is no reason to die."""
    accept(judgement, request)
