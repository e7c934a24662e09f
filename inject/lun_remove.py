"""The LUN is taken from under the initiator while commands are in the backend's hands."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from inject.fault import ANYTHING, Held, Needs, Subject
from inject.waiting import until


@dataclass(frozen=True)
class LunRemove:
    """Remove the LUN; once the removal waits in the kernel, the backend answers what it held.

    A target may not drop a command that its device server has: the removal waits for it, and
    has to end when it is answered.
    """

    name: str = "lun-remove"
    breaks: bool = True
    ends_device: bool = True
    held: Held = Held.ANSWERED
    needs: Needs = ANYTHING

    def fire(self, subject: Subject, deadline: float) -> None:
        """Begin the removal, see it wait, release the commands, see it end.

        Raises what the removal raises.
        """
        with ThreadPoolExecutor(1, "lun-remove") as pool:
            removal = pool.submit(subject.remove_lun)
            until(lambda: removal.done() or subject.removal_waits(), deadline)
            subject.backend.release(deadline)
            removal.result()

    def undo(self, subject: Subject, deadline: float) -> None:
        """End the device that no LUN leads to any more."""
        subject.take_device_away()
