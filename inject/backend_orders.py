# SPDX-License-Identifier: GPL-2.0-or-later
"""The backend changes its device's settings while it holds commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from inject.contract import DeployedDevice, FaultContext
from inject.fault import SCST_USER, Expected, Held, Needs
from inject.outcomes import ends_well
from inject.point import State
from inject.traits import TargetTraits
from results.errors import TargetFailedError


@dataclass(frozen=True)
class BackendOrder:
    """An ioctl of the backend: ``do`` with ``arguments``, as in the backend's protocol.

    ``waits``: whether the ioctl may wait for the held commands. SET_OPTIONS and FLUSH_CACHE first
    suspend all of SCST's activity (dev_user_set_opt, dev_user_flush_cache, scst_user.c), which
    waits for every command except an answered one that is only to be freed. DEVICE_CAPACITY_CHANGED
    establishes a unit attention for every session: it waits for a session that is being attached,
    but for no command.
    """

    name: str
    do: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    waits: bool = True
    breaks: bool = True
    ends_device: bool = False
    needs: Needs = SCST_USER

    @property
    def held(self) -> Held:
        """ANSWERED when the ioctl waits for the commands, else KEPT."""
        return Held.ANSWERED if self.waits else Held.KEPT

    def expected(
        self, state: State, traits: TargetTraits, direction: str = "none",
    ) -> Expected:
        """Return GOOD: the commands are answered."""
        waits = traits.waits_in(self.name, state) if self.waits else ""
        return replace(ends_well(state), waits=waits)

    def fire(self, context: FaultContext, deadline: float) -> None:
        """Begin the ioctl; if it waits, answer the held commands; wait until it ends.

        An ioctl that waits is sent once more when the commands have been answered: the second
        cannot end before the first. Raises TargetFailedError when it does not end, or the kernel
        refuses it.
        """
        reply = self._give(context.deployment, deadline)
        if self.waits or not reply["done"]:
            context.keep()
            context.observed(self.name, ended=reply["done"])
            context.deployment.backend.release(deadline)
        if not reply["done"]:
            reply = self._give(context.deployment, deadline)
        if not reply["done"]:
            raise TargetFailedError(f"{self.name}: it does not end")
        if reply["error"] is not None:
            raise TargetFailedError(f"{self.name}: the kernel refuses: {reply['error']}")

    def _give(self, subject: DeployedDevice, deadline: float) -> Mapping[str, Any]:
        """Send the order; return ``done``, and ``error`` if it is done. Takes a second at most."""
        reply: Mapping[str, Any] = subject.backend.call(
            self.do, deadline=deadline, **self.arguments)
        return reply

    def undo(self, context: FaultContext, deadline: float) -> None:
        """Release the commands that are still held. The device keeps its new settings."""
        context.deployment.backend.release(deadline)


SET_OPTIONS = BackendOrder("backend-set-options", "set_options",
                           {"options": {"memory_reuse_type": "NONE"}})
FLUSH_CACHE = BackendOrder("backend-flush-cache", "flush_cache")
CAPACITY_CHANGED = BackendOrder("backend-capacity-changed", "capacity_changed", waits=False)
