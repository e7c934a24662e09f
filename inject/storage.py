"""The disk below a target that is all in the kernel falls ill, and is healed.

What was held at the disk's gate (targets.storage) meets the illness. What it must lead to, by the
targets' own sources:

- A disk that errs, by itself or (a SCSI disk) with sense data of its own: CHECK CONDITION, with the
  sense data of SENSE; the midlayer makes EIO of it, or ENODATA of an unrecovered read error
  (scsi_check_sense, drivers/scsi/scsi_error.c).
- A disk that is slow, or stalls for less than the initiator's command timer (4 s,
  fixtures.initiator.openiscsi): nothing but time is lost.
- A disk that stalls for longer: what is in flight is aborted and sent again, as the initiator's
  error handling has it. Once its patience of 4 + 2 + 2 + 2 + 2 s (command, ABORT TASK, the resets,
  a new session) is over, it ends the commands with EIO, and its disk may be offline.
- A SCSI disk that answers nothing, for less than the initiator's timer: the kernel's error handling
  aborts and tries again below the target (scmd_eh_abort_handler, drivers/scsi/scsi_error.c), and
  nothing but time is lost, unless a target wants no second attempt. One that recovers from its
  errors (RECOVERED ERROR) costs nothing.
- A disk that lies, by dropping or changing what it acknowledges: no target can notice, integrity
  has to.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inject.fault import Fault, Held, Needs, Subject
from inject.target_operation import OPERATIONS, TargetOperation
from inject.waiting import until

STORAGE = Needs(backends=frozenset({"iblock", "vdisk_blockio", "block"}))
"""LIO's and SCST's handlers of a block device, and tgtd's file that is one."""

SICK = 0.5
"""Seconds for which a disk errs or lies: a few I/Os of each thread of the workload."""

SHORT, LONG, LONGER = 1.0, 5.0, 12.5
"""Seconds for which it stalls: less than the initiator's command timer of 4 s; more; more than all
that its error handling tries."""

IGNORES = 1.5
"""Seconds for which a disk answers nothing: its own timer of 1 s (targets.storage.SCSI_TIMER) runs
out, and with the time until it is tried again it is less than the initiator's."""

REPORTED = ("EIO", "ENODATA")

ERRORS: tuple[TargetOperation, ...] = tuple(
    TargetOperation(name, name, needs=STORAGE, seconds=SICK, errors=REPORTED)
    for name in ("storage-error", "storage-error-writes", "storage-error-reads"))

STALLS: tuple[TargetOperation, ...] = (
    TargetOperation("storage-slow", "storage-slow", needs=STORAGE, seconds=SHORT, errors=()),
    TargetOperation("storage-stall", "storage-stall", held=Held.KEPT, needs=STORAGE,
                    seconds=SHORT, errors=()),
    TargetOperation("storage-suspend", "storage-suspend", held=Held.KEPT, needs=STORAGE,
                    seconds=SHORT, errors=()),
    TargetOperation("storage-stall-long", "storage-stall", held=Held.KEPT, needs=STORAGE,
                    seconds=LONG, errors=()),
    TargetOperation("storage-stall-longer", "storage-stall", held=Held.KEPT, needs=STORAGE,
                    seconds=LONGER),
)

MEDIUM = TargetOperation("storage-medium-error", "storage-medium-error", needs=STORAGE,
                         seconds=SICK, errors=REPORTED)
"""The READs of a SCSI disk end with UNRECOVERED READ ERROR (03/11/00)."""

SCSI: tuple[TargetOperation, ...] = (
    MEDIUM,
    TargetOperation("storage-ignores", "storage-ignores", held=Held.KEPT,
                    needs=STORAGE & Needs(frozenset({"lio", "tgt"})), seconds=IGNORES, errors=()),
    # SCST asks for no second attempt (vdisk_bio_set_failfast, scst_vdisk.c), and reports the first.
    TargetOperation("storage-ignores-failfast", "storage-ignores", held=Held.KEPT,
                    needs=STORAGE & Needs(frozenset({"scst"})), seconds=IGNORES, errors=REPORTED),
    TargetOperation("storage-recovered-error", "storage-recovered-error", needs=STORAGE,
                    seconds=SICK, errors=()),
)
"""Illnesses of a SCSI disk's own: of a device whose disk is one."""

