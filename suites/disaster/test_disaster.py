# SPDX-License-Identifier: GPL-2.0-or-later
"""Verdicts when the machine or the target dies.

A target whose teardown never ends is FAIL, and the verdict names the waiting tasks. A lost machine
is UNKNOWN. Neither takes longer than the ladder allows, and the next scenario passes.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from fixtures.guest_pool import GuestPool
from fixtures.plugin import RunPlan
from fixtures.scenario import Arrangement, Plan
from fixtures.steps import fault_at_point
from inject.backend_end import KILL
from inject.contract import FaultContext
from inject.fault import ANYTHING, Expected, Held, Needs
from inject.point import State
from inject.release import Release
from inject.traits import TargetTraits
from results.checkers import kernel_health
from results.history import History
from results.judge import Judgement
from results.kernel_log import Kind
from results.store import ScenarioRecord
from results.verdict import Verdict
from targets.target import Deployment, Device

BOOT_AND_RESTORE = 30.0
"""Seconds on the host that a scenario may need beyond its ladder: boot, snapshot, judging."""

AT_ONCE = 5.0
"""Seconds from the loss of a machine to the end of its scenario."""

FLOOD_BYTES = 100 << 20
FLOOD_LINE = "it is getting wet in here: a line that nobody needs, " + 20 * "again and "
BY_GUEST = 4 << 20
FLOOD_SECONDS = 90.0
"""Seconds that an emulated serial port may need for ``BY_GUEST`` bytes. Measured: 0.1 to 1 MB/s;
all 100 MiB took 4 to 10 minutes."""

HISTORY_MAX = 64 << 20
"""Maximum size of history.jsonl after a flood, in bytes."""

GROWTH_MAX = 256 << 20
"""Maximum growth of this process during the flood, in bytes."""

NOTHING = Expected((), "")
"""The expectation for faults after which the machine cannot answer: the tests check the verdict."""


@dataclass(frozen=True)
class MachineKilled:
    """A fault: the host kills QEMU at the point."""

    pool: GuestPool
    name: str = "machine-killed"
    breaks: bool = True
    ends_device: bool = True
    held: Held = Held.LOST
    needs: Needs = ANYTHING

    def expected(
        self, state: State, traits: TargetTraits, direction: str = "none",
    ) -> Expected:
        """Return no expectation."""
        return NOTHING

    def fire(self, context: FaultContext, deadline: float) -> None:
        """Kill the only running guest."""
        for guest in self.pool.guests():
            os.kill(guest.pid, signal.SIGKILL)

    def undo(self, context: FaultContext, deadline: float) -> None:
        """Do nothing: the machine has gone."""


@dataclass(frozen=True)
class Order:
    """A fault: a call of the guest's agent that damages or ends the guest.

    ``verb`` and ``args``: the call. It is begun, and its end is not waited for.
    """

    name: str
    verb: str
    args: tuple[str | list[str], ...]
    breaks: bool = True
    ends_device: bool = True
    held: Held = Held.LOST
    needs: Needs = ANYTHING

    def expected(
        self, state: State, traits: TargetTraits, direction: str = "none",
    ) -> Expected:
        """Return no expectation."""
        return NOTHING

    def fire(self, context: FaultContext, deadline: float) -> None:
        """Begin the call."""
        deployment = cast(Deployment, context.deployment)
        deployment.machine.begin(self.verb, *self.args)

    def undo(self, context: FaultContext, deadline: float) -> None:
        """Do nothing: the machine has gone."""


@dataclass(frozen=True)
class Flood:
    """A fault: a program floods the console that carries the kernel's reports.

    The held commands are released. The flood is over when all of it has been written: the guest
    writes ``BY_GUEST`` bytes through its serial port, the host appends the rest to the same file.
    """

    pool: GuestPool
    name: str = "flood"
    breaks: bool = False
    ends_device: bool = False
    held: Held = Held.ANSWERED
    needs: Needs = ANYTHING

    def expected(
        self, state: State, traits: TargetTraits, direction: str = "none",
    ) -> Expected:
        """Return the expectation of the control (``Release``): nothing is broken."""
        return Release().expected(state, traits, direction)

    def fire(self, context: FaultContext, deadline: float) -> None:
        """Release the held commands and write the whole flood."""
        deployment = cast(Deployment, context.deployment)
        machine = deployment.machine
        deployment.backend.release(deadline)
        (console,) = (guest.console for guest in self.pool.guests() if guest.machine is machine)
        machine.run(["sh", "-c", f"yes '{FLOOD_LINE}' | head -c {BY_GUEST} > /dev/ttyS0"],
                    deadline=FLOOD_SECONDS)
        block = f"{FLOOD_LINE}\n".encode() * (4096 // len(FLOOD_LINE))
        with console.open("ab") as file:
            for _ in range((FLOOD_BYTES - BY_GUEST) // len(block) + 1):
                file.write(block)

    def undo(self, context: FaultContext, deadline: float) -> None:
        """Do nothing: nothing was broken."""


def bounded(
    run_plan: RunPlan, plan: Plan, kernel: str
) -> tuple[Judgement, ScenarioRecord]:
    """Run a plan; assert that it ends within the scenario deadline plus ``BOOT_AND_RESTORE``."""
    began = time.monotonic()
    judgement, record = run_plan.recorded(plan, kernel, fault_at_point)
    bound = run_plan.ladder().scenario + BOOT_AND_RESTORE
    assert time.monotonic() - began < bound, f"it took longer than {bound:g} s"
    return judgement, record


def ends_at_once(record: ScenarioRecord) -> None:
    """Assert that nothing waits for the lost machine, until a bound of its own."""
    history = History.load(record.history)
    fired = history.first("fault", "fired")
    assert fired is not None
    assert max(event.time for event in history.events) - fired.time < AT_ONCE


def passes(run_plan: RunPlan, kernel: str) -> None:
    """Assert that a healthy scenario passes after the damaged one."""
    after = run_plan(Plan(Release()), kernel, fault_at_point)
    assert after.verdict is Verdict.PASS, after.reason


def test_backend_that_died_without_a_timeout(run_plan: RunPlan, kernel_name: str) -> None:
    """Without a command timeout the kernel waits forever, and the verdict names the waiting tasks.
    """
    if run_plan.traits.command_timeout_option is None:
        pytest.skip("the target has no timeout for commands in a backend")
    device = Device(options=run_plan.traits.command_timeout(0))
    plan = Plan(KILL, arrangement=Arrangement(device=device), variant="no-timeout")
    judgement, _ = bounded(run_plan, plan, kernel_name)
    assert judgement.verdict is Verdict.FAIL, judgement.reason
    threads = next(check for check in judgement.checks if check.name == "threads")
    assert threads.verdict is Verdict.FAIL
    assert "in D state" in threads.reason
    assert "core_tpg_remove_lun" in threads.reason or "iscsi" in threads.reason
    passes(run_plan, kernel_name)


def test_machine_that_was_killed(run_plan: RunPlan, kernel_name: str) -> None:
    """QEMU killed while commands are held is UNKNOWN: the target's behaviour is not known."""
    judgement, record = bounded(run_plan, Plan(MachineKilled(run_plan.pool)), kernel_name)
    assert judgement.verdict is Verdict.UNKNOWN, judgement.reason
    ends_at_once(record)
    assert "lost" in judgement.reason
    passes(run_plan, kernel_name)


