# SPDX-License-Identifier: GPL-2.0-or-later
"""An administrator changes the target while the backend holds commands.

The set of commands that an operation waits for depends on the target. The operation must end once
those have been answered, and leave the kernel healthy. If the operation waits for commands, the
fault releases them only after it was seen waiting; otherwise the operation ends while they are
held.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from inject.contract import FaultContext, Running
from inject.fault import (
    ANYTHING,
    ISCSI,
    LIO_BACKSTORES,
    SCST_HANDLERS,
    VDISK,
    Expected,
    Fault,
    Held,
    Needs,
)
from inject.outcomes import (
    ABORTED_LATE,
    COMPLETED,
    GOOD,
    LOST_WAY,
    NEXUS_LOST,
    RECOVERY_GRACE,
    TIMER,
    ends_with,
    grace_in,
)
from inject.point import State
from inject.traits import TargetTraits
from inject.waiting import wait_until


@dataclass(frozen=True)
class TargetOperation:
    """One operation, by its name at the target (targets.*.operations).

    ``seconds``: time for which the target stays changed before the operation is undone.
    ``waits_for_users``: whether the operation ends only after the initiator's programs have closed
    the disk (the removal of a SCSI host); ``undo`` ends these programs first. ``outcomes``,
    ``clause``: allowed outcomes of a command without a status, and the clause that allows them.
    ``grace``: seconds beyond the ladder's that commands may take. ``teardown_grace``: seconds
    beyond the ladder's that a teardown may take during the operation. ``disk_fails``: directions of
    the commands that the disk below ends with an error (TargetTraits.disk_error_sense).
    ``further``: needs besides a target that lists the operation. ``beside``: additional needs when
    the operation is combined with a teardown; ``ends_in_teardown``, ``ends_afterwards``: as in
    inject.combined.Disturbance. ``errors``: errno names with which I/O may fail; (): no I/O may
    fail; None: no check.
    """

    name: str
    operation: str
    ends_device: bool = False
    held: Held = Held.ANSWERED
    further: Needs = ANYTHING
    seconds: float = 0.0
    waits_for_users: bool = False
    breaks: bool = True
    errors: tuple[str, ...] | None = None
    outcomes: tuple[str, ...] = (GOOD,)
    clause: str = COMPLETED
    grace: float = 0.0
    teardown_grace: float = 0.0
    disk_fails: frozenset[str] = frozenset()
    beside: Needs = ANYTHING
    ends_in_teardown: float | None = None
    ends_afterwards: bool = False

    @property
    def needs(self) -> Needs:
        """A target that lists the operation, and the fault's further needs."""
        return Needs(operations=frozenset({self.operation})) & self.further

    def expected(
        self, state: State, traits: TargetTraits, direction: str = "none",
    ) -> Expected:
        """Return the operation's ``outcomes``, or the sense data of a disk that fails."""
        found = self._of_disk(state, traits, direction) if self.disk_fails else ends_with(
            state, self.outcomes, self.clause, grace=self.grace, errors=self.errors)
        answered = self.held is Held.ANSWERED
        return replace(found, waits=traits.waits_in(self.operation, state) if answered else "")

    def _of_disk(self, state: State, traits: TargetTraits, direction: str) -> Expected:
        failed = direction in self.disk_fails
        sense = traits.disk_error_sense[direction] if failed else ""
        return Expected((f"CHECK CONDITION {sense}",) if failed else (GOOD,), self.clause,
                        grace=grace_in(state, self.grace), errors=self.errors)

    @property
    def needs_beside(self) -> Needs:
        """Needs of the operation during a teardown."""
        return self.needs & self.beside

    def grace_beside(
        self, teardown: Fault, state: State, traits: TargetTraits,
    ) -> tuple[float, float]:
        """Return the seconds beyond the ladder's for commands and for a teardown."""
        return self.expected(state, traits).grace, self.teardown_grace

    def start(self, context: FaultContext, deadline: float) -> Running:
        """Begin the operation; wait until it waits or ends."""
        running = context.deployment.begin(self.operation)
        wait_until(lambda: running.done or running.waits(), deadline)
        return running

    def begin(self, context: FaultContext, deadline: float) -> None:
        """Begin the operation as a disturbance.

        Release held commands only if they have to reach a disk that fails I/O.
        """
        running = self.start(context, deadline)
        if self.disk_fails:
            context.deployment.backend.release(deadline)
        running.finish(deadline)

    def end(self, context: FaultContext, deadline: float) -> None:
        """Undo the operation as a disturbance."""
        context.deployment.heal(self.operation, deadline)

    def fire(self, context: FaultContext, deadline: float) -> None:
        """Begin the operation, see it wait or end, release the commands if ``held`` is ANSWERED.

        Wait for its end unless it waits for users. Raises the operation's error.
        """
        running = self.start(context, deadline)
        if self.held is Held.ANSWERED:
            context.keep()
            context.observed(self.operation, ended=running.done)
            context.deployment.backend.release(deadline)
        if not self.waits_for_users:
            running.finish(deadline)
        if self.held is Held.KEPT:
            context.keep()
        context.sleep(self.seconds)

    def undo(self, context: FaultContext, deadline: float) -> None:
        """Undo the operation and release held commands.

        If the operation ends the device, remove the rest of the device instead.
        """
        if self.waits_for_users:
            context.initiators.end_loads()
            context.deployment.heal(self.operation, deadline)
        if self.ends_device:
            context.deployment.take_device_away()
        else:
            context.deployment.heal(self.operation, deadline)
            context.deployment.backend.release(deadline)


