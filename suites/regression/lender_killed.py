"""Not fixed in 3.11.0-pre (aa5cc2dd70f9): a killed backend whose devices share a buffer pool.

What is broken: the one cleanup thread goes round one device until that device's table is empty
(dev_user_process_cleanup). A buffer of the device may be with a command of another one that
shares the pool; if that device has been closed too, its commands are ended by the same thread,
which never comes to it.

What is told: as in 3ec348004, but the backend is killed, with both devices. What is asserted:
both go in bounded time.
"""

from __future__ import annotations

from dataclasses import replace

from fixtures.stage import Stage
from suites.regression import c83745c0a2
from suites.regression.c3ec348004 import lend
from suites.regression.c784044307 import kill
from suites.regression.telling import on_stage

PLAN = replace(c83745c0a2.PLAN, fault="backend-kill", variant="shared-pool",
               story=f"{__name__}:story")


def story(stage: Stage) -> None:
    """Tell it."""
    with on_stage(stage) as (deployment, (first, second), _):
        chain = lend(stage, deployment, first, second)
        kill(stage, deployment)
        chain.wait(stage.ladder.command)
