"""Does the target survive a scst_user backend's wrong answers, and tell the initiator the truth?"""

from __future__ import annotations

import pytest

from fixtures.plugin import accept
from fixtures.scenario import Plan
from fixtures.workload.commands import COPY, CommandJob
from fixtures.workload.stamps import LIGHT
from inject.answers import ANSWERS, FOR_ANOTHER, Answer, AnswerForAnother
from inject.point import State
from results.judge import Judgement
from targets.target import Device, Transport


def plans(target: str) -> list[Plan]:
    """Return a plan for each wrong answer, over each transport."""
    if target != "scst":
        return []
    answers: tuple[Answer | AnswerForAnother, ...] = (*ANSWERS, FOR_ANOTHER)
    return [plan(answer, transport) for answer in answers for transport in Transport]


def plan(answer: Answer | AnswerForAnother, transport: Transport) -> Plan:
    """Return the plan for a wrong answer."""
    point = answer.point
    kind = COPY if point.state is State.EXT_COPY_REMAP else point.direction or "write"
    return Plan("scst", answer.name, transport, point, Device(options=answer.options), None,
                LIGHT, CommandJob(kind, point.count))


def test_wrong_answers(judgement: Judgement, request: pytest.FixtureRequest) -> None:
    """One wrong answer: the kernel says to it what it must, the command ends as it must."""
    accept(judgement, request)
