# SPDX-License-Identifier: GPL-2.0-or-later
"""Stamped blocks under the smoke suite's faults, and with a misbehaving backend."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from fixtures.context import ScenarioContext
from fixtures.plugin import RunPlan
from fixtures.scenario import Arrangement, Plan, Selection, scenarios
from fixtures.steps import fault_at_point
from fixtures.workload.stamps import StampJob
from inject.backend_close import BackendClose
from inject.misbehaviour import (
    CORRUPTED_WRITE,
    DUPLICATE_COMPLETION,
    LOST_WRITE,
    MISDIRECTED_READ,
    SWAPPED_WRITES,
    UNANSWERED_WRITE,
    Misbehaviour,
)
from results.verdict import Verdict
from suites.smoke import test_smoke
from targets.target import Transport

VARIANT = "integrity"

BOOT_AND_RESTORE = 30.0
"""Seconds on the host that a scenario may need beyond its ladder: boot, snapshot, judging."""

OTHER_LUN = "/dev/shm/stf-other"
"""Medium with the stamps of another LUN, which no backend serves."""


def plans(selection: Selection) -> Iterator[Plan]:
    """Yield the smoke suite's plans with stamped blocks instead of fio, and one with both."""
    for plan in test_smoke.plans(selection):
        stamped = plan.rearranged(fio=None, stamps=StampJob())
        yield replace(stamped, variant=f"{plan.variant}-{VARIANT}".strip("-"))
    yield Plan(BackendClose(), arrangement=Arrangement(stamps=StampJob()),
               variant=f"{VARIANT}-fio")


@scenarios(plans)
def test_acknowledged_writes_survive(ctx: ScenarioContext) -> None:
    """Writes acknowledged before, during and after the fault are on the medium at the end."""
    lun = ctx.arrange()     # 50 stamped writes have been acknowledged
    ctx.hold(lun)
    ctx.break_device(lun)
    ctx.drain(lun)
    ctx.recover(lun)        # every stamped block is read back


@pytest.mark.parametrize(("misbehaviour", "catches"), [
    pytest.param(each, catches, id=each.name) for each, catches in (
        (CORRUPTED_WRITE, {"integrity"}),
        (SWAPPED_WRITES, {"integrity"}),
        (MISDIRECTED_READ, {"integrity"}),
        (replace(MISDIRECTED_READ, medium=OTHER_LUN), {"integrity"}),
        (LOST_WRITE, {"integrity"}),
        (UNANSWERED_WRITE, {"ledger", "deadline"}),
        (DUPLICATE_COMPLETION, {"ledger"}),
    )
])
def test_misbehaviour_is_caught(
    misbehaviour: Misbehaviour, catches: set[str], run_plan: RunPlan, kernel_name: str,
) -> None:
    """A backend that misbehaves once is FAIL, decided by the check for that misbehaviour."""
    traits = run_plan.traits
    if not misbehaviour.needs.met(traits, traits.backend, Transport.ISCSI):
        pytest.skip(f"the backend ({traits.backend}) cannot misbehave in this way")
    plan = Plan(misbehaviour, arrangement=Arrangement.stamped(StampJob(other_lun=OTHER_LUN)))
    began = time.monotonic()
    judgement = run_plan(plan, kernel_name, fault_at_point)
    bound = run_plan.ladder().scenario + BOOT_AND_RESTORE
    assert judgement.verdict is Verdict.FAIL, judgement.reason
    decided = judgement.decided_by
    assert decided is not None and decided.name in catches, judgement.reason
    assert time.monotonic() - began < bound, f"it took longer than {bound:g} s"
