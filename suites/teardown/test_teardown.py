"""Does the target survive losing device, session or backend, wherever its commands are?

Each cell of the matrix (suites.teardown.matrix) is one scenario: the commands at the point end as
they must, the teardown ends, nothing leaks, the device can be deployed again at once.
"""

from __future__ import annotations

import pytest

from fixtures.plugin import accept
from fixtures.scenario import Plan
from results.judge import Judgement
from suites.teardown.matrix import MATRIX, Cell


def plans(target: str, config: pytest.Config) -> list[Plan]:
    """Return a plan for each cell: those of all pairs, or with --full all."""
    if target != "scst":
        return []
    return [Cell(**known).plan() for known in MATRIX.cells(config)]


def test_matrix(judgement: Judgement, request: pytest.FixtureRequest) -> None:
    """One cell."""
    accept(judgement, request)
