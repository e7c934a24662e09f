"""A target that never ends is FAIL with the tasks that wait; a machine that dies is UNKNOWN;
neither takes longer than its ladder says, and the next scenario is not harmed."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass

import pytest

from fixtures.lab import Lab
from fixtures.plugin import RunPlan
from fixtures.scenario import Plan
from inject.catalogue import FAULTS
from inject.fault import Subject
from results.judge import Judgement
from results.verdict import Verdict
from targets.target import Device

BOOT_AND_RESTORE = 30.0
"""Seconds of the host that a scenario may need on top of its ladder: boot, snapshot, judging."""


@dataclass(frozen=True)
class MachineKilled:
    """The host loses the guest: QEMU is killed at the point."""

    lab: Lab
    name: str = "machine-killed"
    breaks: bool = True

    def fire(self, subject: Subject, deadline: float) -> None:
        """Kill the only guest that runs."""
        for guest in self.lab.guests():
            os.kill(guest.pid, signal.SIGKILL)

    def undo(self, subject: Subject, deadline: float) -> None:
        """There is nothing left to heal."""


def bounded(run_plan: RunPlan, plan: Plan, kernel: str) -> Judgement:
    """Run a plan and see that it took no longer than the ladder's last rung."""
    began = time.monotonic()
    judgement = run_plan(plan, kernel)
    bound = run_plan.ladder().scenario + BOOT_AND_RESTORE
    assert time.monotonic() - began < bound, f"it took longer than {bound:g} s"
    return judgement


def passes(run_plan: RunPlan, kernel: str) -> None:
    """See that a healthy scenario passes, after whatever happened before it."""
    after = run_plan(Plan(run_plan.target, "release"), kernel)
    assert after.verdict is Verdict.PASS, after.reason


def test_backend_that_died_without_a_timeout(run_plan: RunPlan, kernel_name: str) -> None:
    """cmd_time_out=0: TCMU waits for ever, and the verdict names who waits."""
    if run_plan.target != "lio":
        pytest.skip("cmd_time_out is TCMU's: --target lio")
    plan = Plan("lio", "backend-kill", device=Device(options={"cmd_time_out": 0}),
                variant="no-timeout")
    judgement = bounded(run_plan, plan, kernel_name)
    assert judgement.verdict is Verdict.FAIL, judgement.reason
    threads = next(check for check in judgement.checks if check.name == "threads")
    assert threads.verdict is Verdict.FAIL
    assert "in D state" in threads.reason
    assert "core_tpg_remove_lun" in threads.reason or "iscsi" in threads.reason
    passes(run_plan, kernel_name)


def test_machine_that_was_killed(
    run_plan: RunPlan, kernel_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """QEMU killed while commands are held: nobody can say what the target would have done."""
    monkeypatch.setitem(FAULTS, "machine-killed", MachineKilled(run_plan.lab))
    judgement = bounded(run_plan, Plan(run_plan.target, "machine-killed"), kernel_name)
    assert judgement.verdict is Verdict.UNKNOWN, judgement.reason
    assert "lost" in judgement.reason
    passes(run_plan, kernel_name)
