"""What a fault is: one thing that is broken at a point, and its undo."""

from __future__ import annotations

from typing import Protocol


class Backend(Protocol):
    """What a fault can do to a backend; deadlines in seconds."""

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


class Subject(Protocol):
    """What a fault is done to: a deployed device (targets.target.Deployment provides it)."""

    @property
    def backend(self) -> Backend:
        """The device's backend."""

    def remove_lun(self) -> None:
        """Take the LUN away from under the initiator; returns when it has gone."""

    def removal_waits(self) -> bool:
        """Whether a removal that was begun waits in the kernel."""

    def take_device_away(self) -> None:
        """End the device, whatever is left of it."""


class Fault(Protocol):
    """One fault."""

    @property
    def name(self) -> str:
        """Its name in scenario ids."""

    @property
    def breaks(self) -> bool:
        """Whether it breaks anything: False for the control."""

    def fire(self, subject: Subject, deadline: float) -> None:
        """Break it. Returns as soon as it is broken; ``deadline`` in seconds bounds that."""

    def undo(self, subject: Subject, deadline: float) -> None:
        """Heal: leave nothing in the way of deploying the device again."""
