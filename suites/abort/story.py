"""The story: a session's commands are held, a function is asked for, the device may be lost."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from fixtures.initiator.disk import Disk
from fixtures.stage import Stage
from fixtures.story import Beside, tell
from fixtures.workload.commands import Command
from fixtures.workload.sessions import FunctionJob, Sessions
from inject.point import ANSWERED
from inject.task_management import COMPLETE
from inject.waiting import until
from results.checkers.outcome import AT_FAULT
from targets.target import Deployment

SESSION = "a"

SEEN = 1.0
"""Seconds in which the backend is told of a function, by targets that tell it."""


def story(stage: Stage) -> None:
    """Tell it."""
    tell(stage, partial(prepare, stage))


def prepare(stage: Stage, deployment: Deployment, disk: Disk | None) -> Beside:
    """Log in; return who issues the commands, and when the function is asked for."""
    job = stage.plan.functions
    assert job is not None
    sessions = Sessions(stage.client, AT_FAULT, deployment.address, disk, stage.recorder)
    stage.must(sessions.login(SESSION, stage.ladder.step), f"no login: {sessions.nexus}")

    def issue(commands: Sequence[Command]) -> Sessions:
        sessions.issue(SESSION, commands)
        return sessions

    def settle() -> None:
        # patience is for what others' timers end; this session hears of its own by itself
        sessions.wait_settled(stage.ladder.command)

    asking = partial(ask, stage, sessions, job)
    if job.order == "second":
        return Beside(issue, meanwhile=asking, settle=settle)

    def before() -> None:
        asking()
        see(stage, sessions)

    return Beside(issue, before, settle=settle)


def ask(stage: Stage, sessions: Sessions, job: FunctionJob) -> None:
    """Ask for the function, or for all of a storm."""
    for function in job.asked:
        sessions.manage(SESSION, function,
                        sessions.commands[0] if function == "ABORT_TASK" else None)
    stage.must(sessions.wait_asked(len(job.asked), stage.ladder.step),
               "the function was not asked for")


def see(stage: Stage, sessions: Sessions) -> None:
    """Wait until the target is seen to have the function, where it shows that.

    While its backend holds a command, nothing that was to end it is complete: what the backend
    writes later would come after the abort (SAM-6 7.1).
    """
    history = stage.recorder.history
    until(lambda: bool(sessions.responses or history().last("backend", "tmr")), SEEN)
    if stage.plan.point.state not in ANSWERED:
        expect_none_complete(stage, sessions)


def expect_none_complete(stage: Stage, sessions: Sessions) -> None:
    """State that no function is complete yet: what it is for is held."""
    complete = [each for each in sessions.responses.values() if each["response"] == COMPLETE]
    stage.expect("no function is complete while its command is held", not complete, str(complete))
