"""What is said before the matrix is run."""

from __future__ import annotations

import pytest

from suites.teardown.matrix import MATRIX


def pytest_report_header(config: pytest.Config) -> str:
    """Say how much of the matrix is run."""
    return MATRIX.header("teardown", "point", "mechanism", config)
