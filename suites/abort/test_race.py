"""Does the target survive task management that races a teardown, again and again?

Every function at every point, asked for before the backend's end and during it, in rounds on one
machine: ``--rounds N``. test_abort asks the same once, beside another initiator's load.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from fixtures.plugin import accept
from fixtures.scenario import Plan
from inject.task_management import FUNCTIONS
from results.errors import WrongUsageError
from results.judge import Judgement
from suites.abort.test_abort import ORDERS, STATES, TEARDOWN, plan


def plans(target: str, config: pytest.Config) -> list[Plan]:
    """Return a plan for each function at each point in both orders."""
    rounds = config.getoption("rounds")
    if rounds < 1:
        raise WrongUsageError(f"--rounds takes a number from 1, not {rounds}")
    return [raced(plan(target, function, state, TEARDOWN, order), rounds)
            for state in STATES.get(target, {}) for function in FUNCTIONS for order in ORDERS]


def raced(once: Plan, rounds: int) -> Plan:
    """Return a cell's plan to be told in rounds."""
    return replace(once, stamps=None, story="suites.abort.race:story", rounds=rounds,
                   variant=f"{once.variant}-race")


def test_race(judgement: Judgement, request: pytest.FixtureRequest) -> None:
    """One function at one point, in one order."""
    accept(judgement, request)
