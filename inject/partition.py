# SPDX-License-Identifier: GPL-2.0-or-later
"""The network between initiator and target is cut, and joined again.

The expected results depend on timers of the initiator (open-iscsi's names, as in
fixtures.initiator.openiscsi.Timeouts). After ``noop_interval`` without a PDU the initiator sends a
NOP-Out, and drops the connection ``noop_timeout`` later (iscsi_check_transport_timeouts,
drivers/scsi/libiscsi.c). It then tries to log in again (session recovery, RFC 7143 7.1.4.4) for
``replacement`` seconds (recovery_tmo), and afterwards reports an error for all waiting commands
(session_recovery_timedout, drivers/scsi/scsi_transport_iscsi.c). Until then TCP retransmits lost
segments, each time after twice the interval (RFC 6298 5.5): a partition delays commands by up to
twice its duration.

Except for OUTLASTING, every partition is shorter than a target's own timer
(TargetTraits.silent_session_ends). OUTLASTING, which ``Partition.at`` makes longer than that timer,
ends the session on both sides. It causes no error if two timers of the initiator are long enough:
the session's, and the command's, since the midlayer retries a command that ended with a unit
attention in the new session only within six times the command's timer (``TRIES``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from inject.contract import FaultContext, How
from inject.fault import ISCSI, Expected, Fault, Held, Needs
from inject.outcomes import GOOD
from inject.point import State
from inject.traits import TargetTraits

CLAUSE = ("RFC 7143 7.1.4.4: session recovery; session_recovery_timedout, "
          "drivers/scsi/scsi_transport_iscsi.c, once it is given up")


@dataclass(frozen=True)
class Partition:
    """One partition.

    ``when``: time at which it heals, as a word in its name; ``seconds``: duration. ``timers``:
    seconds after which the initiator drops the connection, and after which it reports an error.
    ``outlasts_target``: whether a target with a timer of its own (TargetTraits.silent_session_ends)
    ends the session before the partition heals; ``at`` makes the partition long enough for that.
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
        """The name in scenario ids."""
        return f"partition-{self.how}-{self.when}"

    def at(self, traits: TargetTraits) -> Partition:
        """Return the partition for a target: longer, if it has to outlast the target's timer.

        The initiator reports an error later by the same time.
        """
        if not self.outlasts_target or traits.silent_session_ends is None:
            return self
        more = max(0.0, traits.silent_session_ends + MARGIN - self.seconds)
        return replace(self, seconds=self.seconds + more,
                       timers=(self.timers[0], self.timers[1] + more))

    @property
    def keeps_session(self) -> bool:
        """Whether lost segments are retransmitted before the initiator drops the connection."""
        return 2 * self.seconds < self.timers[0]

    @property
    def reported_after(self) -> float | None:
        """Seconds after which the initiator reports an error; None: the partition heals before."""
        return self.timers[1] if self.seconds > self.timers[1] else None

    @property
    def errors(self) -> tuple[str, ...] | None:
        """Errno names with which I/O may fail; (): none may fail; None: any."""
        return () if self.reported_after is None else None

    @property
    def grace(self) -> float:
        """Seconds beyond the ladder's that a command may take.

        A command waits for the end of the partition or for the error report; the initiator's next
        login attempt may take as long again.
        """
        return 2 * self.seconds if self.reported_after is None else self.reported_after

    def grace_for(self, fault: Fault) -> float:
        """Return the grace in seconds during another fault.

        If that fault removes the device, no login succeeds afterwards, and the initiator retries
        until its timer expires.
        """
        return max(self.grace, self.timers[1] if fault.ends_device else 0.0)

    def teardown_grace(self, traits: TargetTraits) -> float:
        """Return the seconds beyond the ladder's that a teardown may take during the partition.

        A target that waits for the rest of a WRITE's data gets it when TCP has retransmitted it, or
        the initiator has logged in again.
        """
        return 2 * self.seconds if traits.teardown_waits_for_data else 0.0

    def expected(
        self, state: State, traits: TargetTraits, direction: str = "none",
    ) -> Expected:
        """Return GOOD; I/O may fail only where the initiator reports the partition."""
        return Expected((GOOD,), CLAUSE, grace=self.grace, errors=self.errors)

    @property
    def needs_beside(self) -> Needs:
        """Needs of the partition during a teardown."""
        return self.needs

    def grace_beside(
        self, teardown: Fault, state: State, traits: TargetTraits,
    ) -> tuple[float, float]:
        """Return the seconds beyond the ladder's for commands and for a teardown."""
        return self.grace_for(teardown), \
            self.teardown_grace(traits) if teardown.ends_device else 0.0

    def begin(self, context: FaultContext, deadline: float) -> None:
        """Cut the network.

        For a target that waits for the rest of a WRITE's data, join the network as soon as the
        device's removal has begun, since the data can arrive only then.
        """
        context.network.cut(self, deadline)
        if context.traits.teardown_waits_for_data:
            context.network.mend_when(
                lambda: context.fired.is_set() or context.deployment.removal_waits(), deadline)

    def end(self, context: FaultContext, deadline: float) -> None:
        """Join the network once the partition has lasted its time; remove impairments."""
        context.network.restore(deadline)

    def fire(self, context: FaultContext, deadline: float) -> None:
        """Cut the network."""
        context.network.cut(self, deadline)

    def undo(self, context: FaultContext, deadline: float) -> None:
        """Join the network once the partition has lasted its time; release held commands."""
        try:
            self.end(context, deadline)
        finally:
            context.deployment.backend.release(deadline)


USUAL = (4.0, 6.0)
"""Seconds: noop_interval + noop_timeout (2 s each); the same with replacement (2 s)."""

LONG_REPLACEMENT = (4.0, 24.0)
LONGEST_REPLACEMENT = (4.0, 124.0)
"""The same with a ``replacement`` of 20 s, and of 120 s."""

MARGIN = 10.0
"""Seconds by which a partition outlasts a target's timer: the timer begins with the last PDU from
the initiator, and the end of the session is observed before the network is joined."""

TRIES = 6
"""Multiple of a command's timer within which the midlayer retries it: SD_MAX_RETRIES
(drivers/scsi/sd.h) and one (scsi_cmd_runtime_exceeced, drivers/scsi/scsi_lib.c)."""

OUTLASTING = Partition("outlasting", How.SILENT, 70.0, LONGEST_REPLACEMENT, outlasts_target=True)
"""Heals when both sides have lost the session, and the initiator still tries to replace it. Its
length and timers are the least of any target's (``Partition.at``)."""

PARTITIONS: dict[str, Partition] = {each.name: each for each in (*(
    Partition(when, how, seconds, timers) for how in How for when, seconds, timers in (
        ("blip", 1.5, USUAL), ("replaced", 7.0, LONG_REPLACEMENT), ("late", 9.0, USUAL))),
    OUTLASTING)}
"""The partitions by name.

They heal before the initiator drops the connection ("blip"); while it tries to replace the session
("replaced", "outlasting"); and after it has reported errors ("late").
"""
