"""The backend's process ends while commands are in its hands."""

from __future__ import annotations

import signal
from contextlib import suppress
from dataclasses import dataclass

from inject.fault import PROCESS, SCST_USER, Held, Needs, Subject
from results.errors import TargetFailedError


@dataclass(frozen=True)
class BackendSignal:
    """A signal that ends it: the kernel closes the descriptors when it reaps the process, nobody
    says goodbye."""

    name: str
    number: signal.Signals
    breaks: bool = True
    ends_device: bool = True
    held: Held = Held.LOST
    needs: Needs = PROCESS

    def fire(self, subject: Subject, deadline: float) -> None:
        """Send the signal."""
        subject.backend.process.signal(self.number)

    def undo(self, subject: Subject, deadline: float) -> None:
        """End what the dead backend left of the device."""
        subject.take_device_away()


KILL = BackendSignal("backend-kill", signal.SIGKILL)
TERMINATE = BackendSignal("backend-term", signal.SIGTERM)


@dataclass(frozen=True)
class BackendExit:
    """_exit(2) with threads of it still in the ioctl that fetches commands.

    A thread in the kernel keeps the descriptor open until it has left the ioctl: the release
    runs when the last of them has been sent away by the exit's own SIGKILL.
    """

    name: str = "backend-exit"
    breaks: bool = True
    ends_device: bool = True
    held: Held = Held.LOST
    needs: Needs = SCST_USER

    def fire(self, subject: Subject, deadline: float) -> None:
        """Tell it to exit, and see it gone."""
        with suppress(TargetFailedError):  # it ends instead of answering
            subject.backend.call("exit", deadline=deadline)
        subject.backend.process.wait(deadline)

    def undo(self, subject: Subject, deadline: float) -> None:
        """End what it left of the device."""
        subject.take_device_away()
