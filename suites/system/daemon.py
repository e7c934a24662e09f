"""The story: a target's daemon does not run; I/O goes on or does not, and nobody logs in."""

from __future__ import annotations

from functools import partial

from fixtures.initiator.disk import Disk
from fixtures.initiator.raw import obedient
from fixtures.program import Program
from fixtures.stage import Stage
from fixtures.story import Beside, tell
from fixtures.workload.pdus import LOGIN
from inject.daemon import DAEMONS, WITHOUT, Without
from targets.target import Deployment

KNOCKS = 1.0
"""Seconds for which a login is seen not to be taken."""

LASTS = {fault.name: fault.seconds for fault in DAEMONS}


def story(stage: Stage) -> None:
    """Tell it."""
    tell(stage, partial(prepare, stage))


def prepare(stage: Stage, deployment: Deployment, _disk: Disk) -> Beside:
    """Return what is looked at while the daemon does not run, and once it does again."""
    knocking: list[Program] = []

    def meanwhile() -> None:
        look(stage, deployment)
        program = knock(stage, deployment)
        knocking.append(program)
        stage.expect("nobody logs in while the daemon does not run",
                     not let_in(program, KNOCKS))

    def settle() -> None:
        waited = [enter(stage, program) for program in knocking]
        stage.expect("who logs in when the daemon runs again is let in",
                     any(waited) or enter(stage, knock(stage, deployment)))

    return Beside(meanwhile=meanwhile, settle=settle)


def knock(stage: Stage, deployment: Deployment) -> Program:
    """Begin to log in."""
    return obedient.begin(stage, deployment.address)


def let_in(program: Program, deadline: float) -> bool:
    """Tell whether a login is taken in time."""
    return program.wait_told("ready", deadline)


def enter(stage: Stage, program: Program) -> bool:
    """Tell whether a login is taken, and end its session."""
    taken = let_in(program, LOGIN)
    if program.running:
        program.process.signal(9)
        program.process.wait(stage.ladder.step)
    return taken


def look(stage: Stage, deployment: Deployment) -> None:
    """State what is left of the sessions there are, as this fault leaves it."""
    without = WITHOUT[stage.fault.name]
    if without is Without.GONE:
        stage.expect("the target has gone with its daemon", not deployment.reachable())
        return
    since = stage.machine.now() - LASTS[stage.fault.name] / 2
    ended = sum(event.time >= since and event.data["error"] is None
                for event in stage.recorder.history().select("block", "complete"))
    stage.expect(f"while the daemon does not run I/O {without}",
                 (ended > 0) == (without is Without.GOES_ON),
                 f"{ended} I/Os ended in the latter half of it")
