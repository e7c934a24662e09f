# SPDX-License-Identifier: GPL-2.0-or-later
"""Task management functions during a fault: allowed ends of functions and of their commands.

RFC 7143 11.5 and 11.6 (SAM-5 clause 7). A function is answered once its commands have ended. A
command that a function has ended has no status for the requesting initiator (RFC 7143 11.5.1), and
TASK ABORTED for any other initiator (SPC-4 7.5.8, TAS). A function that a target does not support
gets a response to that effect.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from inject.fault import Fault
from inject.point import ANSWERED, State
from inject.traits import Response, TargetTraits

FUNCTIONS = ("ABORT_TASK", "ABORT_TASK_SET", "CLEAR_TASK_SET", "LUN_RESET", "TARGET_WARM_RESET",
             "TARGET_COLD_RESET")
"""RFC 7143 11.5.1."""

COMPLETE = Response.COMPLETE
NO_TASK = Response.NO_TASK
NO_LUN = Response.NO_LUN
NOT_SUPPORTED = Response.NOT_SUPPORTED
REJECTED = Response.REJECTED
LOST = "lost"
"""The session ended first."""

ABORTED = ("aborted", "TASK ABORTED")
"""Allowed ends of commands that a function aborts."""

FOR_ALL = frozenset({"CLEAR_TASK_SET", "LUN_RESET", "TARGET_WARM_RESET", "TARGET_COLD_RESET"})
"""Functions that end the commands of every initiator (RFC 7143 4.2.3.2). With TAS zero the other
initiators are not notified (SPC-4 7.5.8): their timers end the commands."""

OTHERS_GRACE = 12.0
"""Seconds beyond the ladder's in which another initiator's timer (4 s) and error handling end such
commands: ABORT TASK, LOGICAL UNIT RESET, TARGET RESET and a new session, 2 s each."""

CLAUSES: Mapping[str, str] = {
    "ABORT_TASK": "RFC 7143 11.5.1", "ABORT_TASK_SET": "RFC 7143 4.2.3.2",
    "CLEAR_TASK_SET": "RFC 7143 4.2.3.2", "LUN_RESET": "RFC 7143 4.2.3.2, SAM-5 6.3.3",
    "TARGET_WARM_RESET": "RFC 7143 4.2.3.2, 11.5.1",
    "TARGET_COLD_RESET": "RFC 7143 4.2.3.2, 11.5.1",
}
"""The clause that defines the commands which each function ends."""

REFUSAL = "RFC 7143 11.6.1: a function that is not supported ends no command"
BEHIND = "RFC 7143 11.5.1: a command may be answered before the function"
OTHERS_ENDED = "SAM-5 7.11: a logical unit reset ends the other functions"

RETRIES = 5
"""Number of times that an initiator's midlayer retries a command that others abort (SD_MAX_RETRIES,
drivers/scsi/sd.h) before it reports an error."""


@dataclass(frozen=True)
class FunctionsExpected:
    """Allowed results of functions that are requested at once, during a fault.

    ``responses``: patterns of a response (RFC 7143 11.6.1), or of a function and a response,
    allowed by ``function_clause``. ``outcomes``: of the functions' commands, allowed by ``clause``.
    ``grace``: seconds that commands may take beyond the ladder's bound. ``wears_others_out``:
    whether another initiator's command may be aborted more often than that initiator retries it.
    """

    responses: tuple[str, ...]
    outcomes: tuple[str, ...]
    grace: float
    wears_others_out: bool
    clause: str
    function_clause: str


def expected(
    requested: Sequence[str], traits: TargetTraits, fault: Fault, state: State,
) -> FunctionsExpected:
    """Return the allowed results of functions requested at once, for a command in a state."""
    return FunctionsExpected(
        responses_to_all(traits, requested, fault, state),
        outcomes_beside_all(traits, requested, fault, state),
        max(map(grace, requested)), wears_others_out(requested),
        _joined(_outcome_clauses(traits, requested, fault, state)),
        _joined([*(response_clause(traits, each, state) for each in requested),
                 *([OTHERS_ENDED] if len(set(requested)) > 1 else [])]))


def _joined(clauses: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(clauses))


def _outcome_clauses(
    traits: TargetTraits, requested: Sequence[str], fault: Fault, state: State,
) -> Iterator[str]:
    yield fault.expected(state, traits).clause
    for each in requested:
        yield outcome_clause(traits, each)


def outcome_clause(traits: TargetTraits, function: str) -> str:
    """Return the clause that allows the ends of a function's commands."""
    if function in traits.functions.refused:
        return REFUSAL
    return BEHIND if function in traits.functions.behind_commands else CLAUSES[function]


def response_clause(traits: TargetTraits, function: str, state: State) -> str:
    """Return the clause that allows a function's responses, for a command in a state."""
    if function in traits.functions.refused:
        return f"RFC 7143 11.6.1: {function} is not supported"
    if function in traits.functions.behind_commands and state not in ANSWERED:
        return f"RFC 7143 11.6.1; {BEHIND}"
    return f"RFC 7143 11.6.1, {CLAUSES[function]}"


def grace(function: str) -> float:
    """Return the seconds beyond the ladder's that commands may take during a function."""
    return OTHERS_GRACE if function in FOR_ALL else 0.0


def responses(
    traits: TargetTraits, function: str, fault: Fault, state: State,
) -> tuple[str, ...]:
    """Return the allowed responses to a function, for a command in a state."""
    refused = traits.functions.refused.get(function) or (
        None if state in ANSWERED else traits.functions.behind_commands.get(function))
    gone = (NO_LUN, REJECTED, LOST) if fault.breaks else ()
    over = fault.breaks or state in ANSWERED
    single = (NO_TASK,) if function == "ABORT_TASK" and over else ()
    cold = (LOST,) if function == "TARGET_COLD_RESET" else ()
    return tuple(dict.fromkeys((refused or COMPLETE, *single, *gone, *cold)))


def wears_others_out(requested: Sequence[str]) -> bool:
    """Return whether another initiator's command may be aborted more often than it is retried."""
    return sum(each in FOR_ALL for each in requested) > RETRIES


def responses_to_all(
    traits: TargetTraits, requested: Sequence[str], fault: Fault, state: State,
) -> tuple[str, ...]:
    """Return the allowed responses to any of several functions that are requested at once.

    A function may find that another one has ended the task (RFC 7143 11.6.1).
    """
    late = (NO_TASK,) if "ABORT_TASK" in requested and len(requested) > 1 else ()
    answers = [answer for each in requested for answer in responses(traits, each, fault, state)]
    terminated = [f"{each} unanswered" for each in requested if each != "LUN_RESET"] \
        if "LUN_RESET" in requested and traits.functions.terminates_others else []
    return tuple(dict.fromkeys((*answers, *late, *terminated)))


def outcomes_beside_all(
    traits: TargetTraits, requested: Sequence[str], fault: Fault, state: State,
) -> tuple[str, ...]:
    """Return the allowed ends of commands that are subject to several functions."""
    return tuple(dict.fromkeys(
        end for each in requested for end in outcomes_beside(traits, each, fault, state)))


def outcomes_beside(
    traits: TargetTraits, function: str, fault: Fault, state: State,
) -> tuple[str, ...]:
    """Return the allowed ends of a function's commands in a state, during a fault.

    A refused function ends no command.
    """
    ended = () if function in {**traits.functions.refused, **traits.functions.behind_commands} \
        else ABORTED
    lost = (LOST,) if fault.breaks or function == "TARGET_COLD_RESET" else ()
    return tuple(dict.fromkeys((*fault.expected(state, traits).outcomes, *ended, *lost)))
