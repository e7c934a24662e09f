"""The backend closes its device while commands are in its hands."""

from __future__ import annotations

from dataclasses import dataclass

from inject.fault import Subject


@dataclass(frozen=True)
class BackendClose:
    """close(2) of the device's descriptors by a process that lives on.

    For scst_user the last close releases the device (scst_user_spec, "close()"): held commands
    must be answered by the kernel. For TCMU it closes the uio device: commands in the ring wait
    for cmd_time_out (Documentation/target/tcmu-design.rst).
    """

    name: str = "backend-close"
    breaks: bool = True

    def fire(self, subject: Subject, deadline: float) -> None:
        """Close."""
        subject.backend.close(deadline)

    def undo(self, subject: Subject, deadline: float) -> None:
        """End what the close left of the device."""
        subject.take_device_away()
