# SPDX-License-Identifier: GPL-2.0-or-later
"""Shared vocabulary of expectations: outcomes of commands, and the results of common faults.

Outcomes are patterns in the words of results.checkers.outcome. Each fault's module defines its own
results (``Fault.expected``); this module holds the parts that several share. The end of a command
depends on its state, and on the components that the fault leaves able to answer it
(inject.fault.Held):

- Its backend answers it: it ends with GOOD.
- Its backend has fetched it and can no longer answer: the target ends it with LOGICAL UNIT NOT
  SUPPORTED, or as TargetTraits.backend_gone states. If the backend has not fetched it, it may also
  end with BUSY or TASK SET FULL; the initiator's midlayer then retries it, and the retry finds no
  such logical unit.
- It has been answered already (BACKGROUND, ON_FREE_CMD): that answer stands.
- The initiator has lost its path: it ends the command itself.
"""

from __future__ import annotations

from collections.abc import Mapping

from inject.fault import Expected
from inject.point import ANSWERED, TASK_MANAGEMENT, State
from inject.traits import TargetTraits

GOOD = "GOOD"
NOT_SUPPORTED = "CHECK CONDITION 05/25/00"
BUSY = "BUSY"
TASK_SET_FULL = "TASK SET FULL"
TASK_ABORTED = "TASK ABORTED"
RESET_UA = "CHECK CONDITION 06/29/0?"
"""POWER ON, RESET, OR BUS DEVICE RESET OCCURRED and related codes (SPC-4 table 54)."""

LOST_WAY = ("host NO_CONNECT", "host TRANSPORT_DISRUPTED", "host TRANSPORT_FAILFAST",
            "host REQUEUE", "host RESET", "host ERROR")
"""Outcomes of a command whose session or disk has gone at the initiator."""

TIMED_OUT = ("host TIME_OUT", "host ABORT", "host RESET", "host NO_CONNECT",
             "host TRANSPORT_DISRUPTED", "host ERROR")
"""Outcomes of a command that the initiator's error handling ended after its timer had run out."""

ABORTED_LATE = (GOOD, TASK_ABORTED, RESET_UA, *TIMED_OUT)
"""Outcomes of a command that stays unanswered until the initiator's timer has run out."""

UNANSWERED: Mapping[State, tuple[str, ...]] = {
    State.QUEUED: (NOT_SUPPORTED, BUSY, TASK_SET_FULL, *LOST_WAY),
    State.PARSE: (NOT_SUPPORTED,),
    State.ALLOC_MEM: (NOT_SUPPORTED,),
    State.EXEC: (NOT_SUPPORTED,),
    State.EXT_COPY_REMAP: (NOT_SUPPORTED,),
}
"""Outcomes of a command whose backend has gone, by the command's state, at every target; at one
target also those of TargetTraits.backend_gone."""

COMPLETED = "SAM-5 5.3.1: a command that is not terminated is completed, with its own status"
DELIVERED = "SAM-5, Send Command Complete: a command has one status, and this one's is delivered"
NO_UNIT = "SPC-4 table 53: ILLEGAL REQUEST of a command to an incorrect logical unit number"
DEVICE_GONE = f"{NO_UNIT}, once the device server has gone"
NOT_FETCHED = ("SAM-5 5.3.1: BUSY or TASK SET FULL of a command that is not in the task set; "
               f"{NO_UNIT}, when it is tried again")
NEXUS_LOST = "SAM-5 6.3.4: I_T nexus loss; the initiator ends the command with a host status"
TIMER = ("RFC 7143 7.11: the initiator's command timer runs out, and ABORT TASK and resets "
         "terminate the command")

RECOVERY_GRACE = 12.0
"""Seconds beyond the ladder's for a command that is lost in the target, reset by another initiator,
or held until memory is used up. The initiator ends it: its command timer (4 s), then ABORT TASK,
LOGICAL UNIT RESET, TARGET RESET and the session's replacement, 2 s each
(fixtures.initiator.openiscsi)."""

RESET_GRACE = 10.0
"""Seconds beyond the ladder's where a reset is held: the initiator's midlayer stops all I/O for it,
and gives it up only after LOGICAL UNIT RESET, TARGET RESET and a new session."""


def grace_in(state: State, seconds: float = 0.0) -> float:
    """Return a command's grace: ``seconds``, or RESET_GRACE if longer and a reset is held."""
    return max(seconds, RESET_GRACE if state in TASK_MANAGEMENT else 0.0)


def ends_well(
    state: State, clause: str = COMPLETED, *, grace: float = 0.0,
    errors: tuple[str, ...] | None = (),
) -> Expected:
    """Return the expectation that commands end with GOOD, and that I/O fails with ``errors`` only.

    ``errors``: errno names; (): no I/O fails; None: with any, for a fault that ends the device.
    """
    return ends_with(state, (GOOD,), clause, grace=grace, errors=errors)


def ends_with(
    state: State, outcomes: tuple[str, ...], clause: str, *, grace: float = 0.0,
    errors: tuple[str, ...] | None = None,
) -> Expected:
    """Return the expectation that commands end with one of ``outcomes``.

    A command that was answered before the fault (``ANSWERED``) ends with GOOD. ``errors``: as for
    ``ends_well``.
    """
    if state in ANSWERED:
        outcomes, clause = (GOOD,), DELIVERED
    return Expected(outcomes, clause, grace=grace_in(state, grace), errors=errors)


def loses_backend(state: State, traits: TargetTraits) -> Expected:
    """Return the expectation when the target answers commands in place of a backend that has gone.

    I/O may fail with any errno.
    """
    usual, gone = UNANSWERED.get(state, ()), traits.backend_gone
    clause = NOT_FETCHED if state is State.QUEUED else DEVICE_GONE
    return ends_with(state, (*usual, *gone.outcomes) if usual else (), f"{clause}; {gone.clause}")