def test_machine_that_panics(run_plan: RunPlan, kernel_name: str) -> None:
    """A panic is FAIL; the console, which the host records, is the evidence."""
    fault = Order("panic", "write", ("/proc/sysrq-trigger", "c"))
    judgement, record = bounded(run_plan, Plan(fault), kernel_name)
    assert judgement.verdict is Verdict.FAIL, judgement.reason
    assert judgement.decided_by is not None
    assert judgement.decided_by.name == kernel_health.NAME, judgement.reason
    ends_at_once(record)
    reports = kernel_health.reports(History.load(record.history))
    assert [report.kind for report in reports] == [Kind.PANIC]
    assert "sysrq triggered crash" in judgement.reason
    assert "sysrq triggered crash" in record.console.read_text(errors="replace")
    passes(run_plan, kernel_name)


def test_agent_that_was_killed(run_plan: RunPlan, kernel_name: str) -> None:
    """A guest without its agent cannot be observed: UNKNOWN, not a failure of the target."""
    fault = Order("agent-killed", "run", (["sh", "-c", "kill -9 $PPID"],))
    judgement, record = bounded(run_plan, Plan(fault), kernel_name)
    assert judgement.verdict is Verdict.UNKNOWN, judgement.reason
    assert "lost" in judgement.reason
    ends_at_once(record)
    passes(run_plan, kernel_name)


def test_console_that_is_flooded(run_plan: RunPlan, kernel_name: str) -> None:
    """100 MiB of console output change neither the verdict nor the host's memory use."""
    fault = Flood(run_plan.pool)
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM (man 5 proc)
    before = memory("VmRSS")
    judgement, record = run_plan.recorded(Plan(fault), kernel_name, fault_at_point)
    assert memory("VmHWM") - before < GROWTH_MAX
    assert judgement.verdict is Verdict.PASS, judgement.reason
    assert record.console.stat().st_size >= FLOOD_BYTES
    assert record.history.stat().st_size < HISTORY_MAX
    dropped = History.load(record.history).first("console", "dropped")
    assert dropped is not None and dropped.data["bytes"] > FLOOD_BYTES // 2
    passes(run_plan, kernel_name)


def memory(field: str) -> int:
    """Return a size of this process in bytes (a field of /proc/self/status)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) << 10
    raise LookupError(field)
