"""An administrator changes the target while commands are in the backend's hands.

Which commands an operation waits for is the target's affair; that it ends once they have been
answered, and leaves the kernel healthy, is what has to hold. An operation that waits is seen to
wait before the commands are let go; one that does not has ended while they are still held.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from inject.fault import ANYTHING, SCST, Held, Needs, Subject
from inject.waiting import until


@dataclass(frozen=True)
class TargetOperation:
    """One operation, by its name at the target (targets.*.operations).

    ``seconds``: how long the target stays as the operation left it before it is undone.
    ``waits_for_users``: it does not end before the initiator's programs have closed the disk, as
    the removal of a SCSI host does not; they have to between ``fire`` and ``undo``.
    ``errors``: with what I/O may fail after it (errno names); (): with nothing, the initiator
    recovers; None: with anything.
    """

    name: str
    operation: str
    ends_device: bool = False
    held: Held = Held.ANSWERED
    needs: Needs = SCST
    seconds: float = 0.0
    waits_for_users: bool = False
    breaks: bool = True
    errors: tuple[str, ...] | None = None

    def fire(self, subject: Subject, deadline: float) -> None:
        """Begin it, see it wait or end, let the commands go if that is the kind, see it end.

        Raises what the operation raises.
        """
        running = subject.begin(self.operation)
        until(lambda: running.done or running.waits(), deadline)
        if self.held is Held.ANSWERED:
            subject.backend.release(deadline)
        if not self.waits_for_users:
            running.finish(deadline)
        time.sleep(self.seconds)

    def undo(self, subject: Subject, deadline: float) -> None:
        """Undo it and let what is held go on; where the device is gone, end what is left."""
        if self.waits_for_users:
            subject.heal(self.operation, deadline)
        if self.ends_device:
            subject.take_device_away()
        else:
            subject.heal(self.operation, deadline)
            subject.backend.release(deadline)


def needs(**of: str) -> Needs:
    """Return what an operation of SCST's needs beside: ``transports``, ``backends``."""
    return Needs(frozenset({"scst"}), **{
        name: frozenset(words.split()) for name, words in of.items()})


ISCSI = needs(transports="iscsi")
LOOPBACK = needs(transports="loopback")
VDISK = needs(backends="vdisk_fileio vdisk_blockio vdisk_nullio")
LIO = Needs(targets=frozenset({"lio"}))
TGT = Needs(targets=frozenset({"tgt"}), backends=frozenset({"nbd"}))

BLACK_HOLE_SECONDS = 2.5
"""More than half of the initiator's command timer of 4 s: what falls in is lost for good, what
comes after finds the target well."""

OPERATIONS: tuple[TargetOperation, ...] = (
    TargetOperation("lun-delete", "lun-delete", True, needs=ANYTHING),
    TargetOperation("lun-clear", "lun-clear", True),
    TargetOperation("lun-replace", "lun-replace", True),
    TargetOperation("lun-replace-same", "lun-replace-same"),
    TargetOperation("lun-delete-add", "lun-delete"),
    TargetOperation("lun-add", "lun-add", held=Held.KEPT),
    TargetOperation("target-disable", "target-disable", held=Held.KEPT,
                    needs=Needs(frozenset({"scst", "lio"}), transports=frozenset({"iscsi"}))),
    TargetOperation("target-delete", "target-delete", True, needs=LOOPBACK,
                    waits_for_users=True),
    TargetOperation("session-close", "session-close", held=Held.KEPT, needs=ISCSI),
    TargetOperation("session-delete", "session-delete", True, needs=LOOPBACK,
                    waits_for_users=True),
    TargetOperation("suspend", "suspend"),
    TargetOperation("device-block", "device-block", seconds=0.5),
    TargetOperation("device-delete", "device-delete", True, needs=VDISK),
    *(TargetOperation(f"black-hole-{kind}", f"black-hole-{kind}", held=Held.KEPT,
                      seconds=BLACK_HOLE_SECONDS) for kind in range(1, 5)),
    TargetOperation("target-delete-in-use", "target-delete-in-use", held=Held.KEPT,
                    needs=Needs(frozenset({"scst", "tgt"}), transports=frozenset({"iscsi"}))),
    TargetOperation("threads", "threads", needs=VDISK),
    TargetOperation("threads-pool-type", "threads-pool-type", needs=VDISK),
    TargetOperation("module-unload-handler", "module-unload-handler", held=Held.KEPT),
    TargetOperation("module-unload-driver", "module-unload-driver", held=Held.KEPT),
    TargetOperation("module-unload-core", "module-unload-core", held=Held.KEPT),
    TargetOperation("memory-pressure", "memory-pressure", held=Held.KEPT, needs=ANYTHING,
                    seconds=0.5),
    TargetOperation("backstore-delete", "backstore-delete", held=Held.KEPT, needs=LIO),
    TargetOperation("backstore-block", "device-block", held=Held.KEPT, seconds=1.0, needs=LIO),
    TargetOperation("target-delete-force", "target-delete-force", True, needs=TGT),
    TargetOperation("target-offline", "target-offline", held=Held.KEPT, needs=TGT, seconds=0.5),
    *(TargetOperation(name, name, held=Held.KEPT, needs=TGT, errors=()) for name in (
        "lun-delete-in-use", "target-delete-force-in-use", "connection-delete", "portal-delete",
        "daemon-term", "daemon-delete")),
    TargetOperation("daemon-stop", "daemon-stop", held=Held.KEPT, needs=TGT, seconds=0.5,
                    errors=()),
    TargetOperation("daemon-kill", "daemon-kill", needs=TGT, errors=()),
)
