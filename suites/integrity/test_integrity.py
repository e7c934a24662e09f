# SPDX-License-Identifier: GPL-2.0-or-later
"""Stamped blocks under the smoke suite's faults, and with a misbehaving backend."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from fixtures.context import ScenarioContext
from fixtures.plugin import RunPlan
from fixtures.scenario import Arrangement, Plan, Selection, scenarios
from fixtures.steps import fault_at_point
from fixtures.workload.fio import Fio, FioJob
from fixtures.workload.stamps import LIGHT, StampJob
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
from inject.point import Point
from inject.release import Release
from results.verdict import Verdict
from suites.smoke import test_smoke
from targets.target import Device, Transport

VARIANT = "integrity"

BOOT_AND_RESTORE = 30.0
"""Seconds on the host that a scenario may need beyond its ladder: boot, snapshot, judging."""

HEAVY_SECONDS = 4
"""Duration of the heavy load: some 2,000 commands in an emulated guest."""

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


def heavy_plans(selection: Selection) -> Iterator[Plan]:
    """Yield a plan for each transport; scst_user keeps all buffers for further commands."""
    traits = selection.traits
    options: dict[str, str | int] = {"memory_reuse_type": "ALL"} if traits.serves_scst_user else {}
    for transport in traits.transports:
        device = Device(size=32 << 20, options=options)
        yield Plan(Release(), Point(count=0), variant="heavy", arrangement=Arrangement.stamped(
            LIGHT, transport=transport, device=device))


@scenarios(heavy_plans)
def test_data_are_right_under_a_heavy_load(ctx: ScenarioContext) -> None:
    """Some 100 commands of 512 bytes to 1 MiB at once: fio reads the data that it has written.

    A buffer that the target gives to a command while another command uses it shows here.
    """
    lun = ctx.arrange()
    jobs = [Fio(ctx.client, f"heavy-{job.bs}", job, lun.disk, ctx.recorder)
            for job in heavy(ctx.scenario.seed or 1)]
    bound = ctx.ladder.command + ctx.ladder.step
    for job in jobs:
        result = job.wait(HEAVY_SECONDS + bound) or {}
        ctx.must("error" in result, f"{job.name} has not ended {bound:g} s after its time")
        ctx.expect("fio reads the data that it has written", result["error"] == 0,
                   f"{job.name}: {errno.errorcode.get(result['error'], result['error'])}",
                   clause="SBC-4 5.16: a READ transfers the data of the blocks that it specifies")
    ctx.break_device(lun)
    ctx.drain(lun)
    ctx.recover(lun)


def heavy(seed: int) -> Iterator[FioJob]:
    """Yield the jobs of the heavy load: each writes a part of the disk, and reads it, in turn."""
    for bs, bs_max, numjobs, iodepth, size, offset in (
        (512, 4096, 4, 8, 1 << 20, 0),
        (4096, 4096, 4, 8, 4 << 20, 1 << 20),
        (64 << 10, 64 << 10, 2, 8, 4 << 20, 6 << 20),
        (1 << 20, 1 << 20, 1, 4, 8 << 20, 16 << 20),
    ):
        yield FioJob(
            bs=bs, bs_max=bs_max, numjobs=numjobs, iodepth=iodepth, size=size, offset=offset,
            rate_iops=None, runtime=HEAVY_SECONDS, verify="crc32c", seed=seed)


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
