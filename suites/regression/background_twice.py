"""Not fixed in 3.11.0-pre (aa5cc2dd70f9): an answer in the background that is not COMPLETED.

What is broken: once an EXEC has been answered with SCST_EXEC_REPLY_BACKGROUND, SCST answers the
initiator and forgets the command; the backend's next answer for its handle is taken for the end
of EXEC, whatever it is (dev_user_process_reply). If it does not say COMPLETED,
dev_user_process_reply_exec complains of it by the command's operation code, and follows a NULL
pointer: the command is gone. A second BACKGROUND is enough. With on_free CALL, which the
specification advises against here, the answer to ON_FREE_CMD is taken for it too, and does it by
whatever bytes lie where it has no field (seen in 3 of 3 cells of the matrix with parse CALL and
REPLY_AND_GET_MULTI, before its rule followed the specification).

What is told: a WRITE is answered in the background, its initiator has GOOD, and the backend
answers in the background once more. What is asserted: the kernel refuses that, and stays healthy.
"""

from __future__ import annotations

from fixtures.scenario import Plan
from fixtures.stage import Stage
from fixtures.workload.commands import CommandJob
from inject.point import Point, State
from suites.regression.telling import in_the_open, one_command, release_and_end
from targets.target import Device, Transport

PLAN = Plan(
    "scst", "release", Transport.LOOPBACK, Point(State.BACKGROUND, 1, None),
    Device(options={"on_free_cmd_type": "IGNORE", "memory_reuse_type": "NONE"}), None, None,
    CommandJob("write", 1), "background-twice", story=f"{__name__}:story")

TWICE = {"reply_type": "BACKGROUND"}


def story(stage: Stage) -> None:
    """Tell it."""
    bound = stage.ladder.step
    with in_the_open(stage) as (deployment, (disk,), _):
        commands = one_command(stage, deployment, disk)
        stage.must(commands.wait_answered(1, bound), "the initiator has no answer")
        held = stage.recorder.history().last("backend", "held")
        assert held is not None
        stage.phase("fault")
        stage.fired()
        told = deployment.backend.call(
            "answer", handle=held.data["handles"][0], fields=TWICE, deadline=bound)
        stage.expect("the kernel refuses a second answer in the background",
                     told[0]["errors"] == ["EINVAL"], str(told))
        release_and_end(stage, deployment, commands)


