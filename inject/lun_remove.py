# SPDX-License-Identifier: GPL-2.0-or-later
"""The LUN is removed under the initiator while the backend holds commands."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from inject.contract import FaultContext
from inject.fault import ANYTHING, Expected, Held, Needs
from inject.outcomes import LOST_WAY, NEXUS_LOST, ends_well
from inject.point import State
from inject.traits import TargetTraits
from inject.waiting import wait_until

WAITED_FOR = ("SAM-5 5.3.1: a command that is in the task set is completed before its logical unit "
              "goes")


@dataclass(frozen=True)
class LunRemove:
    """Removal of the LUN; once it waits in the kernel, the backend answers the held commands.

    A target may not drop a command that its device server has: the removal waits for the command,
    and has to end when it is answered.
    """

    name: str = "lun-remove"
    breaks: bool = True
    ends_device: bool = True
    held: Held = Held.ANSWERED
    needs: Needs = ANYTHING

    def expected(
        self, state: State, traits: TargetTraits, direction: str = "none",
    ) -> Expected:
        """Return GOOD: the removal waits for the commands, which the backend answers.

        Where sessions must end before it, the answers find no session any more.
        """
        found = ends_well(state, WAITED_FOR, errors=None)
        if traits.luns.removal_ends_sessions:
            found = replace(found, outcomes=(*found.outcomes, *LOST_WAY),
                            clause=f"{found.clause}; {NEXUS_LOST}")
        return replace(found, waits=traits.waits_in(self.name, state))

    def fire(self, context: FaultContext, deadline: float) -> None:
        """Begin the removal, see it wait, release the commands, wait until it ends.

        Raises the removal's error.
        """
        with ThreadPoolExecutor(1, "lun-remove") as pool:
            removal = pool.submit(context.deployment.remove_lun)
            wait_until(lambda: removal.done() or context.deployment.removal_waits(), deadline)
            context.keep()
            context.observed(self.name, ended=removal.done())
            context.deployment.backend.release(deadline)
            removal.result()

    def undo(self, context: FaultContext, deadline: float) -> None:
        """End the device, which has no LUN any more."""
        context.deployment.take_device_away()
