# SPDX-License-Identifier: GPL-2.0-or-later
"""Does the target survive many task management functions at once?

A storm is the same function many times, or different functions together. Each function gets its
response, by whichever event the command ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from fixtures.context import ScenarioContext
from fixtures.initiators import Functions, Initiators
from fixtures.scenario import Arrangement, Plan, Selection, scenarios
from fixtures.steps import settled
from fixtures.workload.commands import CommandJob
from fixtures.workload.sessions import FunctionJob
from fixtures.workload.stamps import LIGHT
from inject.backend_end import KILL
from inject.fault import Fault
from inject.point import Point, State
from inject.release import Release
from suites.abort.steps import expect_functions, functions_and_fault

MANY = 16

STORMS = {
    "abort-task-16": FunctionJob("ABORT_TASK", "", MANY),
    "lun-reset-16": FunctionJob("LUN_RESET", "", MANY),
    "clear-task-set-16": FunctionJob("CLEAR_TASK_SET", "", MANY),
    "all-of-the-lun": FunctionJob(
        "ABORT_TASK", "", 1, ("ABORT_TASK_SET", "CLEAR_TASK_SET", "LUN_RESET")),
    "all-of-the-target": FunctionJob("LUN_RESET", "", 1, ("TARGET_WARM_RESET", "LUN_RESET")),
}
"""Storms by name. Without TARGET COLD RESET, which would end the session of the other functions."""

ORDERS: tuple[tuple[Fault, str], ...] = ((Release(), "alone"), (KILL, "first"), (KILL, "second"))


def plans(_: Selection) -> Iterator[Plan]:
    """Yield a plan for each storm: alone, before a teardown, and during one."""
    for (name, storm), (fault, order) in product(STORMS.items(), ORDERS):
        yield Plan(fault, Point(State.EXEC, 1, None), Arrangement.stamped(LIGHT),
                   CommandJob("write", 1), f"{name}-{order}",
                   arguments={"functions": replace(storm, order=order)})


@scenarios(plans)
def test_storm(ctx: ScenarioContext, functions: FunctionJob) -> None:
    """Each function of a storm for a held command gets its response, where one is required."""
    expectations = expect_functions(ctx, functions.requested)
    lun = ctx.arrange(ctx.expected, **expectations)
    initiators = Initiators(ctx, lun)
    initiators.login("a")
    ctx.hold(lun, initiators.issuer("a"))     # a WRITE of session "a", in EXEC
    storm = Functions(initiators, "a", functions.requested)
    with settled(ctx, lun, initiators.wait_settled):
        functions_and_fault(ctx, lun, storm, functions.order)
    ctx.drain(lun)
    ctx.recover(lun)
