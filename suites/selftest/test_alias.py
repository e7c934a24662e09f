# SPDX-License-Identifier: GPL-2.0-or-later
"""An alias of LIO: no suite depends on a target's name."""

from __future__ import annotations

import pytest

from suites.selftest.alias_plugin import ALIAS, ORIGINAL
from suites.selftest.collected import SUITES, collect


@pytest.mark.parametrize("suite", SUITES)
def test_every_suite_collects_for_an_alias(suite: str) -> None:
    """The alias has as many scenarios as LIO, in the same order, with its name in their ids."""
    renamed = [each.replace(f"{ORIGINAL}-", f"{ALIAS}-", 1) if each.startswith(f"{ORIGINAL}-")
               else each for each in collect(ORIGINAL)[suite]]
    assert list(collect(ALIAS)[suite]) == renamed


def test_most_suites_have_scenarios_for_it() -> None:
    named = {suite for suite in SUITES
             if any(each.startswith(f"{ALIAS}-") for each in collect(ALIAS)[suite])}
    assert len(named) >= len(SUITES) / 2
