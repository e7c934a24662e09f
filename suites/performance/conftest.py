"""What the races stand on; they are run by ``-m performance`` only."""

from __future__ import annotations

import pytest

MARK = "performance"
LINES = pytest.StashKey[list[str]]()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the races out of every run that does not ask for them."""
    if MARK in config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker(MARK)]
    if left_out:
        items[:] = [item for item in items if not item.get_closest_marker(MARK)]
        config.hook.pytest_deselected(items=left_out)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config,
) -> None:
    """Show the tables."""
    lines = config.stash.get(LINES, [])
    if lines:
        terminalreporter.section("IOPS, 4 KiB, scst_local")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def lines(request: pytest.FixtureRequest) -> list[str]:
    """Provide the lines that are shown at the end."""
    return request.config.stash.setdefault(LINES, [])
