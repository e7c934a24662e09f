"""The backend of a device that no process of ours serves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from inject.waiting import wait_until
from results.errors import WrongUsageError


@dataclass(frozen=True)
class NoProcess:
    """The process of a device that has none: it never ends."""

    pid: int = 0
    status: int | None = None

    def signal(self, number: int) -> None:
        """Raise WrongUsageError."""
        raise WrongUsageError(f"there is no process to send signal {number} to")

    def wait(self, deadline: float) -> int:
        """Raise WrongUsageError."""
        raise WrongUsageError("there is no process whose end could be waited for")


class Gate(Protocol):
    """Something below the target that can hold commands in a backend's stead."""

    def hold(self, direction: str | None, deadline: float) -> None:
        """Hold what comes: "read", "write", or all (None)."""

    def held(self) -> int:
        """How many are held."""

    def release(self, deadline: float) -> None:
        """Let all go on."""


HELD_AT = "EXEC"
"""The only point that a gate knows: the target has given the command to what is below it."""


@dataclass(frozen=True)
class NoBackend:
    """Null backend: every request raises WrongUsageError.

    ``why``: "vdisk_fileio is in the kernel", for who asks more of it. ``gate``: what holds
    commands, or None. It tells them by their direction only, and holds all that come.
    """

    why: str
    gate: Gate | None = None
    process: NoProcess = NoProcess()

    def _cannot(self, what: str) -> WrongUsageError:
        return WrongUsageError(f"{self.why}: it cannot {what}")

    def call(self, do: str, *, deadline: float, **arguments: Any) -> Any:
        """Raise WrongUsageError."""
        raise self._cannot(do)

    def seen(self, kind: str, **data: Any) -> list[Mapping[str, Any]]:
        """Return nothing: it reports no events."""
        return []

    def wait_seen(self, kind: str, deadline: float, count: int = 1, **data: Any) -> bool:
        """Return whether no event is waited for."""
        return not count

    def serving(self, deadline: float) -> bool:
        """Tell that the device needs nobody."""
        return True

    def hold(self, point: str, count: int, *, deadline: float,
             opcodes: Sequence[int] | None = None, direction: str | None = None,
             device: str | None = None, least: int = 0) -> None:
        """Hold what comes at the gate; without one, or elsewhere, raises WrongUsageError."""
        if count and (self.gate is None or point != HELD_AT):
            raise self._cannot(f"hold commands in {point}")
        if count and self.gate is not None:
            self.gate.hold(direction, deadline)

    def wait_held(self, count: int, deadline: float) -> bool:
        """Wait until ``count`` commands are held; tell whether they are."""
        gate = self.gate
        return not count or (gate is not None and wait_until(
            lambda: gate.held() >= count, deadline))

    def release(self, deadline: float) -> None:
        """Let what is held go on."""
        if self.gate is not None:
            self.gate.release(deadline)

    def misbehave(self, how: str, count: int, *, deadline: float, direction: str | None = None,
                  medium: str | None = None) -> None:
        """Raise WrongUsageError."""
        raise self._cannot("misbehave")

    def wait_misbehaved(self, count: int, deadline: float) -> bool:
        """Return whether none had to be."""
        return not count

    def behave(self, deadline: float) -> None:
        """It has not misbehaved."""

    def close(self, deadline: float) -> None:
        """Raise WrongUsageError."""
        raise self._cannot("close its device")

    def kill(self) -> None:
        """Raise WrongUsageError."""
        raise self._cannot("be killed")

    def end(self, deadline: float) -> None:
        """Nothing runs."""
