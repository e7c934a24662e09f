# SPDX-License-Identifier: GPL-2.0-or-later
"""Guest code: its path shows where it runs, and it imports only modules present in a guest."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.machine.agent_guest import ZYGOTE_MODULES
from fixtures.machine.initramfs import guest_code

PROJECT = Path(__file__).parents[2]
SHIPPED = {name for name, _ in guest_code(PROJECT)}
"""Paths of the modules that a guest can import."""


def in_guest(path: Path) -> bool:
    """Return whether a module runs in the guest only, by its path."""
    return any(part.endswith("_guest") for part in path.with_suffix("").parts)


FILES = sorted(
    str(path.relative_to(PROJECT))
    for room in ("suites", "fixtures", "targets", "inject", "results")
    for path in (PROJECT / room).rglob("*.py"))
GUEST_ONLY = [name for name in FILES
              if not name.startswith("suites/") and in_guest(Path(name))]
HOST = [name for name in FILES
        if not name.startswith("suites/selftest/") and not in_guest(Path(name))]


def imported(name: str) -> Iterator[str]:
    """Yield the dotted names of the modules that a module imports."""
    for node in ast.walk(ast.parse((PROJECT / name).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}: a relative import"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def project_files(dotted: str) -> list[str]:
    """Return the path of a module or package of the project; empty for any other name."""
    path = dotted.replace(".", "/")
    return [name for name in (f"{path}.py", f"{path}/__init__.py") if (PROJECT / name).is_file()]


def closure(name: str) -> set[str]:
    """Return the paths of all project modules that a module imports, itself included."""
    found, left = set(), [name]
    while left:
        one = left.pop()
        if one not in found:
            found.add(one)
            left += [path for dotted in imported(one) for path in project_files(dotted)]
    return found


@pytest.mark.parametrize("module", ZYGOTE_MODULES)
def test_programs_of_the_guest_show_it_by_their_names(module: str) -> None:
    path, = project_files(module)
    assert in_guest(Path(path))


@pytest.mark.parametrize("name", GUEST_ONLY)
def test_guest_code_imports_what_the_guest_has(name: str) -> None:
    for one in closure(name):
        assert one in SHIPPED
        for dotted in imported(one):
            known = dotted.partition(".")[0] in sys.stdlib_module_names
            of_a_module = project_files(dotted.rpartition(".")[0])
            assert known or project_files(dotted) or of_a_module, f"{one} imports {dotted}"


@pytest.mark.parametrize("name", HOST)
def test_host_code_runs_no_guest_code(name: str) -> None:
    """The host imports at most constants of the agent: its name, and its port's."""
    guests = {path for dotted in imported(name) for path in project_files(dotted)
              if in_guest(Path(path))}
    assert guests <= {"fixtures/machine/agent_guest.py"}
