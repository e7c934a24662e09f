"""The backend closes its device while commands are in its hands."""

from __future__ import annotations

from dataclasses import dataclass

from inject.fault import PROCESS, SCST_USER, Held, Needs, Subject


@dataclass(frozen=True)
class BackendClose:
    """close(2) of the device's descriptors by a process that lives on.

    For scst_user the last close releases the device (scst_user_spec, "close()"): held commands
    must be answered by the kernel. For TCMU it closes the uio device: commands in the ring wait
    for cmd_time_out (Documentation/target/tcmu-design.rst).
    """

    name: str = "backend-close"
    breaks: bool = True
    ends_device: bool = True
    held: Held = Held.LOST
    needs: Needs = PROCESS

    def fire(self, subject: Subject, deadline: float) -> None:
        """Close."""
        subject.backend.close(deadline)

    def undo(self, subject: Subject, deadline: float) -> None:
        """End what the close left of the device."""
        subject.take_device_away()


@dataclass(frozen=True)
class BackendUnregister:
    """SCST_USER_UNREGISTER_DEVICE, then close(2).

    The first is obsolete: it only sends blocked getters away (dev_user_unregister_dev,
    scst_user.c); the second is what releases the device.
    """

    name: str = "backend-unregister"
    breaks: bool = True
    ends_device: bool = True
    held: Held = Held.LOST
    needs: Needs = SCST_USER

    def fire(self, subject: Subject, deadline: float) -> None:
        """Unregister and close."""
        subject.backend.call("unregister", deadline=deadline)
        subject.backend.close(deadline)

    def undo(self, subject: Subject, deadline: float) -> None:
        """End what is left of the device."""
        subject.take_device_away()
