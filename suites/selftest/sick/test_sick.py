"""Each illness gets FAIL from the check that is there for it, by name, and soon enough; what
only sounds like one gets PASS."""

from __future__ import annotations

import pytest

from fixtures.evidence.folder import Evidence
from fixtures.plugin import RunPlan
from fixtures.scenario import Plan
from fixtures.steps import fault_at_point
from fixtures.watcher.console import FLOOD_BYTES
from results.checkers import kernel_health
from results.history import History
from results.kernel_log import Kind
from results.verdict import Verdict
from suites.selftest.sick.conftest import Finding, Findings
from suites.selftest.sick.illness import ILLNESSES, Illness, Sick, first_word

FLOOD_SECONDS = 300.0
"""What an emulated serial port may need for FLOOD_BYTES four times: 0.2 to 0.5 MB/s."""

pytestmark = pytest.mark.sick

TALK = (
    "stf-talk: watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [nobody:1]",
    "stf-talk: INFO: task nobody:1 blocked for more than 15 seconds.",
    "a program says: Kernel panic - not syncing: no, it only says so",
    "fio: verify: WARNING: CPU: 0 PID: 1 at nowhere",
    "systemd[1]: kernel.softlockup_panic=1 kernel.hung_task_panic=1",
)
"""What user space may write to the console without anybody being ill."""


def idle_from(history: History, illness: Illness) -> float:
    """Return from when on a thread that works has nothing to do: what is spinning by definition."""
    last = history.last("block", "complete")
    return last.time if last is not None and illness.name == "spin" else 0.0


@pytest.mark.parametrize("illness", ILLNESSES, ids=lambda illness: illness.name)
def test_illness(
    sick_plan: RunPlan, kernel_name: str, illness: Illness, findings: Findings,
) -> None:
    """It is seen by the right check, with its name, within the bound."""
    ladder = sick_plan.ladder()
    fault = Sick(sick_plan.pool, illness.word, illness.seconds(ladder), illness.told,
                 illness.settings)
    plan = Plan(fault, variant=illness.name)
    judgement, record = sick_plan.recorded(plan, kernel_name, fault_at_point)
    assert judgement.verdict is Verdict.FAIL, judgement.reason
    assert judgement.decided_by is not None
    assert judgement.decided_by.name == illness.check, judgement.reason
    for word in illness.words:
        assert word in judgement.reason
    history = History.load(record.history)
    kinds = {report.kind for report in kernel_health.reports(history)}
    assert kinds == ({illness.kind} if illness.kind else set())
    seen = first_word(history, illness.check)
    assert fault.began is not None and seen is not None
    assert Evidence.of(record.path).files, "no evidence was taken"
    findings.add(Finding(illness.name, kernel_name, illness.check, judgement.decided_by.reason,
                         round(max(0.0, seen - fault.began), 3)), sick_plan.results)
    assert seen - max(fault.began, idle_from(history, illness)) <= illness.bound(ladder)


def test_illness_in_a_flood(sick_plan: RunPlan, kernel_name: str) -> None:
    """A warning is found in four times what is recorded of a console."""
    flood = 4 * FLOOD_BYTES
    fault = Sick(sick_plan.pool, "warn", FLOOD_SECONDS, flood=flood)
    judgement, record = sick_plan.recorded(
        Plan(fault, variant="flood"), kernel_name, fault_at_point)
    assert judgement.verdict is Verdict.FAIL
    assert judgement.reason.startswith("kernel_health: WARNING in stf_sick_warn")
    assert [report.kind for report in kernel_health.reports(History.load(record.history))] \
        == [Kind.WARNING]
    assert record.console.stat().st_size > flood


def test_talk(sick_plan: RunPlan, kernel_name: str) -> None:
    """Text that looks like a lockup, from a module and from a program, is none."""
    fault = Sick(sick_plan.pool, "talk", 0, talk=TALK)
    judgement, record = sick_plan.recorded(
        Plan(fault, variant="talk"), kernel_name, fault_at_point)
    assert judgement.verdict is Verdict.PASS, judgement.reason
    console = record.console.read_text(errors="replace")
    for line in TALK:
        assert line in console
    assert "stf_sick: not a soft lockup" in console
