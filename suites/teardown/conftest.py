"""The header of a run of the matrix."""

from __future__ import annotations

import pytest

from fixtures.plugin.options import selection
from inject.traits import TeardownCoverage
from suites.teardown.matrix import matrix


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Report how much of the matrix is run, where the target has it."""
    selected = selection(config)
    if selected.traits.teardown is not TeardownCoverage.MATRIX:
        return []
    return [matrix(selected.traits).header("teardown", "point", "mechanism", selected)]
