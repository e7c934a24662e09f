"""A wrong header or data digest: on a ping, a command, immediate data, Data-Out."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from fixtures.plugin import accept
from fixtures.scenario import Plan
from fixtures.workload.stamps import LIGHT
from inject.point import NOTHING_HELD
from inject.wire import DIGESTS
from results.judge import Judgement
from targets.target import DIGESTS as KEYS
from targets.target import Device

TAKES: Mapping[str, Mapping[str, str]] = {
    "lio": {}, **dict.fromkeys(("scst", "tgt"), dict.fromkeys(KEYS, "CRC32C,None"))}
"""By target: what has it take digests, where it does not by default."""


def plans(target: str) -> list[Plan]:
    """Return the one plan: all cases, one after another."""
    return [Plan(target, DIGESTS.name, point=NOTHING_HELD, workload=None, stamps=LIGHT,
                 story="suites.transport.stories:digests", device=Device(session=TAKES[target]))]


def test_wrong_digests(judgement: Judgement, request: pytest.FixtureRequest) -> None:
    """The target says to each what the standard wants, and nothing of it is written."""
    accept(judgement, request)
