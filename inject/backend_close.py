# SPDX-License-Identifier: GPL-2.0-or-later
"""The backend closes its device while it holds commands."""

from __future__ import annotations

from dataclasses import dataclass

from inject.contract import FaultContext
from inject.fault import PROCESS, SCST_USER, Expected, Held, Needs
from inject.outcomes import loses_backend
from inject.point import State
from inject.traits import TargetTraits


@dataclass(frozen=True)
class BackendClose:
    """close(2) of the device's descriptors by a process that continues to run.

    For scst_user the last close releases the device (scst_user_spec, "close()"): the kernel must
    answer the held commands. For TCMU the close is that of the uio device: commands in the ring
    wait for cmd_time_out (Documentation/target/tcmu-design.rst).
    """

    name: str = "backend-close"
    breaks: bool = True
    ends_device: bool = True
    held: Held = Held.LOST
    needs: Needs = PROCESS

    def expected(
        self, state: State, traits: TargetTraits, direction: str = "none",
    ) -> Expected:
        """Return the outcomes of commands that the kernel answers in the backend's place."""
        return loses_backend(state, traits)

    def fire(self, context: FaultContext, deadline: float) -> None:
        """Close the device."""
        context.deployment.backend.close(deadline)

    def undo(self, context: FaultContext, deadline: float) -> None:
        """Remove the rest of the device."""
        context.deployment.take_device_away()


@dataclass(frozen=True)
class BackendUnregister:
    """SCST_USER_UNREGISTER_DEVICE, then close(2).

    The ioctl is obsolete: it only makes blocked getters return (dev_user_unregister_dev,
    scst_user.c). The close releases the device.
    """

    name: str = "backend-unregister"
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
        """Unregister and close the device."""
        context.deployment.backend.call("unregister", deadline=deadline)
        context.deployment.backend.close(deadline)

    def undo(self, context: FaultContext, deadline: float) -> None:
        """Remove the rest of the device."""
        context.deployment.take_device_away()
