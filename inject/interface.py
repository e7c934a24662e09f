# SPDX-License-Identifier: GPL-2.0-or-later
"""A process calls the interface between kernel and backends with wrong arguments.

Neither a device that another backend serves, nor its initiator, may notice.
"""

from __future__ import annotations

from dataclasses import dataclass

from inject.contract import FaultContext
from inject.fault import Expected, Held, Needs
from inject.outcomes import ends_well
from inject.point import State
from inject.traits import TargetTraits

KERNEL_INTERFACE = Needs(backends=frozenset({"scst_user", "tcmu"}))
"""Backends behind an interface of the kernel's target."""

CLAUSE = "another backend's device has no part in the calls"


@dataclass(frozen=True)
class InterfaceCalls:
    """Wrong calls; the scenario's guest program makes them. ``errors``: no I/O may fail."""

    name: str = "calls"
    breaks: bool = True
    ends_device: bool = False
    held: Held = Held.ANSWERED
    errors: tuple[str, ...] = ()
    needs: Needs = KERNEL_INTERFACE

    def expected(
        self, state: State, traits: TargetTraits, direction: str = "none",
    ) -> Expected:
        """Return GOOD for the other device's commands, and no errors of its I/O."""
        return ends_well(state, CLAUSE, errors=self.errors)

    def fire(self, context: FaultContext, deadline: float) -> None:
        """Do nothing: the scenario starts its program."""

    def undo(self, context: FaultContext, deadline: float) -> None:
        """Do nothing: the program has ended."""


CALLS = InterfaceCalls()
