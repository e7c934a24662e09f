"""Does the target survive losing device, session or backend, wherever its commands are?

With scst_user each cell of the matrix (suites.teardown.matrix) is one scenario: the commands at the
point end as they must, the teardown ends, nothing leaks, the device can be deployed again at once.
Other backends have one point, four WRITEs in EXEC: each mechanism is one scenario.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from fixtures.context import ScenarioContext
from fixtures.initiator.openiscsi import Timeouts
from fixtures.scenario import Arrangement, Plan, Selection, scenarios
from fixtures.workload.stamps import StampJob
from inject.catalogue import MECHANISMS
from inject.traits import TeardownCoverage
from suites.teardown.matrix import Cell, matrix
from targets.target import Transport

MORE = StampJob(threads=8, rate_iops=120, blocks=32)
"""A light load that goes on while four of its WRITEs are held."""

LONG_REPLACEMENT = replace(Timeouts(), replacement=60)
"""A daemon is started and configured in 1.5 s, in 6 s on a busy machine: I/O waits meanwhile."""

TIMEOUTS: Mapping[str, Timeouts] = {"daemon-kill": LONG_REPLACEMENT}
"""The initiator's timeouts for faults after which the target itself comes back."""


def plans(selection: Selection) -> Iterator[Plan]:
    """Yield a plan for each cell of the matrix, or for each mechanism with WRITEs held in EXEC."""
    traits = selection.traits
    if traits.teardown is TeardownCoverage.MATRIX:
        for known in matrix(traits).cells(selection):
            yield Cell(**known).plan()
    elif traits.teardown is TeardownCoverage.MECHANISMS:
        for fault in MECHANISMS:
            if fault.needs.met(traits, traits.backend, Transport.ISCSI):
                timeouts = TIMEOUTS.get(fault.name)
                yield Plan(fault, arrangement=Arrangement.stamped(MORE, timeouts=timeouts))


@scenarios(plans)
def test_matrix(ctx: ScenarioContext) -> None:
    """Commands in a state, their device taken away: all end, and the device can be had again."""
    lun = ctx.arrange()
    ctx.hold(lun)            # commands, functions or sessions in the cell's state
    ctx.break_device(lun)    # the cell's mechanism
    ctx.drain(lun)
    ctx.recover(lun)
