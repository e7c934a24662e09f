"""Single PDUs that targets are known to die of, each by itself: what a campaign leaves out."""

from __future__ import annotations

import pytest

from fixtures.plugin import accept
from fixtures.scenario import Plan
from inject.point import NOTHING_HELD
from inject.wire import MALFORMED
from results.judge import Judgement
from suites.transport.test_malformed import BESIDE


def plans(target: str) -> list[Plan]:
    """Return a plan for a READ with all of its data, one with a part of them, others."""
    return [Plan(target, MALFORMED.name, point=NOTHING_HELD, workload=None, stamps=BESIDE,
                 variant=variant, story=f"suites.transport.stories:{story}")
            for variant, story in (("read-with-data", "read_with_data"),
                                   ("read-with-some-data", "read_with_some_data"),
                                   ("nameless", "nameless"),
                                   ("abort-misnumbered", "abort_misnumbered"))]


def test_known_traps(judgement: Judgement, request: pytest.FixtureRequest) -> None:
    """An initiator's mistake is no reason to die."""
    accept(judgement, request)
