# SPDX-License-Identifier: GPL-2.0-or-later
"""The path through the files in docs/architecture.md: each file imports the next."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]

SMOKE = ("suites/smoke/test_smoke.py", "fixtures/context.py", "inject/backend_close.py",
         "targets/backend/client.py", "targets/lio/target.py")
CELL = ("suites/teardown/test_teardown.py", "suites/teardown/matrix.py", "fixtures/context.py",
        "fixtures/points.py", "inject/backend_close.py", "targets/scst/target.py")


def imported(path: str) -> set[str]:
    """Return the modules that a file imports, as paths."""
    tree = ast.parse((TOP / path).read_text())
    return {f"{node.module.replace('.', '/')}.py" for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module}


@pytest.mark.parametrize(("way", "most"), [(SMOKE, 5), (CELL, 6)], ids=["smoke", "cell"])
def test_the_way_is_short_and_written_down(way: tuple[str, ...], most: int) -> None:
    page = (TOP / "docs/architecture.md").read_text()
    assert len(way) <= most
    assert [path for path in way if path not in page and not path.startswith("inject/")] == []


def test_each_file_leads_to_the_next() -> None:
    assert {"fixtures/context.py", "inject/backend_close.py"} <= imported(SMOKE[0])
    assert {"fixtures/context.py", "suites/teardown/matrix.py"} <= imported(CELL[0])
    assert "fixtures/points.py" in imported("fixtures/context.py")
    for target in (SMOKE[-1], CELL[-1]):
        assert "targets/backend/client.py" in imported(target)
