"""2c5c12c01 (2023): scst_lib: Enable scst_sync_ext_block_dev() to handle signals.

What was broken: who blocked a device ("1" to its attribute ``block``) waited until the commands in
flight had ended, without heeding signals: with a backend that answered none, the process could
not be ended. Since then a signal ends the wait, and what the wait stands on is freed by whoever
comes last.

What is told: while a WRITE is held in EXEC, a process blocks the device and is sent SIGTERM. What
is asserted: it ends in time; the WRITE, released, ends well; and the device, unblocked, goes on
working.
"""

from __future__ import annotations

import signal

from fixtures.scenario import Plan
from fixtures.stage import Stage
from inject.point import Point
from suites.regression.telling import (
    PAGE,
    Chain,
    hold_write,
    in_the_open,
    must_come,
    wait_held,
    write_all,
)
from targets.machine import Process
from targets.scst.sysfs import DEVICES, write
from targets.target import Transport

PLAN = Plan("scst", "release", Transport.LOOPBACK, workload=None, point=Point(count=1),
            variant="2c5c12c01", story=f"{__name__}:story")


def story(stage: Stage) -> None:
    """Tell it."""
    attribute = f"{DEVICES}/{stage.plan.device.name}/block"
    with in_the_open(stage) as (deployment, (disk,), _):
        chain = Chain(stage, [(disk, PAGE)])
        hold_write(stage, deployment, stage.plan.device.name)
        chain.begin()
        wait_held(stage, deployment, 1)
        blocker = block(stage, attribute)
        stage.phase("fault")
        stage.fired()
        blocker.signal(signal.SIGTERM)
        must_come(stage, lambda: blocker.status is not None, stage.ladder.command,
                  "a process that blocks the device did not heed SIGTERM")
        deployment.backend.release(stage.ladder.step)
        errors = chain.wait(stage.ladder.command)
        stage.expect("the write that was waited for ends well", not any(errors), str(errors))
        write(stage.machine, attribute, "0", stage.ladder.step)
        write_all(stage, (disk, PAGE))


def block(stage: Stage, attribute: str) -> Process:
    """Begin to block the device; return who waits for it."""
    machine = stage.machine
    blocker = machine.spawn("blocker", argv=["sh", "-c", f"echo 1 > {attribute}"])
    must_come(stage, lambda: machine.read(attribute).split() == ["1", "1"], stage.ladder.step,
              "the device was not being blocked")
    return blocker
