# SPDX-License-Identifier: GPL-2.0-or-later
"""Does the target survive repeated races between task management functions and a teardown?

Every function at every point is requested before the backend's end and during it, in rounds on one
machine (``--rounds N``). There is no load, and each round deploys the target again. The machine is
not restored between rounds, so a round takes a second and also meets the leftovers of earlier
rounds. test_abort runs each case once, during another initiator's load.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fixtures.context import Lun, ScenarioContext
from fixtures.initiators import Functions, Initiators
from fixtures.loads import end_loads
from fixtures.scenario import Plan, Selection, scenarios
from fixtures.steps import settled
from fixtures.workload.sessions import FunctionJob
from inject.backend_end import KILL
from inject.task_management import FUNCTIONS
from results.errors import WrongUsageError
from suites.abort.steps import expect_functions, functions_and_fault
from suites.abort.test_abort import ORDERS, plan


def plans(selection: Selection) -> Iterator[Plan]:
    """Yield a plan for each function at each point in both orders."""
    if selection.rounds < 1:
        raise WrongUsageError(f"--rounds takes a number from 1, not {selection.rounds}")
    for state, options in selection.traits.functions.points.items():
        for function in FUNCTIONS:
            for order in ORDERS:
                once = plan(function, state, options, KILL, order)
                yield raced(once, selection.rounds)


def raced(once: Plan, rounds: int) -> Plan:
    """Return a plan of test_abort changed to ``rounds`` rounds without a load."""
    return replace(once.rearranged(stamps=None), variant=f"{once.variant}-race",
                   arguments={**once.arguments, "rounds": rounds})


@scenarios(plans)
def test_race(ctx: ScenarioContext, functions: FunctionJob, rounds: int) -> None:
    """After rounds of a function and a teardown the device can be deployed again and works."""
    expectations = expect_functions(ctx, functions.requested)
    ctx.resources.baseline()
    ctx.armed(**expectations)
    for number in range(1, rounds + 1):
        ctx.note("round", number=number)
        lun = Lun(ctx.export())
        initiators = Initiators(ctx, lun)
        initiators.login("a")
        ctx.hold(lun, initiators.issuer("a"))
        pending = Functions(initiators, "a", functions.requested)
        with settled(ctx, lun, initiators.wait_settled):
            functions_and_fault(ctx, lun, pending, functions.order)
        ctx.must(end_loads(lun.loads, ctx.ladder.step), "the sessions do not end")
        with ctx.operation("remove"):
            lun.deployment.remove()
    ctx.recover(traced=True)
