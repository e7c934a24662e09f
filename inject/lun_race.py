"""A LUN is deleted while the device that it leads to is going."""

from __future__ import annotations

from dataclasses import dataclass

from inject.fault import SCST_USER, Held, Needs, Subject
from inject.waiting import until
from results.errors import TargetFailedError


@dataclass(frozen=True)
class LunRace:
    """The backend closes a device with two LUNs; while the first one's removal waits for commands,
    an administrator deletes the second.

    The device's end deletes its LUNs one by one (scst_unregister_virtual_device, scst_main.c),
    and lets go of the mutex that guards their list while it waits for each one's commands
    (scst_acg_del_lun, scst_lib.c). Commands of a blocked device are what it waits for here: the
    backend has not got them, so its end does not end them.
    """

    name: str = "lun-delete-while-device-goes"
    breaks: bool = True
    ends_device: bool = True
    held: Held = Held.ANSWERED
    needs: Needs = SCST_USER
    luns: tuple[int, ...] = (1,)
    """What the device must be deployed with (targets.target.Device.luns): a LUN that is added
    now would be scanned, and the scan's commands blocked."""

    def fire(self, subject: Subject, deadline: float) -> None:
        """Block the device, close it, delete the second LUN, unblock.

        Raises TargetFailedError when a step fails.
        """
        block = subject.begin("device-block")
        until(lambda: block.done or block.waits(), deadline)
        subject.backend.release(deadline)
        block.finish(deadline)
        subject.backend.close(deadline)
        if not until(lambda: not subject.reachable(), deadline):
            raise TargetFailedError(f"{self.name}: the device's end does not delete its LUN")
        subject.begin("lun-delete-second").finish(deadline)
        subject.heal("device-block", deadline)

    def undo(self, subject: Subject, deadline: float) -> None:
        """End what is left of the device."""
        subject.take_device_away()
