# SPDX-License-Identifier: GPL-2.0-or-later
"""A disturbance and a teardown: the device is removed during another fault."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from inject.contract import FaultContext
from inject.fault import Expected, Fault, Held, Needs
from inject.outcomes import ends_well
from inject.point import State
from inject.target_operation import TargetOperation
from inject.traits import TargetTraits
from results.errors import WrongUsageError


class Order(StrEnum):
    """The position of the disturbance relative to the teardown."""

    FIRST = "first"  # the disturbance first
    SECOND = "second"  # the disturbance once the teardown has begun


class Disturbance(Protocol):
    """A fault that can accompany a teardown: it begins, lasts, and ends."""

    @property
    def name(self) -> str:
        """The name in scenario ids."""

    @property
    def needs_beside(self) -> Needs:
        """Needs of the disturbance during a teardown."""

    @property
    def ends_in_teardown(self) -> float | None:
        """Seconds after which the disturbance ends, if the teardown waits for its end.

        None: the teardown does not wait, and the disturbance ends after the teardown.
        """

    @property
    def ends_afterwards(self) -> bool:
        """Whether ``settle`` ends the disturbance, after the fault's undo; False: the undo does."""

    def grace_beside(
        self, teardown: Fault, state: State, traits: TargetTraits,
    ) -> tuple[float, float]:
        """Return the seconds beyond the ladder's for commands, and for the teardown."""

    def begin(self, context: FaultContext, deadline: float) -> None:
        """Begin the disturbance. Returns once it is in effect."""

    def end(self, context: FaultContext, deadline: float) -> None:
        """End the disturbance; do nothing if it has ended by itself."""


@dataclass(frozen=True)
class Combined:
    """A disturbance and a teardown as one fault.

    The disturbance lasts until the teardown has ended, or until the teardown has waited for it
    (``ends_in_teardown``). ``label``: the name in scenario ids; "": both names, in the order in
    which they begin. Raises WrongUsageError when the teardown must wait for the end of the
    disturbance, but its waiting cannot be observed.
    """

    disturbance: Disturbance
    teardown: Fault
    order: Order = Order.FIRST
    label: str = ""
    breaks: bool = True
    ends_device: bool = True

    def __post_init__(self) -> None:
        if self.disturbance.ends_in_teardown is not None and (
                self.order is Order.SECOND or not isinstance(self.teardown, TargetOperation)):
            raise WrongUsageError(f"{self.name}: needs a teardown that is a TargetOperation "
                                  "and begins after the disturbance")

    @property
    def name(self) -> str:
        """The name in scenario ids."""
        names = (self.disturbance.name, self.teardown.name)
        return self.label or "+".join(names if self.order is Order.FIRST else reversed(names))

    @property
    def held(self) -> Held:
        """The fate of the held commands under the teardown."""
        return self.teardown.held

    @property
    def needs(self) -> Needs:
        """The needs of both. Raises ValueError when no device can satisfy both."""
        return self.disturbance.needs_beside & self.teardown.needs

    def expected(
        self, state: State, traits: TargetTraits, direction: str = "none",
    ) -> Expected:
        """Return the teardown's expectation, or GOOD if the teardown waits for the commands.

        The grace is the longer of the two. The teardown need not wait for the commands: the
        disturbance may end them.
        """
        found = self.teardown.expected(state, traits, direction) \
            if self.disturbance.ends_in_teardown is None else ends_well(state, errors=None)
        grace, teardown_grace = self.disturbance.grace_beside(self.teardown, state, traits)
        return replace(found, waits="", grace=max(found.grace, grace),
                       teardown_grace=max(found.teardown_grace, teardown_grace))

    def fire(self, context: FaultContext, deadline: float) -> None:
        """Begin the disturbance and fire the teardown, in their order."""
        seconds = self.disturbance.ends_in_teardown
        if self.order is Order.FIRST:
            self.disturbance.begin(context, deadline)
        if seconds is not None:
            self._end_while_it_waits(context, deadline, seconds)
        else:
            self.teardown.fire(context, deadline)
        context.fired.set()
        if self.order is Order.SECOND:
            self.disturbance.begin(context, deadline)

    def _end_while_it_waits(
        self, context: FaultContext, deadline: float, seconds: float,
    ) -> None:
        """Begin the teardown, let it wait, end the disturbance, wait until the teardown ends.

        A target may not drop a command that it has passed to its disk: the teardown waits while the
        disk stalls, and must end once the disk continues. If the disk ends I/O with errors, the
        teardown need not wait.
        """
        assert isinstance(self.teardown, TargetOperation)
        try:
            running = self.teardown.start(context, deadline)
            context.sleep(seconds)
        finally:
            self.disturbance.end(context, deadline)
            context.deployment.backend.release(deadline)
        running.finish(deadline)

    def undo(self, context: FaultContext, deadline: float) -> None:
        """Wait until the teardown ends, then end the disturbance."""
        try:
            self.teardown.undo(context, deadline)
        finally:
            if self.disturbance.ends_in_teardown is None and not self.disturbance.ends_afterwards:
                self.disturbance.end(context, deadline)


def settle(fault: Fault, context: FaultContext, deadline: float) -> None:
    """End the disturbance of a combination, if the fault's undo has not ended it.

    Such disturbances are partitions, impaired networks and broken sessions. Does nothing for other
    faults.
    """
    if isinstance(fault, Combined) and fault.disturbance.ends_afterwards:
        fault.disturbance.end(context, deadline)
