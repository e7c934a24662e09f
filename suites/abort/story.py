"""The story: a session's commands are held, a function is asked for, the device may be lost."""

from __future__ import annotations

from collections.abc import Sequence

from fixtures.stage import Stage
from fixtures.stimulus import Stimulus
from fixtures.story import Load, break_device, clean_up, drain, start_loads
from fixtures.workload.commands import Command
from fixtures.workload.sessions import FunctionJob, Sessions
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
            if job.order != "second":
                ask(stage, sessions, job)
            break_device(stage, deployment, loads, (
                lambda: ask(stage, sessions, job)) if job.order == "second" else lambda: None)
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
    """Ask for the function; wait until the target is seen to have it, where it shows that."""
    one = sessions.commands[0] if job.function == "ABORT_TASK" else None
    for _ in range(job.storm):
        sessions.manage(SESSION, job.function, one)
    stage.must(sessions.wait_asked(job.storm, stage.ladder.step), "the function was not asked for")
    history = stage.recorder.history
    until(lambda: bool(sessions.responses or history().last("backend", "tmr")), SEEN)
