"""The backend is stopped: it neither answers nor dies."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass

from inject.fault import PROCESS, Held, Needs, Subject


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
    breaks: bool = True
    ends_device: bool = False
    held: Held = Held.KEPT
    needs: Needs = PROCESS

    def fire(self, subject: Subject, deadline: float) -> None:
        """Stop it, for as long as this fault lasts."""
        subject.backend.process.signal(signal.SIGSTOP)
        time.sleep(self.seconds)

    def undo(self, subject: Subject, deadline: float) -> None:
        """Let it go on, and what it held."""
        subject.backend.process.signal(signal.SIGCONT)
        subject.backend.release(deadline)


SHORT = BackendStop("backend-stop", 2.5)
LONG = BackendStop("backend-stop-long", 5.0)


@dataclass(frozen=True)
class BackendStopKill:
    """SIGSTOP, then SIGKILL: a stopped process dies without having run again."""

    name: str = "backend-stop-kill"
    seconds: float = 0.5
    breaks: bool = True
    ends_device: bool = True
    held: Held = Held.LOST
    needs: Needs = PROCESS

    def fire(self, subject: Subject, deadline: float) -> None:
        """Stop it, and kill it some time later."""
        subject.backend.process.signal(signal.SIGSTOP)
        time.sleep(self.seconds)
        subject.backend.kill()

    def undo(self, subject: Subject, deadline: float) -> None:
        """End what it left of the device."""
        subject.take_device_away()
