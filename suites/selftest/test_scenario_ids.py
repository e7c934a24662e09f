# SPDX-License-Identifier: GPL-2.0-or-later
"""Scenario ids: the collected ids are those of the table under version control."""

from __future__ import annotations

import pytest

from suites.selftest.collected import SUITES, TABLE, collect, rows
from targets.catalogue import TARGETS


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("target", TARGETS)
def test_ids_have_not_changed(target: str, suite: str) -> None:
    """Compare a suite's number of ids, and the ids, with the table.

    A change that adds or renames ids on purpose writes the table again (suites.selftest.collected),
    and its commit names them.
    """
    kept = {tuple(row.split("\t")[:2]): row for row in TABLE.read_text().splitlines()}
    row, = rows(target, {suite: collect(target)[suite]})
    assert row == kept[target, suite]


def test_the_table_has_nothing_else() -> None:
    known = [tuple(row.split("\t")[:2]) for row in TABLE.read_text().splitlines()]
    assert sorted(known) == sorted((target, suite) for target in TARGETS for suite in SUITES)
