# SPDX-License-Identifier: GPL-2.0-or-later
"""The judge combines the checkers' verdicts, and a crashed checker never yields a pass."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from results.history import History
from results.judge import CHECKERS, Judgement, interrupted, judge
from results.known_issues import KnownIssue
from results.ladder import Ladder
from results.verdict import Check, Figure, Outcome, Signature, Verdict, compose, deciding
from suites.selftest.stories import SCENARIO, STATED, healthy

P, F, U = Verdict.PASS, Verdict.FAIL, Verdict.UNKNOWN


def checks(*verdicts: Verdict) -> list[Check]:
    """Return checks with these verdicts, named by their index."""
    return [Check(str(number), verdict, "") for number, verdict in enumerate(verdicts)]


@pytest.mark.parametrize(("verdicts", "composed", "by"), [
    ((P, P), P, "0"), ((P, U), U, "1"), ((U, F, F), F, "1"), ((P, F, U), F, "1"), ((), U, None),
])
def test_fail_over_unknown_over_pass(
    verdicts: tuple[Verdict, ...], composed: Verdict, by: str | None,
) -> None:
    found = checks(*verdicts)
    assert compose(found) is composed
    decided = deciding(found)
    assert (decided.name if decided else None) == by


def _crashes(_: History) -> Check:
    raise ZeroDivisionError("nobody expected this")


def _passes(_: History) -> Check:
    return Check("passes", P, "fine", (), {"speed": Figure(1.5, "m/s")})


def test_a_crashed_checker_is_unknown_and_hides_no_other() -> None:
    judgement = judge(healthy().history(), {"crashes": _crashes, "passes": _passes})
    first, second = judgement.checks
    assert (first.name, first.verdict) == ("crashes", U)
    assert "ZeroDivisionError: nobody expected this" in first.reason
    assert "_crashes" in first.evidence[-1]
    assert second.verdict is P
    assert judgement.verdict is U
    assert judgement.reason.startswith("crashes: the checker crashed")


def test_an_interrupt_is_not_swallowed() -> None:
    def interrupts(_: History) -> Check:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judge(healthy().history(), {"interrupts": interrupts})


def test_verdict_json() -> None:
    record = judge(healthy().history()).to_json()
    assert set(record) == {
        "scenario", "verdict", "outcome", "known", "decided_by", "headline", "checks", "figures",
        "slow",
    }
    assert (record["outcome"], record["known"], record["headline"]) == ("PASS", None, None)
    assert (record["scenario"], record["verdict"]) == (SCENARIO, "PASS")
    assert [check["name"] for check in record["checks"]] == [
        name for name in CHECKERS if name not in STATED]
    assert all(set(check) == {"name", "verdict", "reason", "evidence", "signatures"}
               for check in record["checks"])
    assert record["figures"]["teardown_time"] == {"value": 1.5, "unit": "s"}
    assert {figure["unit"] for figure in record["figures"].values()} == {"s", "1", "B"}


def test_figures_have_one_name_each() -> None:
    names = [name for check in judge(healthy().history()).checks for name in check.figures]
    assert len(names) == len(set(names))
    assert set(names) == {
        "io_issued", "io_open", "io_errors", "io_refused", "scsi_started", "scsi_done",
        "scsi_timeouts", "longest_command", "teardown_time", "kernel_reports",
        "spinning_threads", "stuck_tasks", "memory_lost", "stamped_writes",
        "stamped_acknowledged", "stamped_reads", "stamped_read_back",
        "service_count", "service_p25", "service_p50", "service_spins", "spin_p25",
        *(f"latency_{phase}_{what}" for phase in ("before", "during", "after")
          for what in ("count", "p50", "p99", "max")),
    }


def test_a_verdict_is_read_back() -> None:
    record = judge(healthy().history()).to_json()
    assert Judgement.from_json(json.loads(json.dumps(record))).to_json() == record


def test_a_failure_is_read_back_with_its_signatures() -> None:
    judgement = judge(healthy().without("target", "end", operation="teardown").history())
    known = replace(judgement, known=KnownIssue("slow", "https://example.org/slow"),
                    matched=("teardown: endless (teardown)",))
    record = json.loads(json.dumps(known.to_json()))
    assert record["outcome"] == "KNOWN"
    assert record["known"] == {"id": "slow", "link": "https://example.org/slow",
                               "matched": ["teardown: endless (teardown)"]}
    again = Judgement.from_json(record)
    assert again.to_json() == record
    signatures = {check.name: list(check.signatures) for check in again.checks}
    assert signatures["teardown"] == [Signature("endless", ("teardown",))]


def test_a_verdict_from_before_signatures_is_read() -> None:
    record = judge(healthy().history()).to_json()
    del record["outcome"], record["known"]
    for check in record["checks"]:
        del check["signatures"]
    assert Judgement.from_json(record).outcome is Outcome.PASS


def test_a_question_that_was_not_asked_is_left_out() -> None:
    judgement = judge(healthy().history(), {"silent": lambda _: None, "passes": _passes})
    assert [check.name for check in judgement.checks] == ["passes"]
    nothing = judge(healthy().history(), {"silent": lambda _: None})
    assert nothing.verdict is U


def test_interrupted() -> None:
    judgement = interrupted("a", "stopped by the user")
    assert judgement.verdict is U
    assert judgement.reason == "machine: stopped by the user"


def test_values_that_json_has_not_are_left_out() -> None:
    def endless(_: History) -> Check:
        return Check("endless", P, "", (), {"time": Figure(float("inf"), "s")})

    assert judge(healthy().history(), {"endless": endless}).to_json()["figures"]["time"] == {
        "value": None, "unit": "s",
    }


@pytest.mark.parametrize("factor", [1.0, 1.5, 3.0])
def test_the_ladders_rungs_are_in_order(factor: float) -> None:
    bounds = [seconds for _, seconds in Ladder().scaled(factor).rungs()]
    assert bounds == sorted(bounds)
