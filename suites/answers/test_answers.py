# SPDX-License-Identifier: GPL-2.0-or-later
"""Does the target survive wrong replies of a scst_user backend, and report them to the initiator?
"""

from __future__ import annotations

from collections.abc import Iterator

from fixtures.context import ScenarioContext
from fixtures.scenario import Arrangement, Plan, Selection, scenarios
from fixtures.workload.commands import COPY, CommandJob
from fixtures.workload.stamps import LIGHT
from inject.answers import ANSWERS, FOR_ANOTHER, Answer, AnswerForAnother
from inject.point import State
from targets.target import Device


def plans(selection: Selection) -> Iterator[Plan]:
    """Yield a plan for each wrong reply over each transport, where the backend uses scst_user."""
    if not selection.traits.serves_scst_user:
        return
    answers: tuple[Answer | AnswerForAnother, ...] = (*ANSWERS, FOR_ANOTHER)
    for answer in answers:
        point = answer.point
        kind = COPY if point.state is State.EXT_COPY_REMAP else point.direction or "write"
        for transport in selection.traits.transports:
            arrangement = Arrangement.stamped(
                LIGHT, transport=transport, device=Device(options=answer.options))
            yield Plan(answer, point, arrangement, CommandJob(kind, point.count))


@scenarios(plans)
def test_wrong_answers(ctx: ScenarioContext) -> None:
    """The kernel accepts or refuses a wrong reply, and the command ends as expected."""
    lun = ctx.arrange()
    ctx.hold(lun)           # commands, in the state that gets the wrong reply
    ctx.break_device(lun)   # the wrong reply; then correct replies to commands that are still held
    ctx.drain(lun)
    ctx.recover(lun)
