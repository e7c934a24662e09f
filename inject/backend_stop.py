# SPDX-License-Identifier: GPL-2.0-or-later
"""The backend is stopped: it answers no command, and its process remains."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from inject.contract import FaultContext
from inject.fault import PROCESS, Expected, Held, Needs
from inject.outcomes import ABORTED_LATE, RECOVERY_GRACE, TIMER, ends_well, ends_with, loses_backend
from inject.point import State
from inject.traits import TargetTraits


@dataclass(frozen=True)
class BackendStop:
    """SIGSTOP for some seconds, then SIGCONT; the held commands are answered after it.

    The initiator's command timer is 4 s (fixtures.initiator.openiscsi.Timeouts). A stop of more
    than half of it must not fail a command. During a longer stop the initiator aborts commands, and
    the backend receives the aborts when it continues. TCMU ends an unanswered command after
    cmd_time_out (2 s, targets.lio.target): on LIO commands fail during both stops.
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
        """Return GOOD; outcomes of aborted commands if the stop outlasts the initiator's timer.

        No I/O may fail, unless a timer of the initiator or of the kernel runs out during the stop.
        """
        if self.outlasts_timer:
            return ends_with(state, ABORTED_LATE, TIMER, grace=RECOVERY_GRACE)
        return ends_well(state, errors=None if traits.command_timeout_option else ())

    def fire(self, context: FaultContext, deadline: float) -> None:
        """Stop the process for the duration of this fault."""
        context.deployment.backend.process.signal(signal.SIGSTOP)
        context.sleep(self.seconds)

    def undo(self, context: FaultContext, deadline: float) -> None:
        """Continue the process and release the held commands."""
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
        """Return the outcomes of commands that the kernel answers in the backend's place."""
        return loses_backend(state, traits)

    def fire(self, context: FaultContext, deadline: float) -> None:
        """Stop the process; kill it ``seconds`` later."""
        context.deployment.backend.process.signal(signal.SIGSTOP)
        context.sleep(self.seconds)
        context.deployment.backend.kill()

    def undo(self, context: FaultContext, deadline: float) -> None:
        """Remove the rest of the device."""
        context.deployment.take_device_away()
