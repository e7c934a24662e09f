"""The matrix's options."""

from __future__ import annotations

import pytest

from suites.teardown import matrix


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say how much of the matrix is run."""
    points = list(matrix.crossings())
    crossed = [each for each in points if each[2] is None]
    which = "every legal cell" if config.getoption("full") else \
        f"all legal pairs, seed {config.getoption('matrix_seed')}"
    return [f"teardown matrix: {which}; {len(crossed)} of {len(points)} crossings of point and "
            "mechanism are legal"]
