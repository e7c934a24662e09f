"""The story: a backend holds commands of two initiators, one does something, a fault may strike.

What the other one sees is asked for by commands of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial

from fixtures.initiator.disk import Disk
from fixtures.stage import Stage
from fixtures.story import Beside, nothing, tell
from fixtures.workload.commands import Command
from fixtures.workload.sessions import NexusJob, Sessions
from inject import nexus
from inject.nexus import CHECK_CONDITION, DROP, LOGOUT, OUT_OF_RANGE, REINSTATE, UNANSWERED, Ends
from inject.outcomes import GOOD
from inject.task_management import FUNCTIONS, LOST
from inject.waiting import until
from results.checkers.outcome import AT_FAULT, outcome
from suites.abort.story import expect_none_complete
from targets.target import Deployment

FIRST, SECOND, NEXT = "a", "b", "c"
"""Sessions: of the initiator that does something, of the other, and the first one's next."""

INITIATOR = "iqn.2026-11.faults.stf:"
ISID = 0x5A5A5A5A01
"""Of the first initiator's port (RFC 7143 11.12.5)."""

SEEN = 1.0
"""Seconds in which a target is seen to have done what it must not yet do."""

READY = Command("TEST UNIT READY", "000000000000", allowed=(GOOD,))
BEYOND = Command("READ(16) beyond the end", "88000000000fffffffff000000010000", "read", 512,
                 allowed=(OUT_OF_RANGE,))

OVER = Command(f"{NEXT}: WRITE(10) of the same blocks", "2a000000400000002000", "write", 16 << 10,
               "a5")
STILL_OVER = Command(f"{NEXT}: VERIFY(10) of what it wrote", "2f020000400000002000", "write",
                     16 << 10, "a5", allowed=(GOOD,))
"""What the next session writes where the first one's command was held, and that it stays (BYTCHK
01b: else MISCOMPARE)."""


def story(stage: Stage) -> None:
    """Tell it."""
    tell(stage, partial(prepare, stage))


def prepare(stage: Stage, deployment: Deployment, disk: Disk) -> Beside:
    """Log both in; return who issues the commands, and when what is done."""
    job = stage.plan.nexus
    assert job is not None
    sessions = Sessions(stage.machine, AT_FAULT, deployment.address, disk, stage.recorder)
    for name in (FIRST, SECOND):
        stage.must(log_in(sessions, name, stage.ladder.step), f"no login: {sessions.nexus}")
    ends = nexus.ends(stage.lab.target.name, job.deed, stage.plan.device.options, stage.fault,
                      stage.plan.point.state)
    issue = partial(issue_for_both, sessions, job, ends)
    deed = partial(do, stage, sessions, job.deed, ends)
    settle = partial(look_after, stage, sessions, job, ends)
    if job.order == "second":
        return Beside(issue, meanwhile=deed, settle=settle)

    def before() -> None:
        deed()
        see(stage, sessions, job)

    return Beside(issue, before, nothing, settle)


def log_in(sessions: Sessions, name: str, deadline: float) -> bool:
    """Log an initiator in, each with a name and a port of its own."""
    return sessions.login(name, deadline, **port(name))


def port(name: str) -> dict[str, str | int]:
    """Return an initiator port; the first one's next session is of the same."""
    return {"initiator": f"{INITIATOR}{FIRST if name == NEXT else name}", "isid": ISID}


def issue_for_both(
    sessions: Sessions, job: NexusJob, ends: Ends, commands: Sequence[Command],
) -> Sessions:
    """Issue the first initiator's, then the other's."""
    for name, some, allowed in ((FIRST, commands[:job.own], ends.own),
                                (SECOND, commands[job.own:], ends.other)):
        sessions.issue(name, [replace(each, name=f"{name}: {each.name}", allowed=allowed)
                              for each in some])
    return sessions


def do(stage: Stage, sessions: Sessions, deed: str, ends: Ends) -> None:
    """Have the first initiator do it, and do not wait for what comes of it."""
    bound = stage.ladder.step
    if deed == LOGOUT:
        sessions.begin_logout(FIRST, bound)
    elif deed == DROP:
        sessions.drop(FIRST)
        stage.must(sessions.wait_nexus(FIRST, "dropped", bound), "the connection was not closed")
    elif deed == REINSTATE:
        sessions.begin_login(NEXT, bound, **port(NEXT))
        sessions.issue(NEXT, [replace(OVER, allowed=ends.other)])
    elif deed == CHECK_CONDITION:
        sessions.issue(FIRST, [replace(BEYOND, name=f"{FIRST}: {BEYOND.name}")])
    else:
        one = sessions.commands[0] if deed == "ABORT_TASK" else None
        sessions.manage(FIRST, deed, one)
        stage.must(sessions.wait_asked(1, bound), "the function was not asked for")


