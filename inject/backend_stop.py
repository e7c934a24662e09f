"""The backend is stopped: it neither answers nor dies."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass

from inject.contract import FaultContext
from inject.fault import PROCESS, Expected, Held, Needs
from inject.outcomes import ABORTED_LATE, RECOVERY_GRACE, TIMER, ends_well, ends_with, loses_backend
from inject.point import State
from inject.traits import TargetTraits


@dataclass(frozen=True)
class BackendStop:
    """SIGSTOP for some seconds, then SIGCONT; the commands that were held are answered after it.

    Against a command timer of 4 s (fixtures.initiator.openiscsi.Timeouts): a stop of more than
    half of it must cost no command; one that is longer lets the initiator abort, and the backend
    finds the aborts when it wakes up. TCMU itself ends what is not answered in cmd_time_out, 2 s
    as LIO is deployed here: both lengths cost it the commands.
    """

    name: str
    seconds: float
    outlasts_timer: bool = False
    breaks: bool = True
    ends_device: bool = False
    held: Held = Held.KEPT
    needs: Needs = PROCESS

    def expected(
        self, state: State, traits: TargetTraits, direction: str = "none",
    ) -> Expected:
        """A stop that outlasts the initiator's timer costs the commands."""
        return (ends_with(state, ABORTED_LATE, TIMER, grace=RECOVERY_GRACE) if self.outlasts_timer
                else ends_well(state))

    def fire(self, context: FaultContext, deadline: float) -> None:
        """Stop it, for as long as this fault lasts."""
        context.deployment.backend.process.signal(signal.SIGSTOP)
        time.sleep(self.seconds)

    def undo(self, context: FaultContext, deadline: float) -> None:
        """Let it go on, and what it held."""
        context.deployment.backend.process.signal(signal.SIGCONT)
        context.deployment.backend.release(deadline)


SHORT = BackendStop("backend-stop", 2.5)
LONG = BackendStop("backend-stop-long", 5.0, outlasts_timer=True)


@dataclass(frozen=True)
class BackendStopKill:
    """SIGSTOP, then SIGKILL: a stopped process dies without having run again."""

    name: str = "backend-stop-kill"
    seconds: float = 0.5
    breaks: bool = True
    ends_device: bool = True
    held: Held = Held.LOST
    needs: Needs = PROCESS

    def expected(
        self, state: State, traits: TargetTraits, direction: str = "none",
    ) -> Expected:
        """The kernel has to answer what the backend held."""
        return loses_backend(state)

    def fire(self, context: FaultContext, deadline: float) -> None:
        """Stop it, and kill it some time later."""
        context.deployment.backend.process.signal(signal.SIGSTOP)
        time.sleep(self.seconds)
        context.deployment.backend.kill()

    def undo(self, context: FaultContext, deadline: float) -> None:
        """End what it left of the device."""
        context.deployment.take_device_away()
