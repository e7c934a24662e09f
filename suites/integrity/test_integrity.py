"""Stamped blocks through the smoke suite's faults, and through a backend that lies."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from fixtures.plugin import RunPlan, accept
from fixtures.scenario import Plan
from fixtures.workload.stamps import StampJob
from inject.catalogue import FAULTS
from inject.lies import CORRUPT, DROP, MISREAD, SKIP, SWAP, TWICE, Lie
from results.judge import Judgement
from results.verdict import Verdict
from suites.smoke import test_smoke
from targets.catalogue import BACKENDS
from targets.target import Transport

VARIANT = "integrity"

BOOT_AND_RESTORE = 30.0
"""Seconds of the host that a scenario may need on top of its ladder: boot, snapshot, judging."""

OTHER_LUN = "/dev/shm/stf-other"
"""Medium of a LUN that nobody serves, with stamps of its own."""


def plans(target: str) -> list[Plan]:
    """Return the smoke suite's plans with stamped blocks instead of fio, and one with both."""
    stamped = [
        replace(plan, workload=None, stamps=StampJob(),
                variant=f"{plan.variant}-{VARIANT}".strip("-"))
        for plan in test_smoke.plans(target)
    ]
    return [*stamped, Plan(target, test_smoke.CLOSE, stamps=StampJob(), variant=f"{VARIANT}-fio")]


def test_acknowledged_writes_survive(judgement: Judgement, request: pytest.FixtureRequest) -> None:
    """What was acknowledged before, during and after the fault is there afterwards."""
    accept(judgement, request)
    check = next(check for check in judgement.checks if check.name == "integrity")
    assert judgement.figures["stamped_acknowledged"].value, check.reason


def lying(lie: Lie, target: str) -> Plan:
    """Return a plan in which the stamped blocks alone drive the disk, and the backend lies."""
    return Plan(target, lie.name, workload=None, stamps=StampJob(other_lun=OTHER_LUN))


@pytest.mark.parametrize(("lie", "catches"), [
    pytest.param(lie, catches, id=lie.name) for lie, catches in (
        (CORRUPT, {"integrity"}),
        (SWAP, {"integrity"}),
        (MISREAD, {"integrity"}),
        (replace(MISREAD, medium=OTHER_LUN), {"integrity"}),
        (SKIP, {"integrity"}),
        (DROP, {"ledger", "deadline"}),
        (TWICE, {"ledger"}),
    )
])
def test_lies_are_caught(
    lie: Lie, catches: set[str], run_plan: RunPlan, kernel_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A backend that lies once is FAIL, by the check that it is for."""
    if not lie.needs.met(run_plan.target, BACKENDS[run_plan.target], Transport.ISCSI):
        pytest.skip(f"{run_plan.target}'s backend cannot tell this lie")
    monkeypatch.setitem(FAULTS, lie.name, lie)
    began = time.monotonic()
    judgement = run_plan(lying(lie, run_plan.target), kernel_name)
    bound = run_plan.ladder().scenario + BOOT_AND_RESTORE
    assert judgement.verdict is Verdict.FAIL, judgement.reason
    decided = judgement.decided_by
    assert decided is not None and decided.name in catches, judgement.reason
    assert time.monotonic() - began < bound, f"it took longer than {bound:g} s"
