# SPDX-License-Identifier: GPL-2.0-or-later
"""A pytest plugin that registers LIO under a second name.

No code outside ``targets/`` may depend on a target's name: every suite runs on the alias as it runs
on LIO. To run a suite in guests, from the top of the checkout::

    python -m pytest -p suites.selftest.alias_plugin suites/smoke --target lio2
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from targets.catalogue import TARGETS

ORIGINAL, ALIAS = "lio", "lio2"


@pytest.hookimpl(tryfirst=True)
def pytest_addoption() -> None:
    """Register the alias before ``--target`` lists the targets."""
    TARGETS[ALIAS] = replace(TARGETS[ORIGINAL], name=ALIAS)
