"""The story: a session's commands are held, a function is asked for, the device may be lost."""

from __future__ import annotations

from collections.abc import Sequence

from fixtures.stage import Stage
from fixtures.stimulus import Stimulus
from fixtures.story import Load, break_device, clean_up, drain, start_loads
from fixtures.workload.commands import Command
from fixtures.workload.sessions import FunctionJob, Sessions
from inject.point import ANSWERED
from inject.task_management import COMPLETE
from inject.waiting import until
from results.checkers.outcome import AT_FAULT
from results.errors import TargetFailedError

SESSION = "a"

SEEN = 1.0
"""Seconds in which the backend is told of a function, by targets that tell it."""


def story(stage: Stage) -> None:
    """Tell it."""
    job = stage.plan.functions
    assert job is not None
    bound = stage.ladder.step
    stage.resources.baseline()
    deployment, disk = stage.deploy()
    with stage.traced(disk) as trace:
        stage.phase("baseline")
        loads: list[Load] = list(start_loads(stage, disk, trace))
        stage.phase("hold")
        stage.armed()
        sessions = Sessions(stage.machine, AT_FAULT, deployment.address, disk, stage.recorder)
        loads.append(sessions)
        stage.must(sessions.login(SESSION, bound), f"no login: {sessions.nexus}")

        def issue(commands: Sequence[Command]) -> Sessions:
            sessions.issue(SESSION, commands)
            return sessions

        stimulus = Stimulus(stage, deployment, disk, issue=issue)
        stimulus.arm()
        try:
            if job.order == "second":
                break_device(stage, deployment, loads, lambda: ask(stage, sessions, job))
            else:
                ask(stage, sessions, job)
                see(stage, sessions)
                break_device(stage, deployment, loads)
        finally:
            stimulus.somebody_fetches()
            sessions.wait_settled(stage.ladder.command + stage.patience)
            ended = drain(stage, trace, loads)
        stimulus.settle()
        if not ended:
            raise TargetFailedError("the workload does not end: its I/O does not come back")
        trace.stop()
    clean_up(stage, deployment)
    stage.recover()


def ask(stage: Stage, sessions: Sessions, job: FunctionJob) -> None:
    """Ask for the function."""
    one = sessions.commands[0] if job.function == "ABORT_TASK" else None
    for _ in range(job.storm):
        sessions.manage(SESSION, job.function, one)
    stage.must(sessions.wait_asked(job.storm, stage.ladder.step), "the function was not asked for")


def see(stage: Stage, sessions: Sessions) -> None:
    """Wait until the target is seen to have the function, where it shows that.

    While its backend holds a command, nothing that was to end it is complete: what the backend
    writes later would come after the abort (SAM-6 7.1).
    """
    history = stage.recorder.history
    until(lambda: bool(sessions.responses or history().last("backend", "tmr")), SEEN)
    complete = [each for each in sessions.responses.values() if each["response"] == COMPLETE]
    if stage.plan.point.state not in ANSWERED:
        stage.expect("no function is complete while its command is held", not complete,
                     str(complete))
