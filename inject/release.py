"""The control: the commands that were held go on, and nothing is broken."""

from __future__ import annotations

from dataclasses import dataclass

from inject.contract import FaultContext
from inject.fault import ANYTHING, Expected, Held, Needs
from inject.outcomes import ends_well
from inject.point import State
from inject.traits import TargetTraits


@dataclass(frozen=True)
class Release:
    """Release the held commands: what every other scenario is compared with."""

    name: str = "release"
    breaks: bool = False
    ends_device: bool = False
    held: Held = Held.ANSWERED
    needs: Needs = ANYTHING

    def expected(
        self, state: State, traits: TargetTraits, direction: str = "none",
    ) -> Expected:
        """Nothing is broken: every command ends well."""
        return ends_well(state)

    def fire(self, context: FaultContext, deadline: float) -> None:
        """Let every held command go on."""
        context.deployment.backend.release(deadline)

    def undo(self, context: FaultContext, deadline: float) -> None:
        """Nothing was broken."""
