"""How a command may end that was at the point of a fault: what each cell has to lead to.

In the words of results.checkers.outcome. What becomes of a command depends on where it is and on
what the fault leaves of those who could answer it (inject.fault.Held):

- Its backend answers it: it ends well.
- Its backend cannot, and has fetched it: the kernel ends it with LOGICAL UNIT NOT SUPPORTED
  (dev_user_unjam_cmd, scst_user.c). Not fetched: with BUSY or TASK SET FULL, after which the
  initiator's midlayer tries again, and finds that there is no such logical unit.
- It has its answer already (BACKGROUND, ON_FREE_CMD): that stands.
- The initiator has lost its way to it: it ends the command by itself.
- Its backend answers it wrongly: as the answer's own data say (inject.answers).
- The disk below its target errs: as the target's sources say (inject.storage).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from inject.answers import CHECK_CONDITION, Answer, Outcome
from inject.fault import Fault, Held
from inject.netem import Netem
from inject.pair import Pair
from inject.partition import Partition
from inject.point import ANSWERED, TASK_MANAGEMENT, State
from inject.storage import sensed
from inject.system import ALLOCATIONS
from results.checkers.outcome import status_word

GOOD = "GOOD"
NOT_SUPPORTED = "CHECK CONDITION 05/25/00"
BUSY = "BUSY"
TASK_SET_FULL = "TASK SET FULL"
TASK_ABORTED = "TASK ABORTED"
RESET_UA = "CHECK CONDITION 06/29/0?"
"""POWER ON, RESET, OR BUS DEVICE RESET OCCURRED and its kin (SPC-4 table 60)."""

LOST_WAY = ("host NO_CONNECT", "host TRANSPORT_DISRUPTED", "host TRANSPORT_FAILFAST",
            "host REQUEUE", "host RESET", "host ERROR")
"""The initiator's session or its disk has gone."""

TIMED_OUT = ("host TIME_OUT", "host ABORT", "host RESET", "host NO_CONNECT",
             "host TRANSPORT_DISRUPTED", "host ERROR")
"""The initiator's timer ran out, and its error handling ended the command."""

UNANSWERED: Mapping[State, Sequence[str]] = {
    State.QUEUED: (NOT_SUPPORTED, BUSY, TASK_SET_FULL, *LOST_WAY),
    State.PARSE: (NOT_SUPPORTED,),
    State.ALLOC_MEM: (NOT_SUPPORTED,),
    State.EXEC: (NOT_SUPPORTED,),
    State.EXT_COPY_REMAP: (NOT_SUPPORTED,),
}
"""By the state of a command whose backend has gone."""

BY_FAULT: Mapping[str, Sequence[str]] = {
    "session-close": LOST_WAY,
    "session-delete": (GOOD, *LOST_WAY),
    "target-disable": (GOOD, *LOST_WAY),
    "target-delete": (GOOD, *LOST_WAY),
    "lun-delete": (GOOD, *LOST_WAY),
    "lun-clear": (GOOD, *LOST_WAY),
    "lun-delete-while-device-goes": (GOOD, NOT_SUPPORTED, *LOST_WAY),
    **{f"black-hole-{kind}": (GOOD, TASK_ABORTED, RESET_UA, *TIMED_OUT) for kind in range(1, 5)},
    **dict.fromkeys(("backend-stop-long", "memory-pressure", "storage-stall-long",
                     "storage-stall-longer"),
                    (GOOD, TASK_ABORTED, RESET_UA, *TIMED_OUT)),
}
"""What a fault leads to whatever the state. A black hole swallows the answers of these, too."""


def answered(outcome: Outcome) -> Sequence[str]:
    """Return how a command may end that is answered wrongly.

    BUSY is tried again by the midlayer, and then ends well. A status that the standard does not
    have is an error of the initiator's own.
    """
    if outcome.status is None:
        return (GOOD,)
    if outcome.status == CHECK_CONDITION:
        if outcome.sense is None:
            return ("CHECK CONDITION*",)
        return ("CHECK CONDITION " + "/".join(f"{number:02x}" for number in outcome.sense),)
    word = status_word(outcome.status)
    return (BUSY, TASK_SET_FULL, GOOD) if word == BUSY else (word, "host ERROR")


PATIENCE: Mapping[str, float] = {
    **{f"black-hole-{kind}": 12.0 for kind in range(1, 5)},
    "backend-stop-long": 12.0,
    **dict.fromkeys(("memory-pressure", *(fault.name for fault in ALLOCATIONS)), 12.0),
    "target-offline": 12.0,
    "daemon-kill": 12.0,
    "malformed-pdus": 12.0,
    "scstd-kill": 12.0,
    "tgtd-stop-long": 12.0,
    "storage-stall-long": 12.0,
    "storage-stall-longer": 20.0,
}
"""Seconds beyond the ladder's that commands may take which come while a fault lasts, by its name.

What is swallowed, reset by another initiator, or held for as long as memory takes to be used up,
is left to the initiator: its command timer (4 s), then ABORT TASK, LOGICAL UNIT RESET, TARGET
RESET and the session's replacement, 2 s each (fixtures.initiator.openiscsi)."""


RESET_SECONDS = 10.0
"""Seconds beyond the ladder's where a reset is what is held: the initiator's midlayer stops all
I/O for it, and takes up to LOGICAL UNIT RESET, TARGET RESET and a new session to give it up."""


TEARDOWN_PATIENCE: Mapping[str, float] = {
    "cpu-hog": 6.0, "backend-starved": 6.0, "memory-pressure": 12.0,
    **dict.fromkeys((fault.name for fault in ALLOCATIONS), 2.0)}
"""Seconds beyond the ladder's that a teardown may take beside this: an administrator's programs
have a seventh of a CPU each (targets.system.HOGS_PER_CPU); a backend, a twentieth for what it has
to answer; memory takes that long to be used up, and the first allocation to fail is waited for
(targets.system.FIRST_FAILURE): the teardown's clock runs meanwhile."""


def teardown_patience(fault: Fault) -> float:
    """Return how many seconds more than the ladder's the teardown may take."""
    return TEARDOWN_PATIENCE.get(fault.disturbance.name, 0.0) if isinstance(fault, Pair) else 0.0


def patience(fault: Fault, state: State) -> float:
    """Return how many seconds more than the ladder's a command may take."""
    if isinstance(fault, Pair):
        return max(patience(fault.disturbance, state), patience(fault.teardown, state))
    if isinstance(fault, Netem | Partition):
        return fault.patience
    return max(PATIENCE.get(fault.name, 0.0),
               RESET_SECONDS if state in TASK_MANAGEMENT else 0.0)


def allowed(
    fault: Fault, state: State, target: str = "", direction: str = "none",
) -> Sequence[str]:
    """Return the outcomes that a fault may lead to for a command in a state; empty: any.

    ``target``, ``direction``: the command's ("write", "read", "none"), which some faults ask for.
    """
    if isinstance(fault, Pair):
        return allowed(fault.teardown, state)
    told = answered(fault.outcome) if isinstance(fault, Answer) \
        else sensed(fault, target, direction)
    if told is not None:
        return told
    if state in ANSWERED:
        return (GOOD,)
    if fault.name in BY_FAULT:
        return BY_FAULT[fault.name]
    if fault.held is Held.LOST:
        return UNANSWERED.get(state, ())
    return (GOOD,)
