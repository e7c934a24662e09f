# SPDX-License-Identifier: GPL-2.0-or-later
"""Calls to /dev/scst_user: wrong pointers, handles and sizes, in every state of a device.

Each call is made by a process with a device of its own, beside another backend's device under
load. It returns in time, with an error where the interface can only refuse it; the process can be
killed, and the kernel releases its device.
"""

from __future__ import annotations

from collections.abc import Iterator

from fixtures.context import ScenarioContext
from fixtures.scenario import Plan, Selection, scenarios
from suites.abi import batches, device_matrix
from suites.abi.batches import Batch
from suites.abi.making import make_calls
from targets.scst.interface import REPRODUCERS, avoided, luns_of
from targets.scst.target import Scst
from targets.target import Device

PROGRAM = "targets.scst.interface_guest"


def plans(selection: Selection) -> Iterator[Plan]:
    """Yield a plan for each batch of calls, where the backend uses scst_user."""
    if not selection.traits.serves_scst_user:
        return
    cases = [case for case in batches.numbered(list(device_matrix.MATRIX.cells(selection)))
             if selection.call is not None or not avoided(case.fields)]
    yield from batches.plans(selection, cases, "device", device_matrix.is_alone)
    yield from batches.reproducers(selection, "device", REPRODUCERS, device_matrix.is_alone)


@scenarios(plans)
def test_calls_to_the_device(ctx: ScenarioContext, batch: Batch) -> None:
    """The kernel refuses or carries out each call, and releases its process's device."""
    target = ctx.pool.target
    assert isinstance(target, Scst)
    argument = {"version": target.prefix.version_string(ctx.machine.release)}
    if batch.alone:
        ctx.resources.baseline()
        ctx.phase("fault")
        ctx.armed()
        ctx.fired()
        make_calls(ctx, PROGRAM, batch, {**argument, "luns": luns_of("none"), "host": 0},
                   device_matrix.expected)
        ctx.undone()
        ctx.recover(traced=True)
        return
    lun = ctx.arrange()
    with ctx.broken(lun):
        make_calls(ctx, PROGRAM, batch, {
            **argument, "luns": luns_of(Device().name),
            "host": lun.deployment.address.scsi_host}, device_matrix.expected)
    ctx.drain(lun)
    ctx.recover(lun)
