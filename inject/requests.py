# SPDX-License-Identifier: GPL-2.0-or-later
"""An initiator ends its session, or requests task management, around a teardown.

These are disturbances of inject.combined.Combined; the scenario logs the sessions in beforehand.
"""

from __future__ import annotations

from dataclasses import dataclass

from inject.contract import FaultContext
from inject.fault import ISCSI, Fault, Needs
from inject.nexus import DROP, LOGOUT, REINSTATE
from inject.point import State
from inject.task_management import grace
from inject.traits import TargetTraits
from results.errors import WrongUsageError

FIRST, NEXT = "a", "c"
"""Names of sessions: of the initiator that acts, and of its successor."""


@dataclass(frozen=True)
class FunctionRequest:
    """Task management functions, requested at once by the session whose command is held."""

    functions: tuple[str, ...]
    session: str = FIRST
    needs_beside: Needs = ISCSI
    ends_in_teardown: float | None = None
    ends_afterwards: bool = True

    @property
    def name(self) -> str:
        """The functions' names."""
        return "-".join(each.lower().replace("_", "-") for each in self.functions)

    def grace_beside(
        self, teardown: Fault, state: State, traits: TargetTraits,
    ) -> tuple[float, float]:
        """Return the seconds of another initiator's error handling; 0 for the teardown."""
        return max(map(grace, self.functions)), 0.0

    def begin(self, context: FaultContext, deadline: float) -> None:
        """Request the functions."""
        context.initiators.request(self.session, self.functions, deadline)

    def end(self, context: FaultContext, deadline: float) -> None:
        """Do nothing: a function ends with its response."""


@dataclass(frozen=True)
class SessionEnd:
    """End of a session: ``action`` is LOGOUT, DROP or REINSTATE of inject.nexus."""

    action: str
    session: str = FIRST
    successor: str = NEXT
    needs_beside: Needs = ISCSI
    ends_in_teardown: float | None = None
    ends_afterwards: bool = True

    @property
    def name(self) -> str:
        """The action."""
        return self.action

    def grace_beside(
        self, teardown: Fault, state: State, traits: TargetTraits,
    ) -> tuple[float, float]:
        """Return no extra seconds: nothing takes longer."""
        return 0.0, 0.0

    def begin(self, context: FaultContext, deadline: float) -> None:
        """Begin to end the session, without waiting for the result.

        Raises WrongUsageError for an unknown action.
        """
        if self.action == LOGOUT:
            context.initiators.begin_logout(self.session, deadline)
        elif self.action == DROP:
            context.initiators.drop(self.session, deadline)
        elif self.action == REINSTATE:
            context.initiators.begin_login(self.successor, self.session, deadline)
        else:
            raise WrongUsageError(f"no session ends by {self.action!r}")

    def end(self, context: FaultContext, deadline: float) -> None:
        """Do nothing: the scenario checks the result."""
