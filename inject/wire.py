# SPDX-License-Identifier: GPL-2.0-or-later
"""An initiator violates the protocol, or breaks its session.

It sends PDUs that break RFC 7143, wrong digests, or commands whose fields contradict each other; or
it ends in the middle of a transfer. These faults act on neither the target's machine nor its
backend: an initiator of the scenario's own sends them, and another initiator's session to the same
target must not be affected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from inject.contract import FaultContext
from inject.fault import ISCSI, Expected, Fault, Held, Needs
from inject.outcomes import RECOVERY_GRACE, ends_well
from inject.point import State
from inject.traits import TargetTraits

OTHERS = ("RFC 7143 4.4.2, SAM-5 6.3.4: an I_T nexus is one session, and what ends it ends no "
          "command of another")


@dataclass(frozen=True)
class Wire:
    """One kind of initiator misbehaviour.

    The scenario's initiators carry it out (inject.contract.Initiators).

    ``moment``, ``end_of_session``: the moment at which a session breaks, and its end; "": none
    breaks.
    """

    name: str
    breaks: bool = True
    ends_device: bool = False
    held: Held = Held.ANSWERED
    errors: tuple[str, ...] = ()
    """Errno names with which another session's I/O may fail: none."""
    moment: str = ""
    end_of_session: str = ""
    grace: float = 0.0
    """Seconds beyond the ladder's that another session's commands may take."""
    needs: Needs = ISCSI
    ends_in_teardown: float | None = None
    ends_afterwards: bool = True

    def expected(
        self, state: State, traits: TargetTraits, direction: str = "none",
    ) -> Expected:
        """Return GOOD for another session's commands, and no errors of its I/O."""
        return ends_well(state, OTHERS, grace=self.grace, errors=self.errors)

    @property
    def needs_beside(self) -> Needs:
        """Needs of the misbehaviour during a teardown."""
        return self.needs

    def grace_beside(
        self, teardown: Fault, state: State, traits: TargetTraits,
    ) -> tuple[float, float]:
        """Return no extra seconds: nothing takes longer."""
        return 0.0, 0.0

    def begin(self, context: FaultContext, deadline: float) -> None:
        """Break sessions around a teardown.

        A silent or stuffed peer breaks before the teardown. A peer that hangs up does so once the
        device's removal has begun, or once the LUN's removal waits: it may wait for these sessions'
        commands.
        """
        context.initiators.reach(self, deadline)
        if self.end_of_session in ("silent", "stuffed"):
            context.initiators.break_sessions(deadline)
        else:
            context.initiators.break_when(
                lambda: context.fired.is_set() or context.deployment.removal_waits(), deadline)

    def end(self, context: FaultContext, deadline: float) -> None:
        """Wait until the sessions have broken, and start no new ones."""
        context.initiators.break_sessions(deadline)
        context.initiators.leave(deadline)

    def fire(self, context: FaultContext, deadline: float) -> None:
        """Do nothing: the test's own initiators misbehave from now on."""

    def undo(self, context: FaultContext, deadline: float) -> None:
        """Do nothing: the initiators have closed their connections themselves."""


MALFORMED = Wire("malformed-pdus", grace=RECOVERY_GRACE)
DIGESTS = Wire("wrong-digests")
COMMANDS = Wire("odd-commands")

BREAKS: Mapping[str, tuple[str, ...]] = {
    "login-torn": ("close", "reset", "silent"),
    "login-begun": ("close", "reset", "silent"),
    "data-out": ("close", "reset", "silent"),
    "data-out-torn": ("close", "reset", "silent"),
    "data-in": ("close", "reset", "silent", "stuffed"),
}
"""Moments at which a session breaks, and ways in which it ends (fixtures.initiator.raw.broken_guest
implements both).

A session's tasks are terminated with it (RFC 7143 11.14.5), and its initiator port may log in again
at any time: the rest of the old session ends then (session reinstatement, 6.3.5). A session whose
peer does not read ("stuffed") is not broken: it only has to wait.
"""

BROKEN: Mapping[str, Wire] = {
    f"broken-{moment}-{end}": Wire(f"broken-{moment}-{end}", moment=moment, end_of_session=end)
    for moment, ends in BREAKS.items() for end in ends}

WIRE = (MALFORMED, DIGESTS, COMMANDS, *BROKEN.values())
