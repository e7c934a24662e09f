# SPDX-License-Identifier: GPL-2.0-or-later
"""Two initiators, one of which acts: the allowed ends of both initiators' commands, as data.

An I_T nexus is one initiator's session with the target (RFC 7143 4.4.2). An event that ends a nexus
ends that nexus's commands and no others (SAM-5 6.3.4, I_T nexus loss). Task management functions
may also end commands of other initiators (RFC 7143 4.2.3.2), which are notified by TASK ABORTED or
by a unit attention (SPC-4 7.5.8, TAS).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from inject.fault import Fault
from inject.outcomes import GOOD, RESET_UA, TASK_ABORTED
from inject.point import State
from inject.task_management import BEHIND, LOST
from inject.traits import Options, TargetTraits

LOGOUT = "logout"
REINSTATE = "reinstate"
DROP = "drop"
CHECK_CONDITION = "check-condition"

ENDS_OF_NEXUS = (LOGOUT, REINSTATE, DROP)
"""Close the session (RFC 7143 11.14), log in with its initiator name and ISID (6.3.5), close the
connection without a logout."""

CLEARED = "CHECK CONDITION 06/2f/00"
"""COMMANDS CLEARED BY ANOTHER INITIATOR."""

ABORTED = "aborted"
UNANSWERED = "unanswered"
"""The initiator ended the session with the command in flight."""

OUT_OF_RANGE = "CHECK CONDITION 05/21/00"
"""LOGICAL BLOCK ADDRESS OUT OF RANGE: the end of the first initiator's command where that command
is meant to end with CHECK CONDITION."""

WRITE_PROTECTED = "CHECK CONDITION 07/27/00"
"""Answer of a virtual LUN 0 (LunTraits.virtual_lun_0), a write-protected RAM disk, to a WRITE once
the LUN under test has gone."""


@dataclass(frozen=True)
class Ends:
    """Allowed outcomes when one of two initiators acts.

    ``own``: of the commands of the initiator that acted; ``other``: of the other initiator's
    commands; ``attention``: of the other's next command; ``clause``: the clause that allows them. A
    command that has not ended when its initiator finally logs out is "unanswered".
    """

    own: tuple[str, ...]
    other: tuple[str, ...]
    attention: tuple[str, ...]
    clause: str


SPARED = Ends((ABORTED,), (GOOD,), (GOOD,),
              "RFC 7143 4.2.3.2, 11.5.1: tasks of one I_T nexus only")
GONE = Ends((UNANSWERED,), (GOOD,), (GOOD,), "RFC 7143 11.14.5: its own tasks end with a session")
LEFT = Ends((GOOD, UNANSWERED), (GOOD,), (GOOD,),
            "RFC 7143 11.14: a command that ends before the Logout Response may be answered")
REPLACED = Ends((LOST,), (GOOD,), (GOOD,), "RFC 7143 6.3.5: the old session's tasks end with it")
OF_NEXUS: Mapping[str, Ends] = {
    LOGOUT: LEFT, DROP: GONE, REINSTATE: REPLACED,
    **dict.fromkeys(("ABORT_TASK", "ABORT_TASK_SET", "CLEAR_TASK_SET"), SPARED),
}
"""Actions that end commands of one I_T nexus. CLEAR TASK SET is one of them if each nexus has its
own task set (TST)."""

SEVERED = Ends((ABORTED, LOST), (LOST,), (LOST,),
               "RFC 7143 11.5.1: TARGET COLD RESET ends all sessions with the target")
REFUSES = Ends((GOOD,), (GOOD,), (GOOD,),
               "RFC 7143 11.6.1: a function that is not supported ends no command")


def tas(traits: TargetTraits, options: Options) -> bool:
    """Return whether commands that another initiator ended get TASK ABORTED."""
    return traits.nexus.always_task_aborted or bool(int(options.get("tas", 0)))


def informed(with_status: bool, attention: str, clause: str) -> Ends:
    """Return the ends for an action that ends the commands of all initiators.

    The other initiators get TASK ABORTED (``with_status``), or a unit attention instead.
    """
    if with_status:
        return Ends((ABORTED,), (TASK_ABORTED,), (GOOD,), clause)
    return Ends((ABORTED,), (UNANSWERED,), (attention,), clause)


def ending_nothing(traits: TargetTraits, action: str) -> Ends | None:
    """Return the ends when the target ends no commands for an action; None when it ends some."""
    if action in traits.functions.refused:
        return REFUSES
    if action in traits.functions.behind_commands:
        return replace(REFUSES, attention=(RESET_UA,) if action == "LUN_RESET" else (GOOD,),
                       clause=BEHIND)
    return None


def alone(traits: TargetTraits, action: str, options: Options) -> Ends:
    """Return the ends of all commands without a fault."""
    with_status, single = tas(traits, options), int(options.get("tst", 0)) == 0
    if nothing := ending_nothing(traits, action):
        return nothing
    if action == CHECK_CONDITION:
        found = checked(int(options.get("qerr", 0)), with_status, single)
        return replace(found, other=tuple(dict.fromkeys(
            (*found.other, *((GOOD,) if traits.nexus.aborted_may_be_good else ())))))
    if action == "CLEAR_TASK_SET" and single:
        return informed(with_status, CLEARED, "RFC 7143 4.2.3.2: tasks of every I_T nexus")
    if action in OF_NEXUS:
        return OF_NEXUS[action]
    if action == "TARGET_COLD_RESET":
        return SEVERED
    clause = "RFC 7143 4.2.3.2, SAM-5 6.3.3: tasks of every I_T nexus, and a unit attention"
    return replace(informed(with_status, RESET_UA, clause), attention=(RESET_UA,))


def checked(qerr: int, with_status: bool, single: bool) -> Ends:
    """Return the ends of all commands when one command ends with CHECK CONDITION."""
    if qerr == 0:
        return Ends((GOOD,), (GOOD,), (GOOD,), "SPC-4 7.5.8: QErr 00b, nothing else ends")
    own = (UNANSWERED,)
    if qerr == 3 or not single:
        return Ends(own, (GOOD,), (GOOD,), "SPC-4 7.5.8: QErr, of this I_T nexus")
    ends = informed(with_status, CLEARED, "SPC-4 7.5.8: QErr 01b, TAS")
    return Ends(own, ends.other, ends.attention, ends.clause)


def ends(traits: TargetTraits, action: str, options: Options, fault: Fault, state: State) -> Ends:
    """Return the ends of all commands during a fault.

    The outcome of the next command is not checked if the fault breaks something.
    """
    found = alone(traits, action, options)
    if not fault.breaks:
        return found
    struck = fault.expected(state, traits)
    own = (WRITE_PROTECTED,) if traits.luns.virtual_lun_0 else ()
    # A command of the next session may come when the backend has gone, and find no logical unit.
    more = (*struck.outcomes, *fault.expected(State.QUEUED, traits).outcomes, *own, LOST, ABORTED,
            UNANSWERED)
    return Ends(tuple(dict.fromkeys((*found.own, *more))),
                tuple(dict.fromkeys((*found.other, *more))), (),
                f"{found.clause}; {struck.clause}")
