# SPDX-License-Identifier: GPL-2.0-or-later
"""Does the target survive task management functions for commands that its backend holds?

Each function is requested alone, and racing a teardown in both orders. Every function gets exactly
one response, every command ends exactly once, and both in time.
"""

from __future__ import annotations

from collections.abc import Iterator

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
from inject.task_management import FUNCTIONS
from inject.traits import Options
from suites.abort.steps import expect_functions, functions_and_fault
from targets.target import Device

ORDERS = ("first", "second")


def plans(selection: Selection) -> Iterator[Plan]:
    """Yield a plan for each function at each point: alone, before a teardown, and during one."""
    for state, options in selection.traits.functions.points.items():
        for function in FUNCTIONS:
            yield plan(function, state, options, Release(), "alone")
            for order in ORDERS:
                yield plan(function, state, options, KILL, order)


def plan(function: str, state: State, options: Options, fault: Fault, order: str) -> Plan:
    """Return the plan of one function, state and order.

    ``options``: the device options with which a command enters the state.
    """
    return Plan(fault, Point(state, 1, None),
                Arrangement.stamped(LIGHT, device=Device(options=options)), CommandJob("write", 1),
                f"{function.lower().replace('_', '-')}-{order}",
                arguments={"functions": FunctionJob(function, order)})


@scenarios(plans)
def test_task_management(ctx: ScenarioContext, functions: FunctionJob) -> None:
    """A function for a held command gets exactly one response, and the command ends exactly once.
    """
    expectations = expect_functions(ctx, functions.requested)
    lun = ctx.arrange(ctx.expected, **expectations)
    initiators = Initiators(ctx, lun)
    initiators.login("a")
    ctx.hold(lun, initiators.issuer("a"))     # a WRITE of session "a", in the plan's state
    pending = Functions(initiators, "a", functions.requested)
    with settled(ctx, lun, initiators.wait_settled):
        functions_and_fault(ctx, lun, pending, functions.order)
    ctx.drain(lun)
    ctx.recover(lun)
