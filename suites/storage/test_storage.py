# SPDX-License-Identifier: GPL-2.0-or-later
"""Does the target survive a disk that fails, stalls or corrupts data, and report the errors?

The device under test is a block device (targets.storage), without a backend in user space. A gate
above the disk holds the commands of a point.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest

from fixtures.context import ScenarioContext
from fixtures.plugin import RunPlan
from fixtures.scenario import Arrangement, Plan, Selection, scenarios
from fixtures.steps import fault_at_point
from fixtures.workload.commands import CommandJob
from fixtures.workload.stamps import LIGHT, StampJob
from inject.catalogue import FAULTS
from inject.fault import Fault
from inject.lun_remove import LunRemove
from inject.point import NOTHING_HELD, Point, State
from inject.release import Release
from inject.storage import ERRORS, FAILING_DISK_TEARDOWNS, MEDIUM, SCSI, STALLS, WRONG_DATA
from inject.traits import TargetTraits
from results.verdict import Verdict
from targets.storage import SCSI_DEBUG
from targets.target import Transport, device_of

MEMORY = FAULTS["fail-page-alloc"]
"""Failed page allocations: an in-kernel handler has no backend's pages to read into."""

BY_ITSELF: tuple[Fault, ...] = (
    Release(), LunRemove(), MEMORY, *ERRORS, *STALLS, *FAILING_DISK_TEARDOWNS)
"""Faults under stamped blocks alone: a control, a LUN removal, failed allocations, faults of the
disk, and teardowns while the disk has a fault."""

BY_LOOPBACK = frozenset({"release", "lun-remove", "storage-error", "storage-stall-long"})

WITHOUT_HELD = frozenset({"storage-ignores", "storage-ignores-failfast", MEMORY.name})
"""Faults without held commands. A disk that ignores commands would ignore held ones only after
their release. The gate holds every command, so no command would allocate memory."""

KINDS = ("write", "read")

HELD = 2
CHOSEN = Point(State.EXEC, HELD + LIGHT.threads, None)
"""The gate does not distinguish commands. Each thread of the load has at most one command in
flight: when one command for each thread and ``HELD`` more are held, the chosen commands are among
them."""

STAMPS = StampJob(blocks=64)


def plans(selection: Selection) -> Iterator[Plan]:
    """Yield the plans: faults under stamped blocks alone, disk errors with chosen commands, and
    both for the faults that only a SCSI disk has."""
    traits = selection.traits
    for transport in traits.transports:
        for fault in possible(BY_ITSELF, traits, transport):
            if transport is Transport.ISCSI or fault.name in BY_LOOPBACK:
                yield stamped(fault, traits, transport)
    for fault in ERRORS:
        for kind in KINDS:
            yield chosen(fault, kind, traits)
    for fault in (Release(), *possible(SCSI, traits, Transport.ISCSI)):
        yield on_scsi_disk(stamped(fault, traits))
    for kind in KINDS:
        yield on_scsi_disk(chosen(MEDIUM, kind, traits))


def possible(
    faults: Iterable[Fault], traits: TargetTraits, transport: Transport,
) -> Iterator[Fault]:
    """Yield the faults that are possible with the target's block device over a transport."""
    return (fault for fault in faults
            if fault.needs.met(traits, traits.storage_handler, transport))


def stamped(
    fault: Fault, traits: TargetTraits, transport: Transport = Transport.ISCSI,
) -> Plan:
    """Return a plan in which stamped blocks are the only load."""
    point = NOTHING_HELD if fault.name in WITHOUT_HELD else Point()
    arrangement = Arrangement.stamped(
        STAMPS, transport=transport, device=device_of(traits.storage))
    return Plan(fault, point, arrangement, variant=traits.storage_handler)


def chosen(fault: Fault, kind: str, traits: TargetTraits) -> Plan:
    """Return a plan with ``HELD`` chosen commands at the gate, and a light stamped load.

    ``kind``: "read" or "write".
    """
    return replace(stamped(fault, traits).rearranged(stamps=LIGHT), point=CHOSEN,
                   commands=CommandJob(kind, HELD))


def on_scsi_disk(plan: Plan) -> Plan:
    """Return the plan with a SCSI disk below the target (scsi_debug)."""
    device = replace(plan.arrangement.device, disk=SCSI_DEBUG)
    return replace(plan.rearranged(device=device), variant=f"{plan.variant}.{SCSI_DEBUG}")


@scenarios(plans)
def test_disk_at_fault(ctx: ScenarioContext) -> None:
    """Failed I/O is reported, acknowledged writes are on the medium, all other I/O is in time."""
    lun = ctx.arrange()      # a block device on a healthy disk
    ctx.hold(lun)            # commands at the gate above the disk
    ctx.break_device(lun)    # the fault, which the held commands meet when the gate releases them
    ctx.drain(lun)
    ctx.recover(lun)         # the disk is healthy again: acknowledged writes are read back


@pytest.mark.parametrize(("fault", "decides"), [
    *(pytest.param(fault, "integrity", id=fault.name) for fault in WRONG_DATA),
    # Errors of the disk are allowed only by the fault's own expectation.
    pytest.param(replace(ERRORS[0], errors=()), "ledger", id="storage-error-unexpected"),
])
def test_what_a_target_cannot_notice_is_caught(
    fault: Fault, decides: str, run_plan: RunPlan, kernel_name: str,
) -> None:
    """A disk that loses or corrupts acknowledged writes is FAIL; so is an error that no expectation
    allows."""
    judgement = run_plan(stamped(fault, run_plan.traits), kernel_name, fault_at_point)
    assert judgement.verdict is Verdict.FAIL, judgement.reason
    decided = judgement.decided_by
    assert decided is not None and decided.name == decides, judgement.reason
