"""The network between initiator and target comes apart, and is joined again.

What has to follow is a matter of timers, all of them the initiator's (open-iscsi's names, as in
fixtures.initiator.openiscsi.Timeouts): when nothing has come for ``noop_interval`` it sends a
NOP-Out, and drops the connection ``noop_timeout`` later (iscsi_check_transport_timeouts,
drivers/scsi/libiscsi.c). It then tries to log in again (session recovery, RFC 7143 7.1.4.4), for
``replacement`` seconds (recovery_tmo), and after these reports an error for all that waits
(session_recovery_timedout, drivers/scsi/scsi_transport_iscsi.c). Until then TCP sends again what
was lost, each time after twice as long (RFC 6298 5.5): a partition costs up to as much again as it
lasts.

The targets' own timers are longer than any of these: LIO's NOP-In goes out after 15 s and is waited
for for 30 (NA_NOPIN_TIMEOUT, NA_NOPIN_RESPONSE_TIMEOUT, iscsi_target_core.h), SCST's after 30 and
for 30 (NopInInterval, NopInTimeout of iscsi-scst's README); tgt sends none unless it is told to. A
partition that outlasts them ends the session on both sides, and costs no error where the initiator
is patient enough: with its session, and with a command that the new session answers with a unit
attention, which is tried again only within six times its timer (``TRIES``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from inject.fault import ISCSI, Fault, Held, Needs, Subject
from results.errors import WrongUsageError


class How(StrEnum):
    """How it comes apart."""

    UNPLUGGED = "unplugged"  # both see that their cables are out (no carrier)
    SILENT = "silent"  # what either sends is lost, and neither is told
    ONE_WAY = "one-way"  # what the target sends is lost: it hears, and is not heard


@dataclass(frozen=True)
class Partition:
    """One of them. ``when`` it heals, in words; ``seconds`` for which it lasts.

    ``timers``: seconds of the initiator's after which it drops the connection, and after which it
    reports an error. ``errors``: with what I/O may fail: (): with nothing; None: with anything.
    """

    when: str
    how: How
    seconds: float
    timers: tuple[float, float]
    breaks: bool = True
    ends_device: bool = False
    held: Held = Held.KEPT
    needs: Needs = ISCSI

    @property
    def name(self) -> str:
        """Its name in scenario ids."""
        return f"partition-{self.how}-{self.when}"

    @property
    def keeps_session(self) -> bool:
        """Whether what was lost has been sent again before the initiator drops the connection."""
        return 2 * self.seconds < self.timers[0]

    @property
    def outlasts_target(self) -> bool:
        """Whether every target that has timers has given its session up before it heals."""
        return self.seconds > max(filter(None, GIVES_UP.values()))

    @property
    def reported_after(self) -> float | None:
        """Seconds after which the initiator reports it; None: it has healed before."""
        return self.timers[1] if self.seconds > self.timers[1] else None

    @property
    def errors(self) -> tuple[str, ...] | None:
        """With what I/O may fail."""
        return () if self.reported_after is None else None

    @property
    def patience(self) -> float:
        """Seconds beyond the ladder's that a command may take: it waits for the end, or for the
        report, and the initiator's next attempt to log in is up to as far away again."""
        return 2 * self.seconds if self.reported_after is None else self.reported_after

    def patience_for(self, fault: Fault) -> float:
        """Return the same beside a fault: where that takes the device away nobody may be let in
        any more, and the initiator tries until its timer ends that."""
        return max(self.patience, self.timers[1] if fault.ends_device else 0.0)

    def teardown_patience(self, target: str) -> float:
        """Seconds beyond the ladder's that a teardown may take while it lasts: a target that waits
        for a WRITE of which a part has come has it once TCP has sent the rest again, or the
        initiator comes anew."""
        return 2 * self.seconds if WAITS_FOR_THE_REST[target] else 0.0

    def fire(self, subject: Subject, deadline: float) -> None:
        """Raise WrongUsageError: no target has the network in its hands."""
        raise WrongUsageError(f"{self.name} needs a story of its own, and two machines")

    def undo(self, subject: Subject, deadline: float) -> None:
        """Nothing: the story joins what it has cut."""


USUAL = (4.0, 6.0)
"""noop_interval and noop_timeout; with them, replacement (2 s each)."""

PATIENT = (4.0, 24.0)
MORE_PATIENT = (4.0, 124.0)
"""The same, with a replacement that makes up the difference."""

TRIES = 6
"""Times a command's timer within which it is tried again: SD_MAX_RETRIES (drivers/scsi/sd.h) and
one (scsi_cmd_runtime_exceeced, drivers/scsi/scsi_lib.c)."""

GIVES_UP: Mapping[str, float | None] = {"lio": 45.0, "scst": 60.0, "tgt": None}
"""By target: after how many seconds it ends a session from which it hears nothing, by the timers
above; None: never."""

WAITS_FOR_THE_REST: Mapping[str, bool] = {"lio": False, "scst": True, "tgt": False}
"""By target: whether a teardown waits for a WRITE whose data have not all come, for as long as its
session is there (seen on SCST; LIO gives it up after 3 s, NA_DATAOUT_TIMEOUT; tgt's backing store
does not know of it yet)."""

OUTLASTING = Partition("outlasting", How.SILENT, 70.0, MORE_PATIENT)
"""It heals when both have lost the session, and the initiator has not given it up."""

PARTITIONS: dict[str, Partition] = {each.name: each for each in (*(
    Partition(when, how, seconds, timers) for how in How for when, seconds, timers in (
        ("blip", 1.5, USUAL), ("replaced", 7.0, PATIENT), ("late", 9.0, USUAL))), OUTLASTING)}
"""By name. It heals before the initiator has noticed; when that has lost its session and not given
it up; and when it has."""
