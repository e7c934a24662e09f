"""Does the target survive a disk that errs, stalls or lies, and tell the initiator the truth?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from fixtures.plugin import RunPlan, accept
from fixtures.scenario import Plan
from fixtures.workload.commands import CommandJob
from fixtures.workload.stamps import LIGHT, StampJob
from inject.catalogue import FAULTS
from inject.fault import Fault
from inject.point import NOTHING_HELD, Point, State
from inject.storage import ERRORS, LYING, MEDIUM, SCSI, SICK_TEARDOWNS, STALLS
from results.judge import Judgement
from results.verdict import Verdict
from targets.catalogue import STORAGE_BACKENDS, transports
from targets.storage import SCSI_DEBUG
from targets.target import Device, Transport

CONTROLS = ("release", "lun-remove")

MEMORY = ("fail-page-alloc",)
"""Such a handler has no pages of a backend's to read into."""

KINDS = ("write", "read")

BY_LOOPBACK = frozenset({"release", "lun-remove", "storage-error", "storage-stall-long"})

HELD = 2
CHOSEN = Point(State.EXEC, HELD + LIGHT.threads, None)
"""The gate tells no commands apart: when it holds as many, the chosen ones are among them, for
every thread of the workload waits for one of its own."""


def device(target: str) -> Device:
    """Return a device that is a block device."""
    handler = STORAGE_BACKENDS[target]
    return Device(options={"backing": handler}) if target == "tgt" else Device(handler=handler)


def possible(fault: Fault, target: str, transport: Transport) -> bool:
    """Tell whether a fault can be done to such a device."""
    return fault.needs.met(target, STORAGE_BACKENDS[target], transport)


def plans(target: str) -> list[Plan]:
    """Return a plan for each illness: with stamped blocks alone, and where the disk errs with
    chosen commands; and for each teardown while it stalls."""
    ill = [FAULTS[name] for name in (*CONTROLS, *MEMORY)] + [*ERRORS, *STALLS, *SICK_TEARDOWNS]
    stamped = [
        replace(stamps(target, fault.name, transport), point=FREE.get(fault.name, Point()))
        for transport in transports(target) for fault in ill
        if possible(fault, target, transport)
        and (transport is Transport.ISCSI or fault.name in BY_LOOPBACK)]
    chosen = [chose(target, fault.name, kind) for fault in ERRORS for kind in KINDS]
    names = (CONTROLS[0], *(fault.name for fault in SCSI
                            if possible(fault, target, Transport.ISCSI)))
    scsi = [*(replace(stamps(target, name), point=FREE.get(name, Point())) for name in names),
            *(chose(target, MEDIUM.name, kind) for kind in KINDS)]
    return [*stamped, *chosen, *map(on_scsi, scsi)]


FREE = dict.fromkeys(("storage-ignores", "storage-ignores-failfast", *MEMORY), NOTHING_HELD)
"""What is held at the gate would wait for the disk to be let go on; the gate holds all there is,
and nobody would ask for memory."""


def on_scsi(plan: Plan) -> Plan:
    """Return a plan whose disk is a SCSI disk."""
    return replace(plan, device=replace(plan.device, disk=SCSI_DEBUG),
                   variant=f"{plan.variant}.{SCSI_DEBUG}")


def chose(target: str, fault: str, kind: str) -> Plan:
    """Return a plan in which chosen commands are at the disk, beside few stamped blocks."""
    return replace(stamps(target, fault), point=CHOSEN, stamps=LIGHT,
                   commands=CommandJob(kind, HELD))


def stamps(target: str, fault: str, transport: Transport = Transport.ISCSI) -> Plan:
    """Return a plan in which stamped blocks alone drive the disk."""
    return Plan(target, fault, transport, device=device(target), workload=None,
                stamps=StampJob(blocks=64), variant=STORAGE_BACKENDS[target])


def test_storage(judgement: Judgement, request: pytest.FixtureRequest) -> None:
    """What the disk did not do is said, what was acknowledged is there, the rest is in time."""
    accept(judgement, request)


@pytest.mark.parametrize(("fault", "decides"), [
    *(pytest.param(fault, "integrity", id=fault.name) for fault in LYING),
    # What a disk that errs may lead to is what its fault says, and no more than that.
    pytest.param(replace(ERRORS[0], errors=()), "ledger", id="storage-error-unexpected"),
])
def test_what_a_target_cannot_notice_is_caught(
    fault: Fault, decides: str, run_plan: RunPlan, kernel_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A disk that acknowledges what it does not keep is FAIL, and so is an error nobody allowed."""
    monkeypatch.setitem(FAULTS, fault.name, fault)
    judgement = run_plan(stamps(run_plan.target, fault.name), kernel_name)
    assert judgement.verdict is Verdict.FAIL, judgement.reason
    decided = judgement.decided_by
    assert decided is not None and decided.name == decides, judgement.reason
