"""Not fixed in 3.11.0-pre (aa5cc2dd70f9): SCST_USER_REPLY_CMD wakes nobody.

What is broken: the thread that answers PARSE or ALLOC_MEM carries the command on to its EXEC, and
puts that into the list of those to be fetched without waking anybody (dev_user_add_to_ready wakes
in interrupts only): who replies is expected to fetch next. A thread that answers with
SCST_USER_REPLY_CMD and does something else leaves the command lying there, while all that fetch
sleep in the ioctl, until another command comes along. Under load nobody notices.

What is told: the only command there is, a WRITE, is held in PARSE, and answered by a thread that
fetches nothing. What is asserted: it is carried out in time.
"""

from __future__ import annotations

from fixtures.scenario import Plan
from fixtures.stage import Stage
from fixtures.workload.commands import CommandJob
from inject.point import Point, State
from suites.regression.telling import in_the_open, one_command, release_and_end
from targets.target import Device, Transport

PLAN = Plan(
    "scst", "release", Transport.LOOPBACK, Point(State.PARSE, 1, None),
    Device(options={"parse_type": "CALL"}, threads=4), None, None, CommandJob("write", 1),
    "reply-wakes-nobody", story=f"{__name__}:story")

IN_TIME = 2.0
"""Seconds: less than the initiator's command timer, whose ABORT TASK would wake a thread."""


def story(stage: Stage) -> None:
    """Tell it."""
    bound = stage.ladder.step
    with in_the_open(stage) as (deployment, (disk,), _):
        commands = one_command(stage, deployment, disk)
        stage.phase("fault")
        stage.fired()
        deployment.backend.call("release", nudge=False, deadline=bound)
        stage.expect("a command whose PARSE was answered by SCST_USER_REPLY_CMD is carried out",
                     commands.wait_answered(1, IN_TIME), f"not within {IN_TIME:g} s")
        release_and_end(stage, deployment, commands)
