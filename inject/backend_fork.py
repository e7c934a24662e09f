# SPDX-License-Identifier: GPL-2.0-or-later
"""The backend closes its device while a forked copy still has it open."""

from __future__ import annotations

from dataclasses import dataclass

from inject.contract import FaultContext
from inject.fault import SCST_USER, Expected, Held, Needs
from inject.outcomes import loses_backend
from inject.point import State
from inject.traits import TargetTraits
from results.errors import TargetFailedError

LINGER = 0.5
"""Seconds for which the device must stay while the copy has it open."""


@dataclass(frozen=True)
class BackendFork:
    """fork(2), close(2) by the parent, then the child's death.

    A release runs at the last close of an open file, in any process (close(2)). Until the child has
    ended, the device must stay, and no process answers its commands.
    """

    name: str = "backend-fork"
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
        """Fork and close; check that the device stays; kill the child.

        Raises TargetFailedError when the device is removed before the child has ended.
        """
        child = int(context.deployment.backend.call("fork", deadline=deadline))
        context.deployment.backend.close(deadline)
        context.sleep(LINGER)
        there = context.deployment.present()
        context.deployment.end_process(child)
        if not there:
            raise TargetFailedError("the device went while a forked copy had it open")

    def undo(self, context: FaultContext, deadline: float) -> None:
        """Remove the rest of the device."""
        context.deployment.take_device_away()
