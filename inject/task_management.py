"""Task management functions beside a fault: how they, and the commands they are for, may end.

SAM-6 clause 7, RFC 7143 11.5 and 11.6. A function is answered once what it has to end has ended; a
command that it ended has no status of its own for the initiator that asked (RFC 7143 4.2.3.3), and
TASK ABORTED for others. What a target does not support it says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from inject.fault import Fault, Held
from inject.outcomes import allowed
from inject.point import ANSWERED, State

FUNCTIONS = ("ABORT_TASK", "ABORT_TASK_SET", "CLEAR_TASK_SET", "LUN_RESET", "TARGET_WARM_RESET",
             "TARGET_COLD_RESET")
"""RFC 7143 11.5.1."""

COMPLETE = "FUNC_COMPLETE"
NO_TASK = "TASK_DOES_NOT_EXIST"
NO_LUN = "LUN_DOES_NOT_EXIST"
NOT_SUPPORTED = "TMF_NOT_SUPPORTED"
REJECTED = "FUNC_REJECTED"
LOST = "lost"
"""The session ended first."""

REFUSED: Mapping[str, Mapping[str, str]] = {
    "lio": {"ABORT_TASK_SET": NOT_SUPPORTED, "CLEAR_TASK_SET": NOT_SUPPORTED,
            "TARGET_WARM_RESET": REJECTED, "TARGET_COLD_RESET": REJECTED},
    "tgt": {"CLEAR_TASK_SET": NOT_SUPPORTED, "TARGET_WARM_RESET": NOT_SUPPORTED,
            "TARGET_COLD_RESET": NOT_SUPPORTED},
}
"""What targets do not do, and say so, as RFC 7143 11.6.1 lets them: LIO's target_tmr_work
(target_core_transport.c) and iscsit_tmr_task_warm_reset (iscsi_target_tmr.c, for initiators that
no ACL names), tgt's iscsi_tm_execute (usr/iscsi/iscsid.c)."""

BEHIND_THE_TASKS: Mapping[str, Mapping[str, str]] = {
    "tgt": {"ABORT_TASK": NO_TASK, "ABORT_TASK_SET": COMPLETE, "LUN_RESET": COMPLETE}}
"""By target: functions that end no command that its backing store has, but wait until each has
ended by itself, with its own status; and how they are answered then (SAM-6 7.2 lets a command be
completed first). tgt: abort_cmd and target_cmd_done, usr/target.c."""

BACKEND_GONE: Mapping[str, tuple[str, ...]] = {
    "lio": ("CHECK CONDITION 02/08/00",), "tgt": ("CHECK CONDITION 03/11/00",)}
"""By target: how a command ends that its backend has left. LIO's LOGICAL UNIT COMMUNICATION FAILURE
is TCMU's (tcmu_check_expired_ring_cmd, target_core_user.c); tgt's UNRECOVERED READ ERROR, of WRITEs
too, that of a disk which errs (set_medium_error, usr/bs_rdwr.c)."""

ABORTED = ("aborted", "TASK ABORTED")
"""How commands end that a function was for."""

FOR_ALL = frozenset({"CLEAR_TASK_SET", "LUN_RESET", "TARGET_WARM_RESET", "TARGET_COLD_RESET"})
"""Functions that end the commands of every initiator (SAM-6 7.4 to 7.8). With TAS zero others are
not told (SPC-6 7.5.9): their commands are left to their timers."""

OTHERS_SECONDS = 12.0
"""Seconds beyond the ladder's in which another initiator's timer (4 s) and error handling end such
commands: ABORT TASK, LOGICAL UNIT RESET, TARGET RESET and a new session, 2 s each."""


def patience(function: str) -> float:
    """Return how many seconds more than the ladder's commands may take beside a function."""
    return OTHERS_SECONDS if function in FOR_ALL else 0.0


def responses(target: str, function: str, fault: Fault, state: State) -> Sequence[str]:
    """Return how a function may be answered that is for a command in a state."""
    refused = REFUSED.get(target, {}).get(function) or (
        None if state in ANSWERED else BEHIND_THE_TASKS.get(target, {}).get(function))
    gone = (NO_LUN, REJECTED, LOST) if fault.breaks else ()
    over = fault.breaks or state in ANSWERED
    single = (NO_TASK,) if function == "ABORT_TASK" and over else ()
    cold = (LOST,) if function == "TARGET_COLD_RESET" else ()
    return tuple(dict.fromkeys((refused or COMPLETE, *single, *gone, *cold)))


TERMINATES_OTHERS = frozenset({"lio"})
"""Targets whose LOGICAL UNIT RESET terminates the other functions in progress, without an answer,
as SAM-6 6.3.3 has it (LIO: core_tmr_drain_tmr_list, target_core_tmr.c); others let them end."""

RETRIES = 5
"""How often an initiator's midlayer tries a command again that others abort (SD_MAX_RETRIES,
drivers/scsi/sd.h), before it reports an error."""


def wears_others_out(asked: Sequence[str]) -> bool:
    """Tell whether functions may abort another initiator's command more often than it is tried."""
    return sum(each in FOR_ALL for each in asked) > RETRIES


def to_all(target: str, asked: Sequence[str], fault: Fault, state: State) -> Sequence[str]:
    """Return how any of several functions may be answered that are asked for at once. One may find
    that another has ended the task (RFC 7143 11.6.1)."""
    late = (NO_TASK,) if "ABORT_TASK" in asked and len(asked) > 1 else ()
    answers = [answer for each in asked for answer in responses(target, each, fault, state)]
    terminated = [f"{each} unanswered" for each in asked if each != "LUN_RESET"] \
        if "LUN_RESET" in asked and target in TERMINATES_OTHERS else []
    return tuple(dict.fromkeys((*answers, *late, *terminated)))


def allowed_beside_all(
    target: str, asked: Sequence[str], fault: Fault, state: State,
) -> Sequence[str]:
    """Return how commands may end that several functions are for."""
    return tuple(dict.fromkeys(
        end for each in asked for end in allowed_beside(target, each, fault, state)))


def allowed_beside(target: str, function: str, fault: Fault, state: State) -> Sequence[str]:
    """Return how commands may end in a state that a function is for, while a fault strikes.

    One that is refused ends nothing.
    """
    own = BACKEND_GONE.get(target, ()) if fault.held is Held.LOST else ()
    ended = () if function in {**REFUSED.get(target, {}), **BEHIND_THE_TASKS.get(target, {})} \
        else ABORTED
    lost = (LOST,) if fault.breaks or function == "TARGET_COLD_RESET" else ()
    return tuple(dict.fromkeys((*allowed(fault, state), *own, *ended, *lost)))
