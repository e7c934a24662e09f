# SPDX-License-Identifier: GPL-2.0-or-later
"""The house: the rooms' imports, and the places of facts about targets and faults.

Rooms, from left to right: suites, fixtures, targets and inject, results (architecture in docs/).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from fixtures.plugin.collection import OPT_IN
from targets.catalogue import TARGETS

TOP = Path(__file__).parents[2]

MAY_IMPORT: Mapping[str, frozenset[str]] = {
    "suites": frozenset({"suites", "fixtures", "targets", "inject", "results"}),
    "fixtures": frozenset({"fixtures", "targets", "inject", "results"}),
    "targets": frozenset({"targets", "inject", "results"}),
    "inject": frozenset({"inject", "results"}),
    "results": frozenset({"results"}),
}
"""Rooms that a room may import from: itself, and the rooms to its right."""

CONTRACTS = frozenset({
    "inject", "inject.contract", "inject.fault", "inject.point", "inject.traits", "inject.waiting"})
"""Modules of inject that targets may import: its contracts, and no fault."""

NO_TARGETS: Mapping[tuple[str, str], str] = {
    ("suites/conformance/test_extended_copy.py", "scst"): "SCST's own copy manager, in ids",
    ("fixtures/machine/doctor.py", "tgt"): "a package of Debian's",
    ("fixtures/machine/image.py", "tgt"): "a package of Debian's",
    ("fixtures/plugin/run_session.py", "scst"): "the option --scst",
    ("results/replay.py", "scst"): "the option --scst",
}
"""Strings outside targets/ that equal a target's name but have another meaning."""


def modules(*rooms: str) -> list[str]:
    """Return the paths of the rooms' modules, without the selftests."""
    paths = (path for room in rooms for path in sorted((TOP / room).rglob("*.py")))
    return [str(path.relative_to(TOP)) for path in paths
            if not path.is_relative_to(TOP / "suites/selftest")]


@cache
def tree(name: str) -> ast.Module:
    """Return a module's syntax tree."""
    return ast.parse((TOP / name).read_text())


def project_module(dotted: str) -> str | None:
    """Return the path of a module or package of the project, or None."""
    path = dotted.replace(".", "/")
    return next((each for each in (f"{path}.py", f"{path}/__init__.py") if (TOP / each).is_file()),
                None)


def imported(name: str) -> Iterator[str]:
    """Yield the dotted names of the project's modules that a module imports.

    Includes modules that it runs in a guest, named in strings.
    """
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if project_module(alias.name))
        elif isinstance(node, ast.ImportFrom) and project_module(str(node.module)):
            submodules = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (each if project_module(each) else str(node.module) for each in submodules)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) \
                and "." in node.value and node.value.partition(".")[0] in MAY_IMPORT \
                and project_module(node.value):
            yield node.value


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_run_from_left_to_right(room: str) -> None:
    wrong = [f"{name} imports {dotted}" for name in modules(room) for dotted in imported(name)
             if dotted.partition(".")[0] not in MAY_IMPORT[room]]
    assert wrong == []


def test_targets_import_contracts_of_faults_only() -> None:
    wrong = [f"{name} imports {dotted}" for name in modules("targets")
             for dotted in imported(name)
             if dotted.partition(".")[0] == "inject" and dotted not in CONTRACTS]
    assert wrong == []


def test_a_target_does_not_import_another() -> None:
    packages = {path.parent.name for path in (TOP / "targets").glob("*/target.py")}
    wrong = [f"{name} imports {dotted}" for package in packages
             for name in modules(f"targets/{package}") for dotted in imported(name)
             if dotted.startswith("targets.") and dotted.split(".")[1] in packages - {package}]
    assert wrong == []


