"""The backend closes its device, but a forked copy of it has it open."""

from __future__ import annotations

import time
from dataclasses import dataclass

from inject.fault import SCST_USER, Held, Needs, Subject
from results.errors import TargetFailedError

LINGER = 0.5
"""Seconds in which nothing may happen to the device while the copy has it open."""


@dataclass(frozen=True)
class BackendFork:
    """fork(2), close(2) by the parent, and at last the child's death.

    A release runs at the last close of an open file, wherever the descriptor is (close(2)): until
    the child has gone, the device has to stay, and nobody answers for it.
    """

    name: str = "backend-fork"
    breaks: bool = True
    ends_device: bool = True
    held: Held = Held.LOST
    needs: Needs = SCST_USER

    def fire(self, subject: Subject, deadline: float) -> None:
        """Fork and close; see that nothing happens; kill the child.

        Raises TargetFailedError when the device goes before the child does.
        """
        child = int(subject.backend.call("fork", deadline=deadline))
        subject.backend.close(deadline)
        time.sleep(LINGER)
        there = subject.present()
        subject.end_process(child)
        if not there:
            raise TargetFailedError("the device went while a forked copy had it open")

    def undo(self, subject: Subject, deadline: float) -> None:
        """End what is left of the device."""
        subject.take_device_away()
