# SPDX-License-Identifier: GPL-2.0-or-later
"""TCMU's shared memory, uio device, netlink replies and attributes, with wrong contents.

Each change is made by a process with a device of its own, beside another backend's device under
load. The call returns in time; the process can be killed, and its device removed.
"""

from __future__ import annotations

from collections.abc import Iterator

from fixtures.context import ScenarioContext
from fixtures.scenario import Plan, Selection, scenarios
from suites.abi import batches, ring_matrix
from suites.abi.batches import Batch
from suites.abi.making import make_calls
from targets.lio.fabric import world_wide_name
from targets.lio.interface import REPRODUCERS, avoided
from targets.target import Device

PROGRAM = "targets.lio.interface_guest"


def plans(selection: Selection) -> Iterator[Plan]:
    """Yield a plan for each batch of changes, where the backend uses TCMU."""
    if selection.traits.backend != "tcmu":
        return
    cases = [case for case in batches.numbered(list(ring_matrix.MATRIX.cells(selection)))
             if selection.call is not None or not avoided(case.fields)]
    yield from batches.plans(selection, cases, "ring")
    yield from batches.reproducers(selection, "ring", REPRODUCERS)


@scenarios(plans)
def test_changes_to_the_ring(ctx: ScenarioContext, batch: Batch) -> None:
    """The kernel stays healthy, and the device of each process can be removed."""
    lun = ctx.arrange()
    target = world_wide_name(f"{Device().name} target")
    with ctx.broken(lun):
        make_calls(ctx, PROGRAM, batch, {
            "group": f"/sys/kernel/config/target/loopback/{target}/tpgt_1",
            "host": lun.deployment.address.scsi_host}, ring_matrix.expected)
    ctx.drain(lun)
    ctx.recover(lun)
