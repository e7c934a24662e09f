# SPDX-License-Identifier: GPL-2.0-or-later
"""The tables shown after the performance comparison (``-m performance`` only)."""

from __future__ import annotations

import pytest

LINES = pytest.StashKey[list[str]]()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config,
) -> None:
    """Print the tables."""
    lines = config.stash.get(LINES, [])
    if lines:
        terminalreporter.section("IOPS, 4 KiB, scst_local")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def lines(request: pytest.FixtureRequest) -> list[str]:
    """Provide the list of lines that are printed at the end."""
    return request.config.stash.setdefault(LINES, [])
