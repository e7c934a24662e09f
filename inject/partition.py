"""The network between initiator and target comes apart, and is joined again.

What has to follow is a matter of timers, all of them the initiator's (open-iscsi's names, as in
fixtures.initiator.openiscsi.Timeouts): when nothing has come for ``noop_interval`` it sends a
NOP-Out, and drops the connection ``noop_timeout`` later (iscsi_check_transport_timeouts,
drivers/scsi/libiscsi.c). It then tries to log in again (session recovery, RFC 7143 7.1.4.4), for
``replacement`` seconds (recovery_tmo), and after these reports an error for all that waits
(session_recovery_timedout, drivers/scsi/scsi_transport_iscsi.c). Until then TCP sends again what
was lost, each time after twice as long (RFC 6298 5.5): a partition costs up to as much again as it
lasts.

The targets' own timers are longer than any of these (TargetTraits.silent_session_ends). A
partition that outlasts them ends the session on both sides, and costs no error where the initiator
is patient enough: with its session, and with a command that the new session answers with a unit
attention, which is tried again only within six times its timer (``TRIES``).
"""

from __future__ import annotations

from dataclasses import dataclass

from inject.contract import FaultContext, How
from inject.fault import ISCSI, Expected, Fault, Held, Needs
from inject.outcomes import GOOD
from inject.point import State
from inject.traits import TargetTraits

CLAUSE = ("RFC 7143 7.1.4.4: session recovery; session_recovery_timedout, "
          "drivers/scsi/scsi_transport_iscsi.c, once it is given up")


@dataclass(frozen=True)
class Partition:
    """One of them. ``when`` it heals, in words; ``seconds`` for which it lasts.

    ``timers``: seconds of the initiator's after which it drops the connection, and after which it
    reports an error. ``outlasts_target``: whether every target that has a timer of its own
    (TargetTraits.silent_session_ends) has ended the session before it heals.
    """

    when: str
    how: How
    seconds: float
    timers: tuple[float, float]
    outlasts_target: bool = False
    breaks: bool = True
    ends_device: bool = False
    held: Held = Held.KEPT
    needs: Needs = ISCSI
    ends_in_teardown: float | None = None
    ends_afterwards: bool = True

    @property
    def name(self) -> str:
        """Its name in scenario ids."""
        return f"partition-{self.how}-{self.when}"

    @property
    def keeps_session(self) -> bool:
        """Whether what was lost has been sent again before the initiator drops the connection."""
        return 2 * self.seconds < self.timers[0]

    @property
    def reported_after(self) -> float | None:
        """Seconds after which the initiator reports it; None: it has healed before."""
        return self.timers[1] if self.seconds > self.timers[1] else None

    @property
    def errors(self) -> tuple[str, ...] | None:
        """With what I/O may fail."""
        return () if self.reported_after is None else None

    @property
    def grace(self) -> float:
        """Seconds beyond the ladder's that a command may take: it waits for the end, or for the
        report, and the initiator's next attempt to log in is up to as far away again."""
        return 2 * self.seconds if self.reported_after is None else self.reported_after

    def grace_for(self, fault: Fault) -> float:
        """Return the same beside a fault: where that takes the device away nobody may be let in
        any more, and the initiator tries until its timer ends that."""
        return max(self.grace, self.timers[1] if fault.ends_device else 0.0)

    def teardown_grace(self, traits: TargetTraits) -> float:
        """Seconds beyond the ladder's that a teardown may take while it lasts: a target that waits
        for a WRITE of which a part has come has it once TCP has sent the rest again, or the
        initiator comes anew."""
        return 2 * self.seconds if traits.teardown_waits_for_data else 0.0

    def expected(
        self, state: State, traits: TargetTraits, direction: str = "none",
    ) -> Expected:
        """The initiator waits for the network, or reports an error in time."""
        return Expected((GOOD,), CLAUSE, grace=self.grace, errors=self.errors)

    @property
    def needs_beside(self) -> Needs:
        """What it needs as one of two."""
        return self.needs

    def grace_beside(
        self, teardown: Fault, state: State, traits: TargetTraits,
    ) -> tuple[float, float]:
        """Return the seconds beyond the ladder's for commands and for a teardown."""
        return self.grace_for(teardown), \
            self.teardown_grace(traits) if teardown.ends_device else 0.0

    def begin(self, context: FaultContext, deadline: float) -> None:
        """Cut the network. A target that waits for the rest of a WRITE has it when the network is
        joined: then that is done as soon as the device has begun to go."""
        context.network.cut(self, deadline)
        if context.traits.teardown_waits_for_data:
            context.network.mend_when(
                lambda: context.fired.is_set() or context.deployment.removal_waits(), deadline)

    def end(self, context: FaultContext, deadline: float) -> None:
        """Join it, once it has lasted, and leave nothing behind."""
        context.network.restore(deadline)

    def fire(self, context: FaultContext, deadline: float) -> None:
        """Cut the network."""
        context.network.cut(self, deadline)

    def undo(self, context: FaultContext, deadline: float) -> None:
        """Join it, once it has lasted, and let what is held go on."""
        try:
            self.end(context, deadline)
        finally:
            context.deployment.backend.release(deadline)


USUAL = (4.0, 6.0)
"""noop_interval and noop_timeout; with them, replacement (2 s each)."""

PATIENT = (4.0, 24.0)
MORE_PATIENT = (4.0, 124.0)
"""The same, with a replacement that makes up the difference."""

TRIES = 6
"""Times a command's timer within which it is tried again: SD_MAX_RETRIES (drivers/scsi/sd.h) and
one (scsi_cmd_runtime_exceeced, drivers/scsi/scsi_lib.c)."""

OUTLASTING = Partition("outlasting", How.SILENT, 70.0, MORE_PATIENT, outlasts_target=True)
"""It heals when both have lost the session, and the initiator has not given it up."""

PARTITIONS: dict[str, Partition] = {each.name: each for each in (*(
    Partition(when, how, seconds, timers) for how in How for when, seconds, timers in (
        ("blip", 1.5, USUAL), ("replaced", 7.0, PATIENT), ("late", 9.0, USUAL))), OUTLASTING)}
"""By name. It heals before the initiator has noticed; when that has lost its session and not given
it up; and when it has."""