LYING: tuple[TargetOperation, ...] = tuple(
    TargetOperation(name, name, needs=STORAGE, seconds=SICK, errors=())
    for name in ("storage-drop-writes", "storage-corrupt-writes"))

SENSE: Mapping[str, Mapping[str, str]] = {
    "lio": dict.fromkeys(("read", "write"), "02/08/00"),
    "scst": {"write": "03/03/00", "read": "03/11/00"},
    "tgt": dict.fromkeys(("read", "write"), "03/11/00"),
}
"""Sense key/ASC/ASCQ of a command whose I/O the disk ended with an error, by target and direction.

lio: LOGICAL UNIT COMMUNICATION FAILURE, whatever the disk said (iblock_complete_cmd,
target_core_iblock.c; target_complete_cmd and sense_detail_table, target_core_transport.c: NOT
READY, so that initiators try again). scst: PERIPHERAL DEVICE WRITE FAULT, UNRECOVERED READ ERROR
(blockio_endio, scst_vdisk.c). tgt: UNRECOVERED READ ERROR, of WRITEs too (set_medium_error,
usr/bs_rdwr.c).
"""


def sense(target: str, direction: str) -> str:
    """Return how a command ends for which the disk errs, in results.checkers.outcome's words."""
    return f"CHECK CONDITION {SENSE[target][direction]}"


@dataclass(frozen=True)
class SickTeardown:
    """The device is taken away while its disk stalls or errs; the disk is healed behind it.

    A target may not forget a command that its disk has: the teardown waits where it stalls, and has
    to end once the disk goes on. Where it errs there is nothing to wait for. ``seconds``: how long
    the disk is ill once the teardown has begun.
    """

    illness: TargetOperation
    teardown: TargetOperation
    seconds: float = SICK
    breaks: bool = True
    ends_device: bool = True
    held: Held = Held.ANSWERED

    @property
    def name(self) -> str:
        """The names of both."""
        return f"{self.illness.name}+{self.teardown.name}"

    @property
    def needs(self) -> Needs:
        """What both need."""
        return self.illness.needs & self.teardown.needs

    def fire(self, subject: Subject, deadline: float) -> None:
        """Have the disk be ill, see it felt, begin the teardown, see it wait if it has to; heal the
        disk, see it end.

        Raises what the teardown raises.
        """
        falling_ill = subject.begin(self.illness.operation)
        until(lambda: falling_ill.done or falling_ill.waits(), deadline)
        if self.illness.held is Held.ANSWERED:  # an error has to be met; a stall is one already
            subject.backend.release(deadline)
        falling_ill.finish(deadline)
        try:
            running = subject.begin(self.teardown.operation)
            until(lambda: running.done or running.waits(), deadline)
            time.sleep(self.seconds)
        finally:
            subject.heal(self.illness.operation, deadline)
            subject.backend.release(deadline)
        running.finish(deadline)

    def undo(self, subject: Subject, deadline: float) -> None:
        """End what is left of the device."""
        subject.take_device_away()


AROUND: tuple[TargetOperation, ...] = tuple(
    each for each in (*STALLS, *ERRORS)
    if each.name in ("storage-stall", "storage-suspend", "storage-error"))
"""Illnesses that a teardown is begun in."""

TEARDOWNS: tuple[TargetOperation, ...] = tuple(
    each for each in OPERATIONS
    if each.name in ("lun-delete", "lun-clear", "device-delete"))

SICK_TEARDOWNS: tuple[SickTeardown, ...] = tuple(
    SickTeardown(illness, teardown) for illness in AROUND for teardown in TEARDOWNS)

FAULTS: tuple[Fault, ...] = (*ERRORS, *STALLS, *SCSI, *LYING, *SICK_TEARDOWNS)


def sensed(fault: Fault, target: str, direction: str) -> Sequence[str] | None:
    """Return how a command may end that is at a disk which errs; None when that does not."""
    if fault.name not in {each.name for each in (*ERRORS, MEDIUM)}:
        return None
    spared = {"storage-error-writes": "read", "storage-error-reads": "write", MEDIUM.name: "write"}
    return ("GOOD",) if spared.get(fault.name) == direction else (sense(target, direction),)
