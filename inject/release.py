"""The control: the commands that were held go on, and nothing is broken."""

from __future__ import annotations

from dataclasses import dataclass

from inject.fault import ANYTHING, Held, Needs, Subject


@dataclass(frozen=True)
class Release:
    """Release the held commands: what every other scenario is compared with."""

    name: str = "release"
    breaks: bool = False
    ends_device: bool = False
    held: Held = Held.ANSWERED
    needs: Needs = ANYTHING

    def fire(self, subject: Subject, deadline: float) -> None:
        """Let every held command go on."""
        subject.backend.release(deadline)

    def undo(self, subject: Subject, deadline: float) -> None:
        """Nothing was broken."""
