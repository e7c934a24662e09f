"""784044307 (2009): a race that can hang when a handler with several devices is killed under load.

What was broken: a device was released by the process that closed it, and the release waited, with
all of SCST suspended, until no command was left anywhere. A process that is killed closes its
descriptors one after another: the release of the first device waited for the commands of the
second, which nobody answered any more and whose descriptor was not closed before the first
release had ended. The kernel thread scst_usr_released has done it since.

What is told: a backend with two devices is killed while both have WRITEs held in EXEC. What is
asserted: all of them end in time, both devices go in bounded time, and so does the process.
"""

from __future__ import annotations

from fixtures.scenario import Plan
from fixtures.stage import Stage
from inject.point import Point
from suites.regression.telling import (
    PAGE,
    Chain,
    hold_write,
    must_come,
    on_stage,
    registered,
    wait_held,
)
from targets.target import Deployment, Device, Transport

PLAN = Plan("scst", "backend-kill", Transport.LOOPBACK, device=Device(siblings=(Device("stf1"),)),
            workload=None, point=Point(count=2), variant="784044307", story=f"{__name__}:story")


def story(stage: Stage) -> None:
    """Tell it."""
    with on_stage(stage) as (deployment, disks, _):
        chains = [Chain(stage, [(disk, PAGE)]) for disk in disks]
        for device in stage.plan.device.family:
            hold_write(stage, deployment, device.name)
        for chain in chains:
            chain.begin()
        wait_held(stage, deployment, len(chains))
        kill(stage, deployment)
        for chain in chains:
            chain.wait(stage.ladder.command)


def kill(stage: Stage, deployment: Deployment) -> None:
    """Kill the backend, and wait until the kernel has let go of its devices."""
    stage.phase("fault")
    stage.fired()
    with stage.operation("teardown"):
        deployment.backend.kill()
        stage.phase("teardown")
        must_come(stage, lambda: registered(stage) == 0, stage.ladder.teardown,
                  "the kernel did not let go of the devices")
        deployment.backend.process.wait(stage.ladder.step)
    stage.undone()
