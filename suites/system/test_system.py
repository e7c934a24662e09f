"""Does the target survive what befalls its machine, by itself and while it loses its device?"""

from __future__ import annotations

import pytest

from fixtures.plugin import accept
from fixtures.scenario import Plan
from results.judge import Judgement
from suites.system.matrix import alone, daemons, matrix, paired, paused


def plans(target: str, config: pytest.Config) -> list[Plan]:
    """Return a plan for each disturbance, daemon and pause, and for each cell of the matrix of
    pairs."""
    return [*alone(target), *daemons(target), *paused(target),
            *(paired(target, cell) for cell in matrix(target).cells(config))]


def test_system(judgement: Judgement, request: pytest.FixtureRequest) -> None:
    """No command is lost for it, acknowledged writes are there, the device goes in time."""
    accept(judgement, request)
