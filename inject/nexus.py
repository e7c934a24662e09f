"""Two initiators, one of which does something: how the commands of both may end, as data.

An I_T nexus is one initiator's session with the target (RFC 7143 4.4.4). What ends it ends its
commands, and nobody else's (SAM-6 6.3.4, I_T nexus loss); task management functions may end those
of others too (SAM-6 7.2 to 7.8), who are told by TASK ABORTED or by a unit attention (SPC-6 7.5.11,
TAS).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from inject.fault import Fault
from inject.outcomes import GOOD, RESET_UA, TASK_ABORTED, allowed
from inject.point import State
from inject.task_management import BACKEND_GONE, BEHIND_THE_TASKS, LOST, REFUSED

LOGOUT = "logout"
REINSTATE = "reinstate"
DROP = "drop"
CHECK_CONDITION = "check-condition"

ENDS_OF_NEXUS = (LOGOUT, REINSTATE, DROP)
"""Close the session (RFC 7143 11.14), log in with its initiator name and ISID (6.3.5), hang up."""

CLEARED = "CHECK CONDITION 06/2f/00"
"""COMMANDS CLEARED BY ANOTHER INITIATOR."""

ABORTED = "aborted"
UNANSWERED = "unanswered"
"""The initiator ended the session with the command in flight."""

OUT_OF_RANGE = "CHECK CONDITION 05/21/00"
"""LOGICAL BLOCK ADDRESS OUT OF RANGE: what the first initiator's command ends with that is to end
with CHECK CONDITION."""

WRITE_PROTECTED = "CHECK CONDITION 07/27/00"
"""What LIO says to a WRITE of LUN 0 once that has gone: it has one of its own then, a RAM disk that
is write protected (core_tpg_register, transport_lookup_cmd_lun)."""

Options = Mapping[str, str | int]


@dataclass(frozen=True)
class Ends:
    """How it may end: the commands of the initiator that did it (``own``) and those of the other;
    ``attention``: the other's next command; ``clause``: by which that is so. A command that has not
    ended when its initiator logs out at last is "unanswered"."""

    own: tuple[str, ...]
    other: tuple[str, ...]
    attention: tuple[str, ...]
    clause: str


SPARED = Ends((ABORTED,), (GOOD,), (GOOD,), "SAM-6 7.2, 7.3: of one I_T nexus only")
GONE = Ends((UNANSWERED,), (GOOD,), (GOOD,), "RFC 7143 6.5.3: its own tasks end with a session")
LEFT = Ends((GOOD, UNANSWERED), (GOOD,), (GOOD,),
            "RFC 7143 11.14: what ends before the Logout Response may be answered")
REPLACED = Ends((LOST,), (GOOD,), (GOOD,), "RFC 7143 6.3.5: the old session's tasks end with it")
OF_NEXUS: Mapping[str, Ends] = {
    LOGOUT: LEFT, DROP: GONE, REINSTATE: REPLACED,
    **dict.fromkeys(("ABORT_TASK", "ABORT_TASK_SET", "CLEAR_TASK_SET"), SPARED),
}
"""What ends commands of one I_T nexus: CLEAR TASK SET where each has its own task set (TST)."""

SEVERED = Ends((ABORTED, LOST), (LOST,), (LOST,),
               "RFC 7143 11.5.1: TARGET COLD RESET ends all sessions with the target")
OWN_END: Mapping[str, tuple[str, ...]] = {"scst": (GOOD,)}
"""How a command of another's may end that QErr aborts and that is executed all the same: SCST gives
it the status it came to ("It's completed and it's OK to return its result",
scst_xmit_process_aborted_cmd, scst_lib.c)."""

REFUSES = Ends((GOOD,), (GOOD,), (GOOD,), "RFC 7143 11.6.1: what is not supported ends nothing")


def tas(target: str, options: Options) -> bool:
    """Tell whether commands that another initiator ended get TASK ABORTED.

    LIO's do: DA_EMULATE_TAS is 1 (target_core_base.h), and no attribute of a TCMU backstore changes
    it (passthrough_attrib_attrs, target_core_configfs.c).
    """
    return target == "lio" or bool(int(options.get("tas", 0)))


def told(with_status: bool, attention: str, clause: str) -> Ends:
    """Return: everybody's commands end; others have a status, or a unit attention instead."""
    if with_status:
        return Ends((ABORTED,), (TASK_ABORTED,), (GOOD,), clause)
    return Ends((ABORTED,), (UNANSWERED,), (attention,), clause)


def ending_nothing(target: str, deed: str) -> Ends | None:
    """Return how all ends when a target does not end commands for a deed; None when it does."""
    if deed in REFUSED.get(target, {}):
        return REFUSES
    if deed in BEHIND_THE_TASKS.get(target, {}):
        return replace(REFUSES, attention=(RESET_UA,) if deed == "LUN_RESET" else (GOOD,),
                       clause="SAM-6 7.2: a command may be completed first")
    return None


def alone(target: str, deed: str, options: Options) -> Ends:
    """Return how all ends when nothing else happens."""
    with_status, single = tas(target, options), int(options.get("tst", 0)) == 0
    if nothing := ending_nothing(target, deed):
        return nothing
    if deed == CHECK_CONDITION:
        found = checked(int(options.get("qerr", 0)), with_status, single)
        return replace(found, other=tuple(dict.fromkeys(
            (*found.other, *OWN_END.get(target, ())))))
    if deed == "CLEAR_TASK_SET" and single:
        return told(with_status, CLEARED, "SAM-6 7.4")
    if deed in OF_NEXUS:
        return OF_NEXUS[deed]
    if deed == "TARGET_COLD_RESET":
        return SEVERED
    return replace(told(with_status, RESET_UA, "SAM-6 6.3.3, 7.6"), attention=(RESET_UA,))


def checked(qerr: int, with_status: bool, single: bool) -> Ends:
    """Return how all ends when one command ends with CHECK CONDITION."""
    if qerr == 0:
        return Ends((GOOD,), (GOOD,), (GOOD,), "SPC-6 7.5.11: QErr 00b, nothing else ends")
    own = (UNANSWERED,)
    if qerr == 3 or not single:
        return Ends(own, (GOOD,), (GOOD,), "SPC-6 7.5.11: QErr, of this I_T nexus")
    ends = told(with_status, CLEARED, "SPC-6 7.5.11: QErr 01b, TAS")
    return Ends(own, ends.other, ends.attention, ends.clause)


def ends(target: str, deed: str, options: Options, fault: Fault, state: State) -> Ends:
    """Return how all may end while a fault strikes; after one that breaks nobody's next command is
    asked for."""
    found = alone(target, deed, options)
    if not fault.breaks:
        return found
    own = (*BACKEND_GONE.get(target, ()), *((WRITE_PROTECTED,) if target == "lio" else ()))
    # A command of the next session's may come when the backend has gone, and find nobody.
    more = (*allowed(fault, state), *allowed(fault, State.QUEUED), *own, LOST, ABORTED, UNANSWERED)
    return Ends(tuple(dict.fromkeys((*found.own, *more))),
                tuple(dict.fromkeys((*found.other, *more))), (), found.clause)
