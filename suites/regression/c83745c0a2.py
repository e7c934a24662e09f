"""83745c0a2 (2026): scst_user: Fix infinite cleanup loop caused by stale SGV pool reference.

What was broken: scst_user's cleanup thread flushed the device's buffer pools only before it
unjammed the commands that the backend had left. A command that ended by being unjammed put its
buffer back into the pool, and the buffer's own reference kept the command in the device's table
until somebody flushed again. As a rule the next pass did; not when another device that shares
the pool had taken the buffer meanwhile. Then the thread went round for ever, two million times a
second, and the release of the device waited for it in D state.

What is told: two devices of one backend share a pool. A WRITE to the first is held in EXEC and
its device closed; the moment it has failed, a WRITE of the same size goes to the second, and is
held. What is asserted: the first device goes in bounded time all the same, with less than
``ITERATIONS_MAX`` iterations of the cleanup thread.
"""

from __future__ import annotations

from fixtures.scenario import Plan
from fixtures.stage import Stage
from inject.point import Point
from suites.regression.flushes import Flushes
from suites.regression.telling import (
    BIG,
    Chain,
    hold_write,
    must_come,
    on_stage,
    registered,
    wait_held,
)
from targets.target import Deployment, Device, Transport

POOL: dict[str, str | int] = {"sgv_shared": 1, "sgv_name": "stf", "on_free_cmd_type": "IGNORE",
                              "memory_reuse_type": "ALL"}
PAIR = Device(options=POOL, siblings=(Device("stf1", options=POOL),))

PLAN = Plan("scst", "backend-close", Transport.LOOPBACK, device=PAIR, workload=None,
            point=Point(count=1), variant="83745c0a2", story=f"{__name__}:story")

ITERATIONS_MAX = 10_000
"""What the workaround before the fix took for endless, and panicked (the commit's message). A
healthy teardown makes single digits."""


def story(stage: Stage) -> None:
    """Tell it."""
    with on_stage(stage) as (deployment, (first, second), _):
        chain = Chain(stage, [(first, BIG), (second, BIG)])
        deployment.backend.call("flush_cache", deadline=stage.ladder.step)
        for device in stage.plan.device.family:
            hold_write(stage, deployment, device.name)
        chain.begin()
        wait_held(stage, deployment, 1)
        flushes = Flushes(stage.machine)
        try:
            close_first(stage, deployment)
        finally:
            count(stage, flushes)
        flushes.stop()  # not while the thread spins: it waits for a grace period
        deployment.backend.release(stage.ladder.step)
        errors = chain.wait(stage.ladder.command)
        stage.expect("the write to the other device is carried out", errors[1] is None,
                     str(errors[1]))


def count(stage: Stage, flushes: Flushes) -> None:
    """See how often the cleanup thread went round."""
    iterations = flushes.iterations()
    stage.expect(f"the cleanup thread makes at most {ITERATIONS_MAX} iterations",
                 iterations <= ITERATIONS_MAX, f"{iterations} or more")


def close_first(stage: Stage, deployment: Deployment) -> None:
    """Close the first device, and wait until the kernel has let go of it."""
    before = registered(stage)
    stage.phase("fault")
    stage.fired()
    with stage.operation("teardown"):
        deployment.backend.call(
            "close", deadline=stage.ladder.step, device=stage.plan.device.name)
        stage.phase("teardown")
        wait_held(stage, deployment, 2)
        must_come(stage, lambda: registered(stage) < before, stage.ladder.teardown,
                  "the kernel did not let go of the device that was closed")
    stage.undone()