def target_names(name: str) -> Iterator[tuple[int, str]]:
    """Yield line and text of each string that is a target's name."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Constant) and node.value in TARGETS:
            yield node.lineno, str(node.value)


def test_no_target_is_named_outside_targets() -> None:
    """Code of the other rooms decides by traits (inject.traits)."""
    found = {(name, word): f"{name}:{line} names {word!r}"
             for name in modules("suites", "fixtures", "inject", "results")
             for line, word in target_names(name)}
    assert [words for key, words in found.items() if key not in NO_TARGETS] == []
    assert NO_TARGETS.keys() <= found.keys(), "no longer needed"


@cache
def kinds_of_faults() -> frozenset[str]:
    """Return the names of inject's classes with a method ``fire``."""
    return frozenset(
        node.name for name in modules("inject") for node in ast.walk(tree(name))
        if isinstance(node, ast.ClassDef)
        and any(isinstance(each, ast.FunctionDef) and each.name == "fire" for each in node.body))


def kinds_in(node: ast.AST, known: frozenset[str]) -> set[str]:
    """Return the fault classes that an expression names."""
    return {each.id if isinstance(each, ast.Name) else each.attr for each in ast.walk(node)
            if isinstance(each, ast.Name | ast.Attribute)
            and (each.id if isinstance(each, ast.Name) else each.attr) in known}


def named_kinds(name: str) -> frozenset[str]:
    """Return the fault classes, and a module's names for tuples of them."""
    kinds = kinds_of_faults()
    tuples = {target.id for node in tree(name).body if isinstance(node, ast.Assign)
              for target in node.targets if isinstance(target, ast.Name)
              and isinstance(node.value, ast.Tuple | ast.BinOp)
              and any(isinstance(each, ast.Name) and each.id in kinds
                      for each in ast.iter_child_nodes(node.value))}
    return kinds | tuples


def told_apart(name: str) -> Iterator[str]:
    """Yield the lines where a module branches on a fault's class: isinstance, issubclass, match."""
    known = named_kinds(name)
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) \
                and node.func.id in {"isinstance", "issubclass"}:
            kinds = kinds_in(node.args[1], known)
        elif isinstance(node, ast.MatchClass):
            kinds = kinds_in(node.cls, known)
        else:
            continue
        if kinds:
            yield f"{name}:{node.lineno} tells {', '.join(sorted(kinds))} apart"


def test_kinds_of_faults_are_told_apart_in_inject_only() -> None:
    """Each difference between faults is a property or a method of the fault."""
    assert {"TargetOperation", "Release"} <= kinds_of_faults()
    wrong = [words for name in modules("suites", "fixtures", "targets", "results")
             for words in told_apart(name)]
    assert wrong == []


def test_the_rules_find_what_they_forbid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a project with one module that breaks each rule, each rule reports it."""
    monkeypatch.setattr(f"{__name__}.TOP", tmp_path)
    for path, text in {
        "results/wrong.py": 'MODULE = "fixtures.wrong"\ndef f():\n    import inject.wrong\n',
        "inject/wrong.py": "class Wrong:\n    def fire(self): ...\n",
        "fixtures/wrong.py": (
            "from inject.wrong import Wrong\nBOTH = (Wrong, int)\n"
            "def f(x):\n    if x == 'lio' and isinstance(x, BOTH):\n"
            "        match x:\n            case Wrong():\n                pass\n"),
    }.items():
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).write_text(text)
    kinds_of_faults.cache_clear()
    tree.cache_clear()
    try:
        assert sorted(imported("results/wrong.py")) == ["fixtures.wrong", "inject.wrong"]
        assert list(target_names("fixtures/wrong.py")) == [(4, "lio")]
        assert len(list(told_apart("fixtures/wrong.py"))) == 2
    finally:
        kinds_of_faults.cache_clear()
        tree.cache_clear()


def test_suites_that_run_by_their_mark_only_are_declared() -> None:
    """Otherwise a run of the selftests would boot guests."""
    found = {name for path in (TOP / "suites").rglob("*.py")
             for name in re.findall(r"^pytestmark = pytest\.mark\.(\w+)$", path.read_text(), re.M)}
    assert found == set(OPT_IN)
