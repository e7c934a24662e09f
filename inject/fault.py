"""What a fault is: one thing that is broken at a point, and its undo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol


class Process(Protocol):
    """The backend's process."""

    @property
    def status(self) -> int | None:
        """Exit status (negative: signal number), or None while it runs."""

    def signal(self, number: int) -> None:
        """Send it a signal."""

    def wait(self, deadline: float) -> int:
        """Wait for its end and return its exit status."""


class Backend(Protocol):
    """What a fault can do to a backend; deadlines in seconds."""

    @property
    def process(self) -> Process:
        """Its process."""

    def call(self, do: str, *, deadline: float, **arguments: Any) -> Any:
        """Give a command of its protocol and return the result."""

    def hold(
        self, point: str, count: int, *, deadline: float, opcodes: Sequence[int] | None = None,
        direction: str | None = None,
    ) -> None:
        """Hold the next ``count`` matching commands at ``point``."""

    def release(self, deadline: float) -> None:
        """Let every held command go on."""

    def lie(
        self, how: str, count: int, *, deadline: float, direction: str | None = None,
        medium: str | None = None,
    ) -> None:
        """Lie to the next ``count`` READs and WRITEs that match."""

    def wait_lied(self, count: int, deadline: float) -> bool:
        """Wait until as many lies have been told; tell whether they have."""

    def stop_lying(self, deadline: float) -> None:
        """Tell the truth again."""

    def close(self, deadline: float) -> None:
        """Close the device."""

    def kill(self) -> None:
        """SIGKILL."""


class Running(Protocol):
    """An operation on the target that was begun."""

    @property
    def done(self) -> bool:
        """Whether it has ended, well or not."""

    def waits(self) -> bool:
        """Whether it waits in the kernel for commands that somebody has."""

    def finish(self, deadline: float) -> None:
        """Wait for its end. Raises TargetFailedError when it fails or is late."""


class Subject(Protocol):
    """What a fault is done to: a deployed device (targets.target.Deployment provides it)."""

    @property
    def backend(self) -> Backend:
        """The device's backend."""

    def begin(self, operation: str) -> Running:
        """Begin an operation of an administrator's, by name."""

    def heal(self, operation: str, deadline: float) -> None:
        """Undo an operation that was begun."""

    def present(self) -> bool:
        """Whether the kernel lists the device."""

    def reachable(self) -> bool:
        """Whether the target lists the LUN under test."""

    def end_process(self, pid: int) -> None:
        """SIGKILL a process on the machine that is not the backend's own."""

    def remove_lun(self) -> None:
        """Take the LUN away from under the initiator; returns when it has gone."""

    def removal_waits(self) -> bool:
        """Whether a removal that was begun waits in the kernel."""

    def take_device_away(self) -> None:
        """End the device, whatever is left of it."""


class Held(StrEnum):
    """What becomes of the commands that the backend held when a fault fired."""

    ANSWERED = "answered"  # by the backend, while the fault goes on: the fault waits for them
    LOST = "lost"  # the backend cannot any more: the kernel has to answer
    KEPT = "kept"  # they stay held, until the undo lets them go


@dataclass(frozen=True)
class Needs:
    """What a fault can be done to. An empty set is anything.

    ``targets``: by name. ``backends``: names of protocols between kernel and backend
    ("scst_user", "tcmu", "nbd") or of handlers in the kernel ("vdisk_fileio"). ``transports``:
    "iscsi", "loopback". ``kernel``: all that the machine's kernel has to have been built with,
    by the names of targets.allocation; that is seen when the machine is there.
    """

    targets: frozenset[str] = frozenset()
    backends: frozenset[str] = frozenset()
    transports: frozenset[str] = frozenset()
    kernel: frozenset[str] = frozenset()

    def met(self, target: str, backend: str, transport: str) -> bool:
        """Tell whether a fault can be done to this."""
        return all(not wanted or given in wanted for wanted, given in (
            (self.targets, target), (self.backends, backend), (self.transports, transport)))

    def on(self, target: str) -> bool:
        """Tell whether a fault can be done on a target at all."""
        return not self.targets or target in self.targets

    def __and__(self, other: Needs) -> Needs:
        """Return what two faults need that are done to the same. Raises ValueError when there is
        nothing that both can be done to."""
        return Needs(
            _both(self.targets, other.targets), _both(self.backends, other.backends),
            _both(self.transports, other.transports), self.kernel | other.kernel)


def _both(mine: frozenset[str], theirs: frozenset[str]) -> frozenset[str]:
    if mine and theirs and not mine & theirs:
        raise ValueError(f"nothing is one of {sorted(mine)} and of {sorted(theirs)}")
    return mine & theirs or mine | theirs


ANYTHING = Needs()
ISCSI = Needs(transports=frozenset({"iscsi"}))
PROCESS = Needs(backends=frozenset({"scst_user", "tcmu", "nbd"}))
"""A backend that is a process."""
SCST_USER = Needs(backends=frozenset({"scst_user"}))
SCST = Needs(targets=frozenset({"scst"}))


class Fault(Protocol):
    """One fault."""

    @property
    def name(self) -> str:
        """Its name in scenario ids."""

    @property
    def breaks(self) -> bool:
        """Whether it breaks anything: False for the control."""

    @property
    def ends_device(self) -> bool:
        """Whether the device is gone once it has been undone."""

    @property
    def held(self) -> Held:
        """What becomes of the commands that are held."""

    @property
    def needs(self) -> Needs:
        """What it can be done to."""

    def fire(self, subject: Subject, deadline: float) -> None:
        """Break it. Returns as soon as it is broken; ``deadline`` in seconds bounds that."""

    def undo(self, subject: Subject, deadline: float) -> None:
        """Heal: leave nothing in the way of deploying the device again."""
