"""Does the target survive task management of commands that its backend holds?

Alone, and racing a teardown in both orders. Every function has its one response, every command its
one end, in time.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import pytest

from fixtures.plugin import accept
from fixtures.scenario import Plan
from fixtures.workload.commands import CommandJob
from fixtures.workload.sessions import FunctionJob
from fixtures.workload.stamps import LIGHT
from inject.point import Point, State
from inject.task_management import FUNCTIONS
from results.judge import Judgement
from targets.target import Device, Transport

STATES: Mapping[str, Mapping[State, Mapping[str, str]]] = {
    "lio": {State.EXEC: {}},
    "scst": {
        State.QUEUED: {}, State.PARSE: {"parse_type": "CALL"}, State.ALLOC_MEM: {},
        State.EXEC: {}, State.ON_FREE_CMD: {"on_free_cmd_type": "CALL"},
    },
}
"""Points at which a command can be, by target, and the options that bring it there."""

ALONE = "release"
TEARDOWN = "backend-kill"

ORDERS = ("first", "second")


def plans(target: str) -> list[Plan]:
    """Return a plan for each function at each point: alone, and before and in a teardown."""
    return [plan(target, function, state, fault, order)
            for state in STATES.get(target, {}) for function in FUNCTIONS
            for fault, order in ((ALONE, "alone"), *product([TEARDOWN], ORDERS))]


def plan(target: str, function: str, state: State, fault: str, order: str) -> Plan:
    """Return a cell's plan."""
    job = FunctionJob(function, order)
    return Plan(target, fault, Transport.ISCSI, Point(state, 1, None),
                Device(options=STATES[target][state]), None, LIGHT, CommandJob("write", 1),
                f"{function.lower().replace('_', '-')}-{order}", "suites.abort.story:story", job)


def test_task_management(judgement: Judgement, request: pytest.FixtureRequest) -> None:
    """One function at one point."""
    accept(judgement, request)
