"""Two faults at once: the device is taken away while the machine, too, is not what it was."""

from __future__ import annotations

from dataclasses import dataclass, replace

from inject.backend_close import BackendClose, BackendUnregister
from inject.backend_end import KILL, TERMINATE, BackendExit
from inject.backend_fork import BackendFork
from inject.backend_stop import BackendStopKill
from inject.daemon import DAEMONS
from inject.fault import Fault, Held, Needs, Subject
from inject.lun_remove import LunRemove
from inject.system import ALLOCATIONS, KERNELS, SYSTEM
from inject.target_operation import OPERATIONS, TargetOperation


@dataclass(frozen=True)
class Pair:
    """A disturbance and a teardown. ``first``: whether the disturbance comes first; otherwise it
    comes when the teardown has begun. It lasts until the teardown has ended."""

    disturbance: TargetOperation
    teardown: Fault
    first: bool = True
    breaks: bool = True
    ends_device: bool = True

    @property
    def name(self) -> str:
        """The names of both, in the order in which they come."""
        names = (self.disturbance.name, self.teardown.name)
        return "+".join(names if self.first else reversed(names))

    @property
    def held(self) -> Held:
        """What the teardown makes of the commands that are held."""
        return self.teardown.held

    @property
    def needs(self) -> Needs:
        """What both need. Where a program has no memory, an administrator's order to it has none
        either, and is refused: a teardown is for targets in the kernel then."""
        needs = self.disturbance.needs & self.teardown.needs
        return needs & Needs(KERNELS) if self.disturbance in ALLOCATIONS else needs

    def fire(self, subject: Subject, deadline: float) -> None:
        """Fire both, one after the other."""
        disturb = replace(self.disturbance, seconds=0.0, held=Held.KEPT)
        faults = (disturb, self.teardown) if self.first else (self.teardown, disturb)
        for fault in faults:
            fault.fire(subject, deadline)

    def undo(self, subject: Subject, deadline: float) -> None:
        """See the teardown end, and give back what was taken."""
        try:
            self.teardown.undo(subject, deadline)
        finally:
            subject.heal(self.disturbance.operation, deadline)


DISTURBANCES: tuple[TargetOperation, ...] = (
    *SYSTEM, *(each for each in OPERATIONS if each.name == "memory-pressure"),
    *(each for each in DAEMONS if each.name == "scstd-stop"), *ALLOCATIONS)
"""Not tgtd-stop: tgtd is who takes a device away."""

APART = frozenset({
    "target-delete", "session-delete",  # the initiator's programs must close the disk in between
    "device-delete",  # of a handler in the kernel, which holds no commands
    "lun-replace",  # another medium: what was written is not to be found again
})
"""Faults that end the device, and cannot be one of two."""

TEARDOWNS: tuple[Fault, ...] = (
    BackendClose(), KILL, TERMINATE, BackendExit(), BackendUnregister(), BackendFork(),
    BackendStopKill(), LunRemove(),
    *(each for each in OPERATIONS if each.ends_device and each.name not in APART))


def cannot(disturbance: TargetOperation, teardown: Fault, first: bool) -> str | None:
    """Return why two faults do not go together in an order; None when they do."""
    if disturbance.name == "backend-starved" and teardown.held is Held.LOST and not first:
        return "a backend that has ended cannot be starved"
    if disturbance in ALLOCATIONS and not first:
        return "a device that has begun to go asks for too little memory"
    try:
        _ = Pair(disturbance, teardown, first).needs
    except ValueError as error:
        return str(error)
    return None


PAIRS: tuple[Pair, ...] = tuple(
    Pair(disturbance, teardown, first)
    for disturbance in DISTURBANCES for teardown in TEARDOWNS for first in (True, False)
    if cannot(disturbance, teardown, first) is None)
