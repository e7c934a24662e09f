"""Sessions that break in the middle of a login, of Data-Out, of Data-In; others must not suffer."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from fixtures.plugin import accept
from fixtures.scenario import Plan
from fixtures.workload.stamps import LIGHT
from inject.point import NOTHING_HELD
from inject.wire import BROKEN
from results.judge import Judgement
from targets.target import Device

TEARDOWNS = ("backend-close", "lun-remove")
"""One that ends the device, and one that takes the LUN from it."""

IN_TEARDOWN = ("data-out-reset", "data-out-silent", "data-in-reset", "data-in-silent",
               "data-in-stuffed")


TIMERS: Mapping[str, Mapping[str, int]] = {
    "scst": {"RspTimeout": 4, "NopInTimeout": 4}, "lio": {}, "tgt": {}}
"""By target: seconds after which it is to give up a peer that falls silent in the middle, where
that can be set. SCST's default, 90, is longer than any bound of a teardown; LIO's is 3
(NA_DATAOUT_TIMEOUT, iscsi_target_core.h)."""


def plans(target: str) -> list[Plan]:
    """Return a plan for each break, and for some of them in a teardown."""
    alone = [Plan(target, wire.name, point=NOTHING_HELD, workload=None, stamps=LIGHT,
                  story="suites.transport.broken:broken") for wire in BROKEN.values()]
    return alone + [
        Plan(target, teardown, workload=None, stamps=LIGHT, breaks=f"broken-{name}",
             variant=f"broken-{name}", story="suites.transport.broken:in_teardown",
             device=Device(session=TIMERS[target] if name.endswith("silent") else {}))
        for name in IN_TEARDOWN for teardown in TEARDOWNS]


def test_broken_sessions(judgement: Judgement, request: pytest.FixtureRequest) -> None:
    """A session that ends in the middle costs its own commands and nobody else's."""
    accept(judgement, request)
