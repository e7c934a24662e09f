# SPDX-License-Identifier: GPL-2.0-or-later
"""A LUN is deleted while its device goes."""

from __future__ import annotations

from dataclasses import dataclass

from inject.contract import FaultContext
from inject.fault import SCST_USER, Expected, Held, Needs
from inject.outcomes import COMPLETED, GOOD, LOST_WAY, NO_UNIT, NOT_SUPPORTED, ends_with
from inject.point import State
from inject.traits import TargetTraits
from inject.waiting import wait_until
from results.errors import TargetFailedError

CLAUSE = f"{NO_UNIT}, once the device has gone; {COMPLETED}"


@dataclass(frozen=True)
class LunRace:
    """Deletion of a second LUN while the first LUN's removal waits.

    The backend closes a device with two LUNs. While the removal of the first LUN waits for
    commands, an administrator deletes the second.

    The device's end deletes its LUNs one by one (scst_unregister_virtual_device, scst_main.c), and
    releases the mutex that guards their list while it waits for each LUN's commands
    (scst_acg_del_lun, scst_lib.c). Here these are commands of a blocked device: the backend has not
    fetched them, so its end does not end them.
    """

    name: str = "lun-delete-while-device-goes"
    breaks: bool = True
    ends_device: bool = True
    held: Held = Held.ANSWERED
    needs: Needs = SCST_USER
    luns: tuple[int, ...] = (1,)
    """LUNs with which the device must be deployed (targets.target.Device.luns): a LUN that is added
    later would be scanned, and the scan's commands blocked."""

    def expected(
        self, state: State, traits: TargetTraits, direction: str = "none",
    ) -> Expected:
        """Return the outcomes of commands answered before the device's end, or sent after it."""
        return ends_with(state, (GOOD, NOT_SUPPORTED, *LOST_WAY), CLAUSE)

    def fire(self, context: FaultContext, deadline: float) -> None:
        """Block the device, close it, delete the second LUN, unblock.

        Raises TargetFailedError when a step fails.
        """
        block = context.deployment.begin("device-block")
        wait_until(lambda: block.done or block.waits(), deadline)
        context.deployment.backend.release(deadline)
        block.finish(deadline)
        context.deployment.backend.close(deadline)
        if not wait_until(lambda: not context.deployment.reachable(), deadline):
            raise TargetFailedError(f"{self.name}: the end of the device does not delete its LUN")
        context.deployment.begin("lun-delete-second").finish(deadline)
        context.deployment.heal("device-block", deadline)

    def undo(self, context: FaultContext, deadline: float) -> None:
        """Remove the rest of the device."""
        context.deployment.take_device_away()
