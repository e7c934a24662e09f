# SPDX-License-Identifier: GPL-2.0-or-later
"""Each defect gets FAIL from its check, by name and within the bound.

Text that only resembles a defect gets PASS.
"""

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
from suites.selftest.detectors.conftest import Finding, Findings
from suites.selftest.detectors.defects import DEFECTS, Defect, PlantedDefect, first_word

FLOOD_SECONDS = 300.0
"""Seconds that an emulated serial port may need for four times FLOOD_BYTES: 0.2 to 0.5 MB/s."""

pytestmark = pytest.mark.detectors

TALK = (
    "stf-talk: watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [nobody:1]",
    "stf-talk: INFO: task nobody:1 blocked for more than 15 seconds.",
    "a program says: Kernel panic - not syncing: no, it only says so",
    "fio: verify: WARNING: CPU: 0 PID: 1 at nowhere",
    "systemd[1]: kernel.softlockup_panic=1 kernel.hung_task_panic=1",
)
"""Lines that user space may write to the console without a defect."""


def idle_from(history: History, defect: Defect) -> float:
    """Return the time from which a busy thread has no work, in seconds: then it is spinning."""
    last = history.last("block", "complete")
    return last.time if last is not None and defect.name == "spin" else 0.0


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_defect(
    defect_plan: RunPlan, kernel_name: str, defect: Defect, findings: Findings,
) -> None:
    """The right check detects the defect, with its name, within the bound."""
    ladder = defect_plan.ladder()
    fault = PlantedDefect(defect_plan.pool, defect.word, defect.seconds(ladder), defect.text,
                          defect.settings)
    plan = Plan(fault, variant=defect.name)
    judgement, record = defect_plan.recorded(plan, kernel_name, fault_at_point)
    assert judgement.verdict is Verdict.FAIL, judgement.reason
    assert judgement.decided_by is not None
    assert judgement.decided_by.name == defect.check, judgement.reason
    for word in defect.words:
        assert word in judgement.reason
    history = History.load(record.history)
    kinds = {report.kind for report in kernel_health.reports(history)}
    assert kinds == ({defect.kind} if defect.kind else set())
    seen = first_word(history, defect.check)
    assert fault.began is not None and seen is not None
    assert Evidence.of(record.path).files, "no evidence was taken"
    findings.add(Finding(defect.name, kernel_name, defect.check, judgement.decided_by.reason,
                         round(max(0.0, seen - fault.began), 3)), defect_plan.results)
    assert seen - max(fault.began, idle_from(history, defect)) <= defect.bound(ladder)


def test_defect_in_a_flood(defect_plan: RunPlan, kernel_name: str) -> None:
    """A warning is found in a console of four times the recorded limit."""
    flood = 4 * FLOOD_BYTES
    fault = PlantedDefect(defect_plan.pool, "warn", FLOOD_SECONDS, flood=flood)
    judgement, record = defect_plan.recorded(
        Plan(fault, variant="flood"), kernel_name, fault_at_point)
    assert judgement.verdict is Verdict.FAIL
    assert judgement.reason.startswith("kernel_health: WARNING in stf_test_warn")
    assert [report.kind for report in kernel_health.reports(History.load(record.history))] \
        == [Kind.WARNING]
    assert record.console.stat().st_size > flood


def test_talk(defect_plan: RunPlan, kernel_name: str) -> None:
    """Text that resembles a lockup, from a module and from a program, is not reported."""
    fault = PlantedDefect(defect_plan.pool, "talk", 0, talk=TALK)
    judgement, record = defect_plan.recorded(
        Plan(fault, variant="talk"), kernel_name, fault_at_point)
    assert judgement.verdict is Verdict.PASS, judgement.reason
    console = record.console.read_text(errors="replace")
    for line in TALK:
        assert line in console
    assert "stf_test: not a soft lockup" in console
