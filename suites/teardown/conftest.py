# SPDX-License-Identifier: GPL-2.0-or-later
"""The pytest header for the teardown matrix."""

from __future__ import annotations

import pytest

from fixtures.plugin.options import selection
from inject.traits import TeardownCoverage
from suites.teardown.matrix import matrix


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Return a line about the selected part of the matrix, where the target has a matrix."""
    selected = selection(config)
    if selected.traits.teardown is not TeardownCoverage.MATRIX:
        return []
    return [matrix(selected.traits).header("teardown", "point", "mechanism", selected)]
