"""The backend is killed while commands are in its hands."""

from __future__ import annotations

from dataclasses import dataclass

from inject.fault import Subject


@dataclass(frozen=True)
class BackendKill:
    """SIGKILL: the kernel closes the descriptors when it reaps the process, nobody says goodbye."""

    name: str = "backend-kill"
    breaks: bool = True

    def fire(self, subject: Subject, deadline: float) -> None:
        """Kill."""
        subject.backend.kill()

    def undo(self, subject: Subject, deadline: float) -> None:
        """End what the dead backend left of the device."""
        subject.take_device_away()
