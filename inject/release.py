# SPDX-License-Identifier: GPL-2.0-or-later
"""The control: held commands continue, and nothing is broken."""

from __future__ import annotations

from dataclasses import dataclass

from inject.contract import FaultContext
from inject.fault import ANYTHING, Expected, Held, Needs
from inject.outcomes import ends_well
from inject.point import State
from inject.traits import TargetTraits


@dataclass(frozen=True)
class Release:
    """Release the held commands: the reference for every other scenario."""

    name: str = "release"
    breaks: bool = False
    ends_device: bool = False
    held: Held = Held.ANSWERED
    needs: Needs = ANYTHING

    def expected(
        self, state: State, traits: TargetTraits, direction: str = "none",
    ) -> Expected:
        """Return GOOD for every command."""
        return ends_well(state)

    def fire(self, context: FaultContext, deadline: float) -> None:
        """Let every held command continue."""
        context.keep()
        context.deployment.backend.release(deadline)

    def undo(self, context: FaultContext, deadline: float) -> None:
        """Do nothing: nothing was broken."""
