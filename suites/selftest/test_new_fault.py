# SPDX-License-Identifier: GPL-2.0-or-later
"""A new fault is one module and one line: in a copy of the checkout it appears in the matrix."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from suites.selftest.collected import TOP, collect

MODULE = '''
"""The backend closes its device, a second time."""

from inject.backend_close import BackendClose
from inject.fault import Fault

MECHANISMS: tuple[Fault, ...] = (BackendClose("backend-close-again"),)
'''

LINE = '    "close_again",\n'
BEFORE_LINE = re.compile(r'(?m)^NEWER: tuple\[str, ...\] = \(\n(    "\w+",\n)*')
"""A line is appended: the modules registered before it stay in front."""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the checkout with the module and the line."""
    top = tmp_path_factory.mktemp("checkout")
    for room in ("suites", "fixtures", "targets", "inject", "results"):
        shutil.copytree(TOP / room, top / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("conftest.py", "pyproject.toml"):
        shutil.copy(TOP / name, top)
    (top / "inject/close_again.py").write_text(MODULE)
    catalogue = top / "inject/catalogue.py"
    text = catalogue.read_text()
    text, found = BEFORE_LINE.subn(lambda match: match[0] + LINE, text)
    assert found == 1
    catalogue.write_text(text)
    return top


@pytest.mark.parametrize("target", ["scst", "tgt"])
def test_a_new_fault_comes_into_the_matrix(target: str, checkout: Path) -> None:
    """The new scenarios follow the existing ones, whose ids do not change."""
    before = list(collect(target)["teardown"])
    after = list(collect(target, checkout, ("teardown",))["teardown"])
    assert after[:len(before)] == before
    assert len(after) > len(before)
    assert all(each.endswith("-backend-close-again") for each in after[len(before):])
