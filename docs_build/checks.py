# SPDX-License-Identifier: GPL-2.0-or-later
"""The checkers, in the order in which they run (results/judge.py)."""

from __future__ import annotations

from importlib import import_module

from docs_build.markup import code, prose, table
from results.judge import CHECKERS

PACKAGE = "results.checkers"


def summary(name: str) -> str:
    """Return the first sentence of the docstring of a checker's module."""
    module = import_module(f"{PACKAGE}.{name}")
    text = " ".join((module.__doc__ or "").split())
    return text.partition(". ")[0].rstrip(".") + "."


def markdown() -> str:
    """Return a row for each checker."""
    return table(["check", "condition"], [[code(name), prose(summary(name))] for name in CHECKERS])
