# SPDX-License-Identifier: GPL-2.0-or-later
"""poll(2) and epoll(7) on /dev/scst_user, with every requested event.

Each wait is by a process with a device of its own, beside another backend's device under load. A
command that arrives ends a wait for input, and nothing else is reported.
"""

from __future__ import annotations

from collections.abc import Iterator

from fixtures.context import ScenarioContext
from fixtures.scenario import Plan, Selection, scenarios
from suites.abi import batches, wait_matrix
from suites.abi.batches import Batch
from suites.abi.making import Expected, make_calls
from targets.scst.interface import luns_of
from targets.scst.target import Scst
from targets.scst.waiting import REPRODUCERS, avoided
from targets.target import Device

PROGRAM = "targets.scst.waiting_guest"
KIND = "wait"

PATIENCE = 1.0
"""Seconds of a wait; without virtualization in the ladder's ratio more."""


def plans(selection: Selection) -> Iterator[Plan]:
    """Yield a plan for each batch of waits, where the backend uses scst_user."""
    if not selection.traits.serves_scst_user:
        return
    cases = [case for case in batches.numbered(list(wait_matrix.MATRIX.cells(selection)), KIND)
             if selection.call is not None or not avoided(case.fields)]
    yield from batches.plans(selection, cases, KIND)
    yield from batches.reproducers(selection, KIND, REPRODUCERS)


@scenarios(plans)
def test_waits_for_commands(ctx: ScenarioContext, batch: Batch) -> None:
    """Each wait for input ends with the next command."""
    target = ctx.pool.target
    assert isinstance(target, Scst)
    lun = ctx.arrange()
    with ctx.broken(lun):
        make_calls(ctx, PROGRAM, batch, {
            "version": target.prefix.version_string(ctx.machine.release),
            "luns": luns_of(Device().name), "host": lun.deployment.address.scsi_host,
            "patience": PATIENCE * ctx.ladder.step / 10.0},
            lambda case: Expected(), further=wait_matrix.judge)
    ctx.drain(lun)
    ctx.recover(lun)
