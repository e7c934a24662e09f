# SPDX-License-Identifier: GPL-2.0-or-later
"""The backend of a device that no process of this project serves."""

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
    """A component below the target that can hold commands in place of a backend."""

    def hold(self, direction: str | None, deadline: float) -> None:
        """Hold new commands: "read", "write", or all (None)."""

    def held(self) -> int:
        """Return the number of held commands."""

    def release(self, deadline: float) -> None:
        """Release all held commands."""


HELD_AT = "EXEC"
"""The only point of a gate: the target has passed the command to its storage."""


@dataclass(frozen=True)
class NoBackend:
    """Null backend: every request raises WrongUsageError.

    ``why``: the reason in error messages, such as "vdisk_fileio is in the kernel". ``gate``: a gate
    that holds commands, or None. A gate selects commands by direction only, and holds all that
    match.
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
        """Return no events: a null backend reports none."""
        return []

    def wait_seen(self, kind: str, deadline: float, count: int = 1, **data: Any) -> bool:
        """Return whether ``count`` is 0, since no event comes."""
        return not count

    def serving(self, deadline: float) -> bool:
        """Return True: the device needs no backend process."""
        return True

    def hold(self, point: str, count: int, *, deadline: float,
             opcodes: Sequence[int] | None = None, direction: str | None = None,
             device: str | None = None, lbas: Sequence[int] | None = None) -> None:
        """Hold new commands at the gate.

        Raises WrongUsageError without a gate, or at another point.
        """
        if count and (self.gate is None or point != HELD_AT):
            raise self._cannot(f"hold commands in {point}")
        if count and self.gate is not None:
            self.gate.hold(direction, deadline)

    def wait_held(self, count: int, deadline: float) -> bool:
        """Wait until ``count`` commands are held; return whether they are."""
        gate = self.gate
        return not count or (gate is not None and wait_until(
            lambda: gate.held() >= count, deadline))

    def release(self, deadline: float) -> None:
        """Release the held commands."""
        if self.gate is not None:
            self.gate.release(deadline)

    def misbehave(self, how: str, count: int, *, deadline: float, direction: str | None = None,
                  medium: str | None = None) -> None:
        """Raise WrongUsageError."""
        raise self._cannot("misbehave")

    def wait_misbehaved(self, count: int, deadline: float) -> bool:
        """Return whether ``count`` is 0, since no command is carried out wrongly."""
        return not count

    def behave(self, deadline: float) -> None:
        """Do nothing: a null backend does not misbehave."""

    def close(self, deadline: float) -> None:
        """Raise WrongUsageError."""
        raise self._cannot("close its device")

    def kill(self) -> None:
        """Raise WrongUsageError."""
        raise self._cannot("be killed")

    def end(self, deadline: float) -> None:
        """Do nothing: no process runs."""
