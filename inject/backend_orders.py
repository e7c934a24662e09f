"""The backend changes something of its device while commands are in its hands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from inject.contract import DeployedDevice, FaultContext
from inject.fault import SCST_USER, Expected, Held, Needs
from inject.outcomes import ends_well
from inject.point import State
from inject.traits import TargetTraits
from results.errors import TargetFailedError


@dataclass(frozen=True)
class BackendOrder:
    """An ioctl of the backend's: ``do`` with ``arguments``, as its protocol has them.

    ``waits``: whether it may wait for the commands that are held. SET_OPTIONS and FLUSH_CACHE
    suspend all of SCST's activity first (dev_user_set_opt, dev_user_flush_cache, scst_user.c),
    which waits for every command, but not for one that has its answer and is only to be freed;
    DEVICE_CAPACITY_CHANGED leaves a unit attention with every session, and so waits for one that
    is being attached, but for no command.
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
        """The commands are answered while it waits for them, or stay held."""
        return Held.ANSWERED if self.waits else Held.KEPT

    def expected(
        self, state: State, traits: TargetTraits, direction: str = "none",
    ) -> Expected:
        """The commands are answered."""
        return ends_well(state)

    def fire(self, context: FaultContext, deadline: float) -> None:
        """Begin it; if it waits, answer what is held, and see it end.

        One that waits is given once more when the commands have been answered: it cannot end
        before the first one has. Raises TargetFailedError when it does not end, or the kernel
        refuses it.
        """
        reply = self._give(context.deployment, deadline)
        if self.waits or not reply["done"]:
            context.deployment.backend.release(deadline)
        if not reply["done"]:
            reply = self._give(context.deployment, deadline)
        if not reply["done"]:
            raise TargetFailedError(f"{self.name}: it does not end")
        if reply["error"] is not None:
            raise TargetFailedError(f"{self.name}: the kernel refuses: {reply['error']}")

    def _give(self, subject: DeployedDevice, deadline: float) -> Mapping[str, Any]:
        """Give the order; return ``done``, and if so ``error``, after a second at most."""
        reply: Mapping[str, Any] = subject.backend.call(
            self.do, deadline=deadline, **self.arguments)
        return reply

    def undo(self, context: FaultContext, deadline: float) -> None:
        """Let go what is still held. The device goes on as it is now."""
        context.deployment.backend.release(deadline)


SET_OPTIONS = BackendOrder("backend-set-options", "set_options",
                           {"options": {"memory_reuse_type": "NONE"}})
FLUSH_CACHE = BackendOrder("backend-flush-cache", "flush_cache")
CAPACITY_CHANGED = BackendOrder("backend-capacity-changed", "capacity_changed", waits=False)
