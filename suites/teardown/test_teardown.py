# SPDX-License-Identifier: GPL-2.0-or-later
"""Does the target survive the loss of device, session or backend, with commands in every state?

With scst_user each cell of the matrix (suites.teardown.matrix) is one scenario: the commands at the
point end as expected, the teardown ends, nothing leaks, and the device can be deployed again at
once. Other backends have one point, four WRITEs in EXEC: each mechanism is one scenario.
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
"""A light load that continues while four of its WRITEs are held."""

LONG_REPLACEMENT = replace(Timeouts(), replacement=60)
"""Timeouts for a restart of the daemon: start and configuration take 1.5 s, on a busy machine 6 s,
and I/O waits for them."""

TIMEOUTS: Mapping[str, Timeouts] = {"daemon-kill": LONG_REPLACEMENT}
"""The initiator's timeouts by fault, for faults after which the target is started again."""


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
    """Commands in any state end when their device is removed, and it can be deployed again."""
    lun = ctx.arrange()
    ctx.hold(lun)            # commands, functions or sessions in the cell's state
    ctx.break_device(lun)    # the cell's mechanism
    ctx.drain(lun)
    ctx.recover(lun)
