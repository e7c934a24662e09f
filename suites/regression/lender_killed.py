"""Not fixed in 3.11.0-pre (aa5cc2dd70f9): a device is closed while another has its buffer.

What is broken: the one cleanup thread goes round a closed device until that device's table is
empty (dev_user_process_cleanup). A buffer of the device may be with a command of another one that
shares the pool. While that command lasts the thread burns a CPU; and if the other device is
closed meanwhile, its commands are to be ended by the same thread, which never comes to it.

What is told: as in 3ec348004, but while the first device's release waits, the backend is killed.
What is asserted: both devices go in bounded time.
"""

from __future__ import annotations

from dataclasses import replace

from fixtures.stage import Stage
from suites.regression import c83745c0a2
from suites.regression.c3ec348004 import lend, watch
from suites.regression.c784044307 import kill
from suites.regression.telling import on_stage, registered

PLAN = replace(c83745c0a2.PLAN, fault="backend-kill", variant="lender-closed",
               story=f"{__name__}:story")


def story(stage: Stage) -> None:
    """Tell it."""
    with on_stage(stage) as (deployment, (first, second), _):
        chain = lend(stage, deployment, first, second)
        before = registered(stage)
        deployment.backend.call(
            "close", deadline=stage.ladder.step, device=stage.plan.device.name)
        watch(stage, before)
        kill(stage, deployment)
        chain.wait(stage.ladder.command)
