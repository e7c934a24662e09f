"""How does a target end a CDB of every length, one that is not there, or with a wrong transfer?"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from fixtures.plugin import accept
from fixtures.scenario import Plan
from fixtures.workload.stamps import LIGHT
from inject.point import NOTHING_HELD
from inject.wire import COMMANDS
from results.judge import Judgement
from targets.target import Device

OPTIONS: Mapping[str, Mapping[str, str]] = {"tgt": {"backing": "file"}}
"""tgt's own VERIFY fails of a device that it has open with O_DIRECT, as our network block device:
its buffer is not aligned, and it says MEDIUM ERROR (bs_rdwr_request, usr/bs_rdwr.c)."""


def plans(target: str) -> list[Plan]:
    """Return a plan for the commands that are written down, one for a sweep (--seed), one for what
    a target is known to die of, and one for CDBs that libiscsi has not."""
    device = Device(options=OPTIONS.get(target, {}))
    return [Plan(target, COMMANDS.name, point=NOTHING_HELD, device=device, workload=None,
                 stamps=LIGHT,
                 variant=variant, story=f"suites.commands.story:{variant}")
            for variant in ("fixed", "drawn", "aca", "extended")]


def test_odd_commands(judgement: Judgement, request: pytest.FixtureRequest) -> None:
    """Each command ends as it has to, and the target goes on serving."""
    accept(judgement, request)
