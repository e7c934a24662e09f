"""A target that never ends is FAIL with the tasks that wait; a machine that dies is UNKNOWN;
neither takes longer than its ladder says, and the next scenario is not harmed."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from fixtures.lab import Lab
from fixtures.plugin import RunPlan
from fixtures.scenario import Plan
from inject.catalogue import FAULTS
from inject.fault import Subject
from results.checkers import kernel_health
from results.history import History
from results.judge import Judgement
from results.kernel_log import Kind
from results.store import ScenarioRecord
from results.verdict import Verdict
from targets.target import Deployment, Device

BOOT_AND_RESTORE = 30.0
"""Seconds of the host that a scenario may need on top of its ladder: boot, snapshot, judging."""

FLOOD_BYTES = 100 << 20
FLOOD_LINE = "it is getting wet in here: a line that nobody needs, " + 20 * "again and "
BY_GUEST = 4 << 20
FLOOD_SECONDS = 90.0
"""What an emulated serial port may need for these: it takes from 0.1 to 1 MB/s; all 100 MiB
took it from 4 to 10 minutes."""

HISTORY_MAX = 64 << 20
"""Bytes of history.jsonl that a flood may lead to."""

GROWTH_MAX = 256 << 20
"""Bytes by which this process may grow meanwhile."""


@dataclass(frozen=True)
class MachineKilled:
    """The host loses the guest: QEMU is killed at the point."""

    lab: Lab
    name: str = "machine-killed"
    breaks: bool = True
    ends_device: bool = True

    def fire(self, subject: Subject, deadline: float) -> None:
        """Kill the only guest that runs."""
        for guest in self.lab.guests():
            os.kill(guest.pid, signal.SIGKILL)

    def undo(self, subject: Subject, deadline: float) -> None:
        """There is nothing left to heal."""


@dataclass(frozen=True)
class Order:
    """The guest is told something that it does not survive, or not unharmed.

    ``verb`` and ``args``: a call that was begun and that nobody waits for.
    """

    name: str
    verb: str
    args: tuple[str | list[str], ...]
    breaks: bool = True
    ends_device: bool = True

    def fire(self, subject: Subject, deadline: float) -> None:
        """Give the order."""
        cast(Deployment, subject).machine.begin(self.verb, *self.args)

    def undo(self, subject: Subject, deadline: float) -> None:
        """There is nothing left to heal."""


@dataclass(frozen=True)
class Flood:
    """A program floods the console that the kernel's reports come by.

    The commands that were held go on; it is over when all has been written: what the guest's
    serial port can take in half a minute by the guest, the rest by the host, into the same file.
    """

    lab: Lab
    name: str = "flood"
    breaks: bool = False
    ends_device: bool = False

    def fire(self, subject: Subject, deadline: float) -> None:
        """Release the commands, and write it all."""
        machine = cast(Deployment, subject).machine
        subject.backend.release(deadline)
        (console,) = (guest.console for guest in self.lab.guests() if guest.machine is machine)
        machine.run(["sh", "-c", f"yes '{FLOOD_LINE}' | head -c {BY_GUEST} > /dev/ttyS0"],
                    deadline=FLOOD_SECONDS)
        block = f"{FLOOD_LINE}\n".encode() * (4096 // len(FLOOD_LINE))
        with console.open("ab") as file:
            for _ in range((FLOOD_BYTES - BY_GUEST) // len(block) + 1):
                file.write(block)

    def undo(self, subject: Subject, deadline: float) -> None:
        """Nothing was broken."""


def bounded(
    run_plan: RunPlan, plan: Plan, kernel: str
) -> tuple[Judgement, ScenarioRecord]:
    """Run a plan and see that it took no longer than the ladder's last rung."""
    began = time.monotonic()
    judgement, record = run_plan.recorded(plan, kernel)
    bound = run_plan.ladder().scenario + BOOT_AND_RESTORE
    assert time.monotonic() - began < bound, f"it took longer than {bound:g} s"
    return judgement, record


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
    judgement, _ = bounded(run_plan, plan, kernel_name)
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
    judgement, _ = bounded(run_plan, Plan(run_plan.target, "machine-killed"), kernel_name)
    assert judgement.verdict is Verdict.UNKNOWN, judgement.reason
    assert "lost" in judgement.reason
    passes(run_plan, kernel_name)


def test_machine_that_panics(
    run_plan: RunPlan, kernel_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A panic is the kernel's failure, and the console, read from outside, has the proof."""
    fault = Order("panic", "write", ("/proc/sysrq-trigger", "c"))
    monkeypatch.setitem(FAULTS, fault.name, fault)
    judgement, record = bounded(run_plan, Plan(run_plan.target, fault.name), kernel_name)
    assert judgement.verdict is Verdict.FAIL, judgement.reason
    assert judgement.decided_by is not None
    assert judgement.decided_by.name == kernel_health.NAME, judgement.reason
    reports = kernel_health.reports(History.load(record.history))
    assert [report.kind for report in reports] == [Kind.PANIC]
    assert "sysrq triggered crash" in judgement.reason
    assert "sysrq triggered crash" in record.console.read_text(errors="replace")
    passes(run_plan, kernel_name)


def test_agent_that_was_killed(
    run_plan: RunPlan, kernel_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody tells any more what happens in the guest: that is not the target's failure."""
    fault = Order("agent-killed", "run", (["sh", "-c", "kill -9 $PPID"],))
    monkeypatch.setitem(FAULTS, fault.name, fault)
    judgement, _ = bounded(run_plan, Plan(run_plan.target, fault.name), kernel_name)
    assert judgement.verdict is Verdict.UNKNOWN, judgement.reason
    assert "lost" in judgement.reason
    passes(run_plan, kernel_name)


def test_console_that_is_flooded(
    run_plan: RunPlan, kernel_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """100 MB of somebody's words cost neither the verdict nor the host's memory."""
    fault = Flood(run_plan.lab)
    monkeypatch.setitem(FAULTS, fault.name, fault)
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM counts anew (man 5 proc)
    before = memory("VmRSS")
    judgement, record = run_plan.recorded(Plan(run_plan.target, fault.name), kernel_name)
    assert memory("VmHWM") - before < GROWTH_MAX
    assert judgement.verdict is Verdict.PASS, judgement.reason
    assert record.console.stat().st_size >= FLOOD_BYTES
    assert record.history.stat().st_size < HISTORY_MAX
    dropped = History.load(record.history).first("console", "dropped")
    assert dropped is not None and dropped.data["bytes"] > FLOOD_BYTES // 2
    passes(run_plan, kernel_name)


def memory(field: str) -> int:
    """Return one of this process's sizes in bytes (/proc/self/status)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) << 10
    raise LookupError(field)
