"""A disturbance and a teardown: the device is taken away while something else is wrong."""

from __future__ import annotations

import time
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
    """Which of the two comes first."""

    FIRST = "first"  # the disturbance
    SECOND = "second"  # the disturbance comes when the teardown has begun


class Disturbance(Protocol):
    """What can be one of two: it is begun, lasts, and is ended."""

    @property
    def name(self) -> str:
        """Its name in scenario ids."""

    @property
    def needs_beside(self) -> Needs:
        """What it can be done to beside a teardown."""

    @property
    def ends_in_teardown(self) -> float | None:
        """Seconds after which it is ended while the teardown waits for it; None: the teardown does
        not have to wait, and it is ended behind it."""

    @property
    def ends_afterwards(self) -> bool:
        """Whether its end is no part of the teardown: ``settle`` is what ends it."""

    def grace_beside(
        self, teardown: Fault, state: State, traits: TargetTraits,
    ) -> tuple[float, float]:
        """Return the seconds that commands, and the teardown, may take beyond the ladder's."""

    def begin(self, context: FaultContext, deadline: float) -> None:
        """Begin it. Returns once it is in effect."""

    def end(self, context: FaultContext, deadline: float) -> None:
        """End it; fine if it has ended by itself."""


@dataclass(frozen=True)
class Combined:
    """A disturbance that lasts until the teardown has ended, or waits for its end.

    ``label``: the name in scenario ids; "": the names of both, in the order in which they come.
    Raises WrongUsageError for a teardown that cannot be seen to wait where it has to.
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
            raise WrongUsageError(f"{self.name}: the teardown has to be an operation that comes "
                                  "second")

    @property
    def name(self) -> str:
        """Its name in scenario ids."""
        names = (self.disturbance.name, self.teardown.name)
        return self.label or "+".join(names if self.order is Order.FIRST else reversed(names))

    @property
    def held(self) -> Held:
        """What the teardown makes of the commands that are held."""
        return self.teardown.held

    @property
    def needs(self) -> Needs:
        """What both need. Raises ValueError when there is nothing that both can be done to."""
        return self.disturbance.needs_beside & self.teardown.needs

    def expected(
        self, state: State, traits: TargetTraits, direction: str = "none",
    ) -> Expected:
        """Commands end as the teardown has it, or well where it waits for them; they may take as
        long as either allows."""
        found = self.teardown.expected(state, traits, direction) \
            if self.disturbance.ends_in_teardown is None else ends_well(state)
        grace, teardown_grace = self.disturbance.grace_beside(self.teardown, state, traits)
        return replace(found, grace=max(found.grace, grace),
                       teardown_grace=max(found.teardown_grace, teardown_grace))

    def fire(self, context: FaultContext, deadline: float) -> None:
        """Begin the disturbance, and fire the teardown: in their order."""
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
        """Begin the teardown, see it wait if it has to; end the disturbance, see the teardown end.

        A target may not forget a command that its disk has: the teardown waits where it stalls, and
        has to end once the disk goes on. Where it errs there is nothing to wait for.
        """
        assert isinstance(self.teardown, TargetOperation)
        try:
            running = self.teardown.start(context, deadline)
            time.sleep(seconds)
        finally:
            self.disturbance.end(context, deadline)
            context.deployment.backend.release(deadline)
        running.finish(deadline)

    def undo(self, context: FaultContext, deadline: float) -> None:
        """See the teardown end, and end the disturbance behind it."""
        try:
            self.teardown.undo(context, deadline)
        finally:
            if self.disturbance.ends_in_teardown is None and not self.disturbance.ends_afterwards:
                self.disturbance.end(context, deadline)


def settle(fault: Fault, context: FaultContext, deadline: float) -> None:
    """End what a combination's undo leaves because it is no part of the teardown: a partition, an
    impaired network, broken sessions. Nothing is left of any other fault."""
    if isinstance(fault, Combined) and fault.disturbance.ends_afterwards:
        fault.disturbance.end(context, deadline)
