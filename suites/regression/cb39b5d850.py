"""b39b5d850 (2014): Fix race between scst_resume_activity() and scst_init_thread().

What was broken: commands that come in while SCST is suspended wait in a list that the thread
scst_initd looks through when activity is resumed. Resuming could wake it up in the moment between
its look at the list and its going to sleep: the commands then waited until the next one came.

What is told: SCST is suspended and resumed ``ROUNDS`` times, in each of which a WRITE is issued
while it is suspended, and nothing else. What is asserted: each ends in time. It is a race whose
window is a few instructions long: a pass says that it was not met.
"""

from __future__ import annotations

from fixtures.scenario import Plan
from fixtures.stage import Stage
from inject.point import NOTHING_HELD
from suites.regression.telling import PAGE, Chain, in_the_open
from targets.scst.sysfs import SCST
from targets.target import Transport

ROUNDS = 20
SUSPEND = f"{SCST}/suspend"

PLAN = Plan("scst", "release", Transport.LOOPBACK, workload=None, point=NOTHING_HELD,
            variant="b39b5d850", story=f"{__name__}:story")


def story(stage: Stage) -> None:
    """Tell it."""
    machine, step = stage.machine, stage.ladder.step
    with in_the_open(stage) as (_, (disk,), trace):
        chain = Chain(stage, [(disk, PAGE)] * ROUNDS, stops=True)
        stage.phase("fault")
        stage.fired()
        for number in range(1, ROUNDS + 1):
            machine.write(SUSPEND, "0")
            chain.begin()
            stage.must(trace.wait(lambda ledger: ledger.in_flight == 1, step),
                       "a write was not issued")
            machine.write(SUSPEND, "-1")
            chain.wait(stage.ladder.command, number)
