"""What an initiator sends is wrong: PDUs that break RFC 7143, digests that do not fit, commands
that do not mean what they say; or it ends in the middle of it.

Not done to the target's machine or backend but by an initiator of the scenario's own, while another
one's session to the same target must not suffer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from inject.contract import FaultContext
from inject.fault import ISCSI, Expected, Fault, Held, Needs
from inject.outcomes import RECOVERY_GRACE, ends_well
from inject.point import State
from inject.traits import TargetTraits

OTHERS = ("RFC 7143 4.4.2, SAM-6 6.3.4: an I_T nexus is one session, and what ends it ends no "
          "command of another")


@dataclass(frozen=True)
class Wire:
    """One kind of them; the scenario's initiators send them (inject.contract.Initiators).

    ``moment``, ``end_of_session``: when a session breaks, and how, if that is what it is.
    """

    name: str
    breaks: bool = True
    ends_device: bool = False
    held: Held = Held.ANSWERED
    errors: tuple[str, ...] = ()
    """With what another session's I/O may fail: with nothing."""
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
        """Another session's commands end well, and no I/O of it fails."""
        return ends_well(state, OTHERS, grace=self.grace, errors=self.errors)

    @property
    def needs_beside(self) -> Needs:
        """What it needs as one of two."""
        return self.needs

    def grace_beside(
        self, teardown: Fault, state: State, traits: TargetTraits,
    ) -> tuple[float, float]:
        """Nothing takes longer for it."""
        return 0.0, 0.0

    def begin(self, context: FaultContext, deadline: float) -> None:
        """Break sessions around a teardown. A peer that is silent, or stuffed, was so before; one
        that hangs up does so when the device has begun to go, or its LUN's removal waits, which may
        be for these sessions' commands."""
        context.initiators.reach(self, deadline)
        if self.end_of_session in ("silent", "stuffed"):
            context.initiators.break_sessions(deadline)
        else:
            context.initiators.break_when(
                lambda: context.fired.is_set() or context.deployment.removal_waits(), deadline)

    def end(self, context: FaultContext, deadline: float) -> None:
        """See that they have broken, and make none anew."""
        context.initiators.break_sessions(deadline)
        context.initiators.leave(deadline)

    def fire(self, context: FaultContext, deadline: float) -> None:
        """Do nothing: the test's own initiators misbehave from now on."""

    def undo(self, context: FaultContext, deadline: float) -> None:
        """Do nothing: they have hung up by themselves."""


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
"""Moments at which a session breaks, and how (fixtures.initiator.raw.broken_guest has both). Its
tasks are terminated with it (RFC 7143 11.14.5), and its initiator port may make it anew at any
time: what the target still has of the old one goes then (session reinstatement, 6.3.5). One that is
not read from is not broken: it has only to wait."""

BROKEN: Mapping[str, Wire] = {
    f"broken-{moment}-{end}": Wire(f"broken-{moment}-{end}", moment=moment, end_of_session=end)
    for moment, ends in BREAKS.items() for end in ends}

WIRE = (MALFORMED, DIGESTS, COMMANDS, *BROKEN.values())