def see(stage: Stage, sessions: Sessions, job: NexusJob) -> None:
    """State that nothing is over that waits for what the backend holds.

    What the backend writes later would come after the abort (SAM-6 7.1), and over what the new
    session has written (RFC 7143 6.3.5: the old one's tasks end with it). The login itself may
    end: SCST answers TEST UNIT READY then, and has other commands wait (iscsi.c). A CHECK CONDITION
    waits for nothing: what QErr has it end is held still.
    """
    deed = job.deed
    if deed == REINSTATE:
        done = partial(all_answered, sessions, NEXT)
        until(done, SEEN)
        stage.expect("a new session writes nothing while a command of the old one is held",
                     not done(), str(dict(sessions.nexus)))
    elif deed == CHECK_CONDITION:
        stage.must(until(lambda: len(sessions.issued.get(FIRST, [])) > job.own
                         and sessions.issued[FIRST][-1] in sessions.answers, stage.ladder.step),
                   "the command that is to end with CHECK CONDITION has not ended")
    elif deed in FUNCTIONS:
        until(lambda: bool(sessions.responses), SEEN)
        expect_none_complete(stage, sessions)


def all_answered(sessions: Sessions, name: str) -> bool:
    """Tell whether a session has issued commands, and all have ended."""
    issued = sessions.issued.get(name, [])
    return bool(issued) and sessions.answers.keys() >= set(issued)


def look_after(stage: Stage, sessions: Sessions, job: NexusJob, ends: Ends) -> None:
    """See what was done end, and what others see of it; log all out."""
    bound = stage.ladder.command
    if job.deed == LOGOUT:
        stage.expect("a logout is answered", sessions.wait_nexus(FIRST, "logged out", bound)
                     and sessions.nexus[FIRST]["error"] is None, str(sessions.nexus.get(FIRST)))
    elif job.deed == REINSTATE:
        there = sessions.wait_nexus(NEXT, "logged in", bound) or stage.fault.breaks
        stage.expect("a session is reinstated", there, str(sessions.nexus.get(NEXT)))
        stage.expect("the new session's command ends",
                     until(partial(all_answered, sessions, NEXT), bound))
        if not stage.fault.breaks:
            sessions.issue(NEXT, [STILL_OVER])
    if UNANSWERED not in ends.other:
        sessions.wait_answered(SECOND, bound)
    if job.silent:
        sessions.wait_responses(bound)
    if not stage.fault.breaks:
        ask_what_others_see(stage, sessions, ends)
    sessions.wait_responses(bound)
    if UNANSWERED not in ends.own:
        sessions.wait_answered(FIRST, bound)
    if not stage.fault.breaks and job.deed in (LOGOUT, DROP):
        stage.expect("the initiator whose session ended can log in again",
                     log_in(sessions, NEXT, bound), str(sessions.nexus.get(NEXT)))
    for name in (FIRST, NEXT, SECOND):
        sessions.begin_logout(name, bound)
    sessions.wait_settled(bound)


def ask_what_others_see(stage: Stage, sessions: Sessions, ends: Ends) -> None:
    """Have the other initiator ask, and once the function has its response ask again, for the unit
    attention that it has to be told (SAM-6 5.14): once, by one of them.

    The first also acknowledges what it was told before.
    """
    bound = stage.ladder.command
    told = [ask(stage, sessions, SECOND, (GOOD, *ends.attention))]
    sessions.wait_responses(bound)
    told += [ask(stage, sessions, SECOND, (GOOD, *ends.attention)) for _ in range(2)]
    if ends.attention == (LOST,):
        stage.expect("the other initiator's session ends", told[-1] == LOST, str(told))
        return
    wanted = [each for each in ends.attention if each != GOOD]
    heard = sum(fnmatchcase(each, pattern) for each in told for pattern in wanted)
    stage.expect("the other initiator hears of it by one unit attention" if wanted else
                 "the other initiator hears of nothing", heard == bool(wanted), str(told))


def ask(stage: Stage, sessions: Sessions, name: str, allowed: tuple[str, ...]) -> str:
    """Have an initiator issue TEST UNIT READY; return how that ended, in words."""
    bound, before = stage.ladder.command, len(sessions.issued.get(name, []))
    sessions.issue(name, [replace(READY, name=f"{name}: TEST UNIT READY", allowed=allowed)])
    stage.must(until(lambda: len(sessions.issued.get(name, [])) > before, bound),
               "nothing was asked for")
    number = sessions.issued[name][-1]
    if not until(lambda: number in sessions.answers, bound):
        return "nothing"
    return outcome(sessions.answers[number])