LOOPBACK = Needs(transports=frozenset({"loopback"}))
NBD = Needs(backends=frozenset({"nbd"}), in_kernel=False)
"""A target that is a process, with a network block device behind it."""

BLACK_HOLE_SECONDS = 2.5
"""Seconds: more than half of the initiator's command timer of 4 s. Commands sent during this time
are lost for good; later ones find a working target."""

ENDS_OR_LOST = (GOOD, *LOST_WAY)

LUN_GOES = ("SAM-5 5.3.1: a command that is in the task set is completed before its logical unit "
            "goes; the initiator ends those that it has not sent yet")
SESSION_ENDS = "RFC 7143 11.14.5: tasks are terminated with their session; " + NEXUS_LOST
BLACK_HOLE = "README of SCST, black_hole: commands, or functions, vanish; " + TIMER
NO_MEMORY = "no standard bounds how long memory may be short; " + TIMER
OFFLINE = ("target_cmd_queue, usr/target.c: a command that comes while the target is offline is "
           "never answered, until the initiator aborts it and sends it again")
DAEMON_KILLED = ("RFC 7143 7.1.4.4: session recovery; commands are sent again when the target is "
                 "there again")

OPERATIONS: tuple[TargetOperation, ...] = (
    TargetOperation("lun-delete", "lun-delete", True, outcomes=ENDS_OR_LOST, clause=LUN_GOES),
    TargetOperation("lun-clear", "lun-clear", True, outcomes=ENDS_OR_LOST, clause=LUN_GOES),
    TargetOperation("lun-replace", "lun-replace", True),
    TargetOperation("lun-replace-same", "lun-replace-same"),
    TargetOperation("lun-delete-add", "lun-delete", further=SCST_HANDLERS),
    TargetOperation("lun-add", "lun-add", held=Held.KEPT),
    TargetOperation("target-disable", "target-disable", held=Held.KEPT, further=ISCSI,
                    outcomes=ENDS_OR_LOST, clause=SESSION_ENDS),
    TargetOperation("target-delete", "target-delete", True, further=LOOPBACK,
                    waits_for_users=True, outcomes=ENDS_OR_LOST, clause=NEXUS_LOST),
    TargetOperation("session-close", "session-close", held=Held.KEPT, further=ISCSI,
                    outcomes=LOST_WAY, clause=SESSION_ENDS),
    TargetOperation("session-delete", "session-delete", True, further=LOOPBACK,
                    waits_for_users=True, outcomes=ENDS_OR_LOST, clause=NEXUS_LOST),
    TargetOperation("suspend", "suspend"),
    TargetOperation("device-block", "device-block", seconds=0.5, further=SCST_HANDLERS),
    TargetOperation("device-delete", "device-delete", True, further=VDISK),
    *(TargetOperation(f"black-hole-{kind}", f"black-hole-{kind}", held=Held.KEPT,
                      seconds=BLACK_HOLE_SECONDS, outcomes=ABORTED_LATE, clause=BLACK_HOLE,
                      grace=RECOVERY_GRACE) for kind in range(1, 5)),
    TargetOperation("target-delete-in-use", "target-delete-in-use", held=Held.KEPT,
                    further=ISCSI),
    TargetOperation("threads", "threads", further=VDISK),
    TargetOperation("threads-pool-type", "threads-pool-type", further=VDISK),
    TargetOperation("module-unload-handler", "module-unload-handler", held=Held.KEPT),
    TargetOperation("module-unload-driver", "module-unload-driver", held=Held.KEPT),
    TargetOperation("module-unload-core", "module-unload-core", held=Held.KEPT),
    TargetOperation("memory-pressure", "memory-pressure", held=Held.KEPT, seconds=0.5,
                    outcomes=ABORTED_LATE, clause=NO_MEMORY, grace=RECOVERY_GRACE,
                    teardown_grace=12.0),
    TargetOperation("backstore-delete", "backstore-delete", held=Held.KEPT,
                    further=LIO_BACKSTORES),
    TargetOperation("backstore-block", "device-block", held=Held.KEPT, seconds=1.0,
                    further=LIO_BACKSTORES),
    TargetOperation("target-delete-force", "target-delete-force", True, further=NBD),
    TargetOperation("target-offline", "target-offline", held=Held.KEPT, further=NBD, seconds=0.5,
                    clause=OFFLINE, grace=RECOVERY_GRACE),
    *(TargetOperation(name, name, held=Held.KEPT, further=NBD, errors=()) for name in (
        "lun-delete-in-use", "target-delete-force-in-use", "connection-delete", "portal-delete",
        "daemon-term", "daemon-delete")),
    TargetOperation("daemon-stop", "daemon-stop", held=Held.KEPT, further=NBD, seconds=0.5,
                    errors=()),
    TargetOperation("daemon-kill", "daemon-kill", further=NBD, errors=(), clause=DAEMON_KILLED,
                    grace=RECOVERY_GRACE),
)
