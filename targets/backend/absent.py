"""The backend of a device that no process of ours serves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from results.errors import WrongUsageError


@dataclass(frozen=True)
class NoProcess:
    """The process of a device that has none: it never ends."""

    pid: int = 0
    status: int | None = None


@dataclass(frozen=True)
class NoBackend:
    """What stands for the backend where there is none: it serves, and obeys nothing.

    ``why``: "vdisk_fileio is in the kernel", for who asks more of it.
    """

    why: str
    process: NoProcess = NoProcess()

    def _cannot(self, what: str) -> WrongUsageError:
        return WrongUsageError(f"{self.why}: it cannot {what}")

    def call(self, do: str, *, deadline: float, **arguments: Any) -> Any:
        """Raise WrongUsageError."""
        raise self._cannot(do)

    def serving(self, deadline: float) -> bool:
        """Tell that the device needs nobody."""
        return True

    def hold(self, point: str, count: int, *, deadline: float,
             opcodes: Sequence[int] | None = None, direction: str | None = None) -> None:
        """Hold none; one that is to hold some raises WrongUsageError."""
        if count:
            raise self._cannot(f"hold commands in {point}")

    def wait_held(self, count: int, deadline: float) -> bool:
        """Tell that none are held."""
        return not count

    def release(self, deadline: float) -> None:
        """Nothing is held."""

    def lie(self, how: str, count: int, *, deadline: float, direction: str | None = None,
            medium: str | None = None) -> None:
        """Raise WrongUsageError."""
        raise self._cannot("lie")

    def wait_lied(self, count: int, deadline: float) -> bool:
        """Tell that no lies were told."""
        return not count

    def stop_lying(self, deadline: float) -> None:
        """Nothing but the truth was told."""

    def close(self, deadline: float) -> None:
        """Raise WrongUsageError."""
        raise self._cannot("close its device")

    def kill(self) -> None:
        """Raise WrongUsageError."""
        raise self._cannot("be killed")

    def end(self, deadline: float) -> None:
        """Nothing runs."""
