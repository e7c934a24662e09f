"""Does the target survive storms of task management: the same function many times, all at once?

A few cells beside those of test_abort. Whatever ends the command, each function has its response.
"""

from __future__ import annotations

from itertools import product

import pytest

from fixtures.plugin import accept
from fixtures.scenario import Plan
from fixtures.workload.commands import CommandJob
from fixtures.workload.sessions import FunctionJob
from fixtures.workload.stamps import LIGHT
from inject.point import Point, State
from results.judge import Judgement
from targets.target import Device, Transport

MANY = 16

STORMS = {
    "abort-task-16": FunctionJob("ABORT_TASK", "", MANY),
    "lun-reset-16": FunctionJob("LUN_RESET", "", MANY),
    "clear-task-set-16": FunctionJob("CLEAR_TASK_SET", "", MANY),
    "all-of-the-lun": FunctionJob(
        "ABORT_TASK", "", 1, ("ABORT_TASK_SET", "CLEAR_TASK_SET", "LUN_RESET")),
    "all-of-the-target": FunctionJob("LUN_RESET", "", 1, ("TARGET_WARM_RESET", "LUN_RESET")),
}
"""What is asked for, by name; a TARGET COLD RESET would end the session that the rest needs."""

ORDERS = (("release", "alone"), ("backend-kill", "first"), ("backend-kill", "second"))


def plans(target: str) -> list[Plan]:
    """Return a plan for each storm: alone, and before and in a teardown."""
    return [plan(target, name, job, fault, order)
            for (name, job), (fault, order) in product(STORMS.items(), ORDERS)]


def plan(target: str, name: str, job: FunctionJob, fault: str, order: str) -> Plan:
    """Return a cell's plan."""
    asked = FunctionJob(job.function, order, job.storm, job.also)
    return Plan(target, fault, Transport.ISCSI, Point(State.EXEC, 1, None), Device(), None, LIGHT,
                CommandJob("write", 1), f"{name}-{order}", "suites.abort.story:story", asked)


def test_storm(judgement: Judgement, request: pytest.FixtureRequest) -> None:
    """One storm."""
    accept(judgement, request)
