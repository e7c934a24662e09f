"""The disk below a target that is all in the kernel fails, and is healed.

What was held at the disk's gate (targets.storage) meets the failure. What it must lead to, by the
targets' own sources:

- A disk that errs, by itself or (a SCSI disk) with sense data of its own: CHECK CONDITION, with the
  sense data of TargetTraits.disk_error_sense; the midlayer makes EIO of it, or ENODATA of an
  unrecovered read error (scsi_check_sense, drivers/scsi/scsi_error.c).
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

from dataclasses import replace

from inject.combined import Combined
from inject.fault import VDISK, Fault, Held, Needs
from inject.outcomes import ABORTED_LATE, RECOVERY_GRACE, TIMER
from inject.target_operation import OPERATIONS, TargetOperation

STORAGE = Needs(backends=frozenset({"iblock", "vdisk_blockio", "block"}))
"""LIO's and SCST's handlers of a block device, and tgtd's file that is one."""

FAILFAST = STORAGE & VDISK
RETRIED = Needs(backends=STORAGE.backends - VDISK.backends)
"""Handlers that want no second attempt below them, and those that do."""

FAILING_SECONDS = 0.5
"""Seconds for which a disk errs or lies: a few I/Os of each thread of the workload."""

SHORT, LONG, LONGER = 1.0, 5.0, 12.5
"""Seconds for which it stalls: less than the initiator's command timer of 4 s; more; more than all
that its error handling tries."""

IGNORES = 1.5
"""Seconds for which a disk answers nothing: its own timer of 1 s (targets.storage.SCSI_TIMER) runs
out, and with the time until it is tried again it is less than the initiator's."""

REPORTED = ("EIO", "ENODATA")

DISK_ERRS = ("SBC-4, error reporting: CHECK CONDITION of a command that the medium fails, with the "
             "sense data of the target's source (TargetTraits.disk_error_sense)")
GIVEN_UP = f"{TIMER}; the command is given up after as many attempts (scsi_error.c)"

ERRORS: tuple[TargetOperation, ...] = tuple(
    TargetOperation(name, name, further=STORAGE, seconds=FAILING_SECONDS, errors=REPORTED,
                    clause=DISK_ERRS,
                    disk_fails=frozenset(directions.split()))
    for name, directions in (("storage-error", "read write"), ("storage-error-writes", "write"),
                             ("storage-error-reads", "read")))

STALLS: tuple[TargetOperation, ...] = (
    TargetOperation("storage-slow", "storage-slow", further=STORAGE, seconds=SHORT, errors=()),
    TargetOperation("storage-stall", "storage-stall", held=Held.KEPT, further=STORAGE,
                    seconds=SHORT, errors=()),
    TargetOperation("storage-suspend", "storage-suspend", held=Held.KEPT, further=STORAGE,
                    seconds=SHORT, errors=()),
    TargetOperation("storage-stall-long", "storage-stall", held=Held.KEPT, further=STORAGE,
                    seconds=LONG, errors=(), outcomes=ABORTED_LATE, clause=TIMER,
                    grace=RECOVERY_GRACE),
    TargetOperation("storage-stall-longer", "storage-stall", held=Held.KEPT, further=STORAGE,
                    seconds=LONGER, outcomes=ABORTED_LATE, clause=GIVEN_UP, grace=20.0),
)

MEDIUM = TargetOperation("storage-medium-error", "storage-medium-error", further=STORAGE,
                         seconds=FAILING_SECONDS, errors=REPORTED, clause=DISK_ERRS,
                         disk_fails=frozenset({"read"}))
"""The READs of a SCSI disk end with UNRECOVERED READ ERROR (03/11/00)."""

SCSI: tuple[TargetOperation, ...] = (
    MEDIUM,
    TargetOperation("storage-ignores", "storage-ignores", held=Held.KEPT,
                    further=RETRIED, seconds=IGNORES, errors=()),
    # SCST asks for no second attempt (vdisk_bio_set_failfast, scst_vdisk.c), and reports the first.
    TargetOperation("storage-ignores-failfast", "storage-ignores", held=Held.KEPT,
                    further=FAILFAST, seconds=IGNORES, errors=REPORTED),
    TargetOperation("storage-recovered-error", "storage-recovered-error", further=STORAGE,
                    seconds=FAILING_SECONDS, errors=()),
)
"""Failures of a SCSI disk's own: of a device whose disk is one."""

LYING: tuple[TargetOperation, ...] = tuple(
    TargetOperation(name, name, further=STORAGE, seconds=FAILING_SECONDS, errors=())
    for name in ("storage-drop-writes", "storage-corrupt-writes"))

AROUND: tuple[TargetOperation, ...] = tuple(
    replace(each, ends_in_teardown=FAILING_SECONDS) for each in (*STALLS, *ERRORS)
    if each.name in ("storage-stall", "storage-suspend", "storage-error"))
"""Illnesses that a teardown is begun in: the disk is healed SICK seconds behind its begin."""

TEARDOWNS: tuple[TargetOperation, ...] = tuple(
    each for each in OPERATIONS
    if each.name in ("lun-delete", "lun-clear", "device-delete"))

FAILING_DISK_TEARDOWNS: tuple[Combined, ...] = tuple(
    Combined(disk_fault, teardown) for disk_fault in AROUND for teardown in TEARDOWNS)

FAULTS: tuple[Fault, ...] = (*ERRORS, *STALLS, *SCSI, *LYING, *FAILING_DISK_TEARDOWNS)
