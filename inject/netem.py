# SPDX-License-Identifier: GPL-2.0-or-later
"""Impairments of a network that stays connected: delay, loss, duplication, reordering of packets.

TCP compensates for all of them (RFC 9293 3.8, RFC 6298): target and initiator observe only that
commands take longer. Applied with tc-netem(8) in both directions, on the interface between
initiator and target.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from inject.contract import FaultContext
from inject.fault import ISCSI, Expected, Fault, Held, Needs
from inject.outcomes import GOOD
from inject.point import State
from inject.traits import TargetTraits

CLAUSE = "RFC 9293 3.8, RFC 6298: TCP retransmits lost segments, and delivers in order"


@dataclass(frozen=True)
class Netem:
    """One impairment. ``how``: arguments of tc-netem(8).

    ``grace``: seconds beyond the ladder's that a command may take. ``drops``: whether packets are
    lost, which the interface counts.
    """

    what: str
    how: str
    grace: float
    drops: bool = False
    breaks: bool = True
    ends_device: bool = False
    held: Held = Held.KEPT
    errors: tuple[str, ...] = ()
    needs: Needs = ISCSI
    ends_in_teardown: float | None = None
    ends_afterwards: bool = True

    @property
    def name(self) -> str:
        """The name in scenario ids."""
        return f"netem-{self.what}"

    def expected(
        self, state: State, traits: TargetTraits, direction: str = "none",
    ) -> Expected:
        """Return GOOD after a longer time: TCP compensates."""
        return Expected((GOOD,), CLAUSE, grace=self.grace, errors=self.errors)

    @property
    def needs_beside(self) -> Needs:
        """Needs of the impairment during a teardown."""
        return self.needs

    def grace_beside(
        self, teardown: Fault, state: State, traits: TargetTraits,
    ) -> tuple[float, float]:
        """Return the seconds beyond the ladder's for commands and for a teardown."""
        return self.grace, 0.0

    def begin(self, context: FaultContext, deadline: float) -> None:
        """Impair the network."""
        context.network.impair(self.how, deadline)

    def end(self, context: FaultContext, deadline: float) -> None:
        """Restore the network."""
        context.network.restore(deadline)

    def fire(self, context: FaultContext, deadline: float) -> None:
        """Impair the network, and release the held commands."""
        self.begin(context, deadline)
        context.deployment.backend.release(deadline)

    def undo(self, context: FaultContext, deadline: float) -> None:
        """Restore the network."""
        self.end(context, deadline)


LOST_THREE_TIMES = 3.0
"""Seconds by which a command may be late if a segment of it and one of its answer are lost three
times each: retransmission timers of 0.2, 0.4 and 0.8 s (TCP_RTO_MIN, include/net/tcp.h), twice."""

NETEMS: Mapping[str, Netem] = {each.name: each for each in (
    Netem("delay", "delay 40ms 10ms", 1.0),
    Netem("loss", "loss 3%", LOST_THREE_TIMES, drops=True),
    Netem("burst-loss", "loss gemodel 1% 30%", 2 * LOST_THREE_TIMES, drops=True),
    Netem("duplicate", "duplicate 20%", 0.0),
    Netem("reorder", "delay 20ms reorder 60% 50%", 1.0),
)}
"""The impairments by name."""
