"""The main job: does the target survive losing its device with four WRITEs in its hands?"""

from __future__ import annotations

import pytest

from fixtures.plugin import accept
from fixtures.scenario import Plan
from inject.point import Point
from results.judge import Judgement
from targets.catalogue import transports
from targets.target import Device, Transport

FAULTS = ("release", "backend-close", "backend-kill", "lun-remove")

CLOSE = "backend-close"

NONE_HELD = Point(count=0)
"""For devices that no backend of ours serves."""


def plans(target: str) -> list[Plan]:
    """Return the smoke suite's plans for a target, over the transports that it has."""
    if target == "scst":
        return [
            Plan(target, fault, transport, variant=f"on-free-{on_free.lower()}",
                 device=Device(options={"on_free_cmd_type": on_free}))
            for transport in Transport for on_free in ("CALL", "IGNORE") for fault in FAULTS
        ]
    plans = [*(Plan(target, fault) for fault in FAULTS),
             *(Plan(target, CLOSE, transport) for transport in transports(target)
               if transport is Transport.LOOPBACK)]
    if target == "tgt":
        plans += [Plan(target, fault, point=NONE_HELD, device=Device(options={"backing": "file"}),
                       variant="file") for fault in ("release", "lun-remove")]
    return plans


def test_teardown_with_writes_held(
    judgement: Judgement, request: pytest.FixtureRequest
) -> None:
    """Every command comes back in time, the teardown ends, the kernel stays healthy, the
    device can be deployed again."""
    accept(judgement, request)
