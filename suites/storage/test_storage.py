"""Does the target survive a disk that errs, stalls or corrupts, and report it to the initiator?

The device under test is a block device (targets.storage): the target has no backend of ours, and
the gate above the disk holds the commands of a point.
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
from inject.storage import ERRORS, FAILING_DISK_TEARDOWNS, LYING, MEDIUM, SCSI, STALLS
from inject.traits import TargetTraits
from results.verdict import Verdict
from targets.storage import SCSI_DEBUG
from targets.target import Transport, device_of

MEMORY = FAULTS["fail-page-alloc"]
"""A handler in the kernel has no pages of a backend's to read into."""

BY_ITSELF: tuple[Fault, ...] = (
    Release(), LunRemove(), MEMORY, *ERRORS, *STALLS, *FAILING_DISK_TEARDOWNS)
"""Faults under stamped blocks alone: controls, failed allocations, the disk's own faults, and
teardowns while the disk has one."""

BY_LOOPBACK = frozenset({"release", "lun-remove", "storage-error", "storage-stall-long"})

WITHOUT_HELD = frozenset({"storage-ignores", "storage-ignores-failfast", MEMORY.name})
"""Faults that nothing is held for. A disk that ignores commands would ignore the held ones only
once they are let go; and the gate holds every command, so that none would allocate memory."""

KINDS = ("write", "read")

HELD = 2
CHOSEN = Point(State.EXEC, HELD + LIGHT.threads, None)
"""The gate does not tell commands apart. Each thread of the load waits for one of its own, so when
it holds as many, the chosen commands are among them."""

STAMPS = StampJob(blocks=64)


def plans(selection: Selection) -> Iterator[Plan]:
    """Yield a plan for each fault under stamped blocks alone, and for each error of the disk with
    chosen commands; then the same for the faults that only a SCSI disk has."""
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
    """Yield the faults that can be done to the target's block device over a transport."""
    return (fault for fault in faults
            if fault.needs.met(traits, traits.storage_handler, transport))


def stamped(
    fault: Fault, traits: TargetTraits, transport: Transport = Transport.ISCSI,
) -> Plan:
    """Return a plan in which stamped blocks alone drive the disk."""
    point = NOTHING_HELD if fault.name in WITHOUT_HELD else Point()
    arrangement = Arrangement.stamped(
        STAMPS, transport=transport, device=device_of(traits.storage))
    return Plan(fault, point, arrangement, variant=traits.storage_handler)


def chosen(fault: Fault, kind: str, traits: TargetTraits) -> Plan:
    """Return a plan in which chosen commands are at the disk, beside few stamped blocks."""
    return replace(stamped(fault, traits).rearranged(stamps=LIGHT), point=CHOSEN,
                   commands=CommandJob(kind, HELD))


def on_scsi_disk(plan: Plan) -> Plan:
    """Return a plan whose disk is a SCSI disk."""
    device = replace(plan.arrangement.device, disk=SCSI_DEBUG)
    return replace(plan.rearranged(device=device), variant=f"{plan.variant}.{SCSI_DEBUG}")


@scenarios(plans)
def test_disk_at_fault(ctx: ScenarioContext) -> None:
    """What the disk did not do is reported, acknowledged writes are there, the rest is in time."""
    lun = ctx.arrange()      # a block device, on a disk that is well
    ctx.hold(lun)            # commands at the gate above the disk
    ctx.break_device(lun)    # the disk errs, stalls or corrupts; the held commands meet that
    ctx.drain(lun)
    ctx.recover(lun)         # the disk is well again: what was acknowledged is read back


@pytest.mark.parametrize(("fault", "decides"), [
    *(pytest.param(fault, "integrity", id=fault.name) for fault in LYING),
    # The fault's own expectation, and nothing else, allows the errors of a disk that errs.
    pytest.param(replace(ERRORS[0], errors=()), "ledger", id="storage-error-unexpected"),
])
def test_what_a_target_cannot_notice_is_caught(
    fault: Fault, decides: str, run_plan: RunPlan, kernel_name: str,
) -> None:
    """A disk that acknowledges writes and does not keep them is FAIL; so is an error that no
    expectation allows."""
    judgement = run_plan(stamped(fault, run_plan.traits), kernel_name, fault_at_point)
    assert judgement.verdict is Verdict.FAIL, judgement.reason
    decided = judgement.decided_by
    assert decided is not None and decided.name == decides, judgement.reason
