# SPDX-License-Identifier: GPL-2.0-or-later
"""The disk below an in-kernel target fails, and is healed.

Commands held at the disk's gate (targets.storage) meet the failure. Its expected results, by the
targets' own sources:

- A disk that ends I/O with an error, or (a SCSI disk) with sense data: CHECK CONDITION, with the
  sense data of TargetTraits.disk_error_sense. The midlayer turns that into EIO, or into ENODATA for
  an unrecovered read error (scsi_check_sense, drivers/scsi/scsi_error.c).
- A disk that is slow, or stalls for less than the initiator's command timer (4 s,
  fixtures.initiator.openiscsi): commands only take longer.
- A disk that stalls for longer: the initiator's error handling aborts commands in flight and sends
  them again. After 4 + 2 + 2 + 2 + 2 s (command, ABORT TASK, the resets, a new session) it ends the
  commands with EIO, and its disk may be offline.
- A SCSI disk that answers nothing, for less than the initiator's timer: the kernel's error handling
  aborts and retries below the target (scmd_eh_abort_handler, drivers/scsi/scsi_error.c); commands
  only take longer, unless the target requests no retry. No I/O fails if the disk reports RECOVERED
  ERROR.
- A disk that drops or changes acknowledged data: no target can notice; integrity checks have to.
"""

from __future__ import annotations

from dataclasses import replace

from inject.combined import Combined
from inject.fault import VDISK, Fault, Held, Needs
from inject.outcomes import ABORTED_LATE, RECOVERY_GRACE, TIMER
from inject.target_operation import OPERATIONS, TargetOperation

STORAGE = Needs(backends=frozenset({"iblock", "vdisk_blockio", "block"}))
"""LIO's and SCST's handlers of a block device, and tgtd's file that is a block device."""

FAILFAST = STORAGE & VDISK
RETRIED = Needs(backends=STORAGE.backends - VDISK.backends)
"""Handlers that request no retry below them, and handlers that allow one."""

FAILING_SECONDS = 0.5
"""Seconds for which a disk fails I/O, or drops or changes writes: a few I/Os of each workload
thread."""

SHORT, LONG, LONGER = 1.0, 5.0, 12.5
"""Seconds of a stall: less than the initiator's command timer of 4 s; more than it; more than all
of the initiator's error handling."""

IGNORES = 1.5
"""Seconds for which a disk answers nothing.

The disk's own timer of 1 s (targets.storage.SCSI_TIMER) runs out; including the retry, the time is
less than the initiator's timer.
"""

REPORTED = ("EIO", "ENODATA")

DISK_ERRS = ("SBC-4 4.18.1: CHECK CONDITION of a command that the medium fails, with the "
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
    # SCST requests no retry (vdisk_bio_set_failfast, scst_vdisk.c), and reports the first error.
    TargetOperation("storage-ignores-failfast", "storage-ignores", held=Held.KEPT,
                    further=FAILFAST, seconds=IGNORES, errors=REPORTED),
    TargetOperation("storage-recovered-error", "storage-recovered-error", further=STORAGE,
                    seconds=FAILING_SECONDS, errors=()),
)
"""Failures that only a SCSI disk has: for a device whose disk is one."""

WRONG_DATA: tuple[TargetOperation, ...] = tuple(
    TargetOperation(name, name, further=STORAGE, seconds=FAILING_SECONDS, errors=())
    for name in ("storage-drop-writes", "storage-corrupt-writes"))

AROUND: tuple[TargetOperation, ...] = tuple(
    replace(each, ends_in_teardown=FAILING_SECONDS) for each in (*STALLS, *ERRORS)
    if each.name in ("storage-stall", "storage-suspend", "storage-error"))
"""Failures around a teardown: the disk is healed FAILING_SECONDS after the teardown has begun."""

TEARDOWNS: tuple[TargetOperation, ...] = tuple(
    each for each in OPERATIONS
    if each.name in ("lun-delete", "lun-clear", "device-delete"))

FAILING_DISK_TEARDOWNS: tuple[Combined, ...] = tuple(
    Combined(disk_fault, teardown) for disk_fault in AROUND for teardown in TEARDOWNS)

FAULTS: tuple[Fault, ...] = (*ERRORS, *STALLS, *SCSI, *WRONG_DATA, *FAILING_DISK_TEARDOWNS)
