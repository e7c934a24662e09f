"""What is a session told that goes on asking for a LUN which an administrator has removed?"""

from __future__ import annotations

import pytest

from fixtures.plugin import accept
from fixtures.scenario import Plan
from fixtures.workload.commands import CommandJob
from fixtures.workload.stamps import LIGHT
from inject.point import Point, State
from results.judge import Judgement
from targets.target import Device

REMOVAL = "lun-delete"


def plans(target: str) -> list[Plan]:
    """Return a plan for one LUN, and, of SCST, one for a LUN beside another."""
    devices = {"lun-gone": Device()}
    if target == "scst":
        devices["lun-gone-another"] = Device(siblings=(Device("stf1"),))
    return [Plan(target, REMOVAL, point=Point(State.EXEC, 1, None), device=device, workload=None,
                 stamps=LIGHT, commands=CommandJob("write", 1), variant=variant,
                 story="suites.session.gone:story")
            for variant, device in devices.items()]


def test_lun_gone(judgement: Judgement, request: pytest.FixtureRequest) -> None:
    """Commands for it are refused, others are not, and the session stays."""
    accept(judgement, request)
