# SPDX-License-Identifier: GPL-2.0-or-later
"""The backend's process ends while it holds commands."""

from __future__ import annotations

import signal
from contextlib import suppress
from dataclasses import dataclass

from inject.contract import FaultContext
from inject.fault import PROCESS, SCST_USER, Expected, Held, Needs
from inject.outcomes import loses_backend
from inject.point import State
from inject.traits import TargetTraits
from results.errors import TargetFailedError


@dataclass(frozen=True)
class BackendSignal:
    """A signal that ends the backend.

    The backend closes nothing itself: the kernel closes the descriptors when it reaps the process.
    """

    name: str
    number: signal.Signals
    breaks: bool = True
    ends_device: bool = True
    held: Held = Held.LOST
    needs: Needs = PROCESS

    def expected(
        self, state: State, traits: TargetTraits, direction: str = "none",
    ) -> Expected:
        """Return the outcomes of commands that the kernel answers in the backend's place."""
        return loses_backend(state, traits)

    def fire(self, context: FaultContext, deadline: float) -> None:
        """Send the signal."""
        context.deployment.backend.process.signal(self.number)

    def undo(self, context: FaultContext, deadline: float) -> None:
        """Remove the rest of the device."""
        context.deployment.take_device_away()


KILL = BackendSignal("backend-kill", signal.SIGKILL)
TERMINATE = BackendSignal("backend-term", signal.SIGTERM)


@dataclass(frozen=True)
class BackendExit:
    """_exit(2) while threads of the process are in the ioctl that fetches commands.

    A thread in the kernel keeps the descriptor open until it has left the ioctl: the release runs
    once the SIGKILL of the exit has made the last thread leave.
    """

    name: str = "backend-exit"
    breaks: bool = True
    ends_device: bool = True
    held: Held = Held.LOST
    needs: Needs = SCST_USER

    def expected(
        self, state: State, traits: TargetTraits, direction: str = "none",
    ) -> Expected:
        """Return the outcomes of commands that the kernel answers in the backend's place."""
        return loses_backend(state, traits)

    def fire(self, context: FaultContext, deadline: float) -> None:
        """Make the backend exit, and wait for its end."""
        with suppress(TargetFailedError):  # it ends instead of answering
            context.deployment.backend.call("exit", deadline=deadline)
        context.deployment.backend.process.wait(deadline)

    def undo(self, context: FaultContext, deadline: float) -> None:
        """Remove the rest of the device."""
        context.deployment.take_device_away()
