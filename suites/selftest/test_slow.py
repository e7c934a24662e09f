# SPDX-License-Identifier: GPL-2.0-or-later
"""SLOW: a time far outside the scenario's own past, and where it is shown."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from math import exp
from pathlib import Path

import pytest

from results import report
from results.comparison.noise import MEASURED
from results.comparison.sample import Sample
from results.comparison.slow import ENOUGH, JUDGED, PastTimes
from results.formats import junit, ktap, markdown
from results.history import History
from results.judge import Judgement
from results.page.scenario import digest
from results.past_times import NO_PAST, past_times, remarked
from results.starvation import WAIT
from results.store import RUN, VERDICT, Run, write_json
from results.summary import lines, tally
from results.verdict import Check, Figure, Outcome, Slow, Verdict
from suites.selftest.test_index import make_run

NAME = "lio-6.1-release"
USUAL = (0.36, 0.40, 0.33, 0.52, 0.38, 0.47)
QUIET = {WAIT: 0.13, "spin_p25": 1e-4}


def sample(run: int = 99, outcome: Outcome = Outcome.PASS, /, **figures: float) -> Sample:
    """Return a scenario of a run on a quiet host."""
    return Sample(f"2026-{run:02}", NAME, outcome, figures={**QUIET, **figures})


def past(times: tuple[float, ...] = USUAL, name: str = "teardown_time") -> PastTimes:
    """Return a past with one time a run."""
    return PastTimes.of([sample(run, **{name: value}) for run, value in enumerate(times)])


def found(times: PastTimes, now: Sample) -> list[tuple[str, float]]:
    """Return the slow figures and values."""
    return [(each.figure, each.value) for each in times.slow(now)]


def test_a_release_that_sleeps_for_five_seconds_is_slow() -> None:
    (slow,) = past().slow(sample(teardown_time=5.4))
    assert str(slow) == ("SLOW: teardown 5.40 s; in 6 earlier runs 0.39 s, at most 0.52 s")


def test_a_bystander_that_waits_for_another_teardown_is_slow() -> None:
    times = past((0.12, 0.30, 0.25, 0.21, 0.17), "bystander_max")
    assert found(times, sample(bystander_max=6.1)) == [("bystander_max", 6.1)]
    assert found(times, sample(bystander_max=0.6)) == []


@pytest.mark.parametrize(("times", "now"), [
    (USUAL, {"teardown_time": 0.6}),  # usual
    (USUAL, {"teardown_time": 0.05}),  # fast
    (USUAL, {}),  # no such figure
    (USUAL[:ENOUGH - 1], {"teardown_time": 5.4}),  # a short past
    ((*USUAL, 5.0), {"teardown_time": 5.4}),  # so slow it was before
    ((7.2, 7.4, 7.1, 7.3, 7.2), {"teardown_time": 8.5}),  # 1 s more, and a small ratio
    (tuple(each / 100 for each in USUAL), {"teardown_time": 0.9}),  # a large ratio of little
    (USUAL, {"teardown_time": 5.4, WAIT: 0.6}),  # the host was less busy in all of the past
])
def test_what_is_not_slow(times: tuple[float, ...], now: dict[str, float]) -> None:
    assert found(past(times), sample(**now)) == []


@pytest.mark.parametrize("other", [
    {WAIT: 0.01},  # past: a host much less busy than one with 0.3
    {"spin_p25": 0.5e-4},  # past: a host twice as fast
])
def test_another_kind_of_host_is_no_past(other: dict[str, float]) -> None:
    times = PastTimes.of([sample(run, **{"teardown_time": value, **other})
                          for run, value in enumerate(USUAL)])
    assert found(times, sample(**{"teardown_time": 5.4, WAIT: 0.3})) == []


def test_a_busy_host_is_compared_with_busy_ones() -> None:
    """As recorded: releases on a host with two guests on two CPUs; one of them slept for 4 s."""
    waits = {0.57: 0.5, 0.53: 0.55, 0.46: 0.49, 0.49: 0.5, 0.36: 0.44}
    times = PastTimes.of([sample(run, **{"teardown_time": value, WAIT: wait})
                          for run, (value, wait) in enumerate(waits.items())])
    now = sample(**{"teardown_time": 4.51, WAIT: 0.55})
    assert found(times, now) == [("teardown_time", 4.51)]


def test_failures_and_repetitions_of_a_run_are_no_past() -> None:
    failed = [sample(run, Outcome.FAIL, teardown_time=value) for run, value in enumerate(USUAL)]
    repeated = [sample(1, teardown_time=value) for value in USUAL]
    for times in (failed, repeated):
        assert found(PastTimes.of(times), sample(teardown_time=5.4)) == []


def test_the_noise_that_was_measured_raises_few_alarms() -> None:
    """Healthy times with twice the measured spread: a false alarm in fewer than 1 of 100."""
    dice, alarms, count = random.Random(1), 0, 0
    for _ in range(400):
        for name in JUDGED:
            spread = 2 * MEASURED[name].repetition

            def drawn(spread: float = spread) -> float:
                return 0.5 * exp(dice.gauss(0, spread))
            times = past(tuple(drawn() for _ in range(6)), name)
            alarms += bool(times.slow(sample(**{name: drawn()})))
            count += 1
    assert alarms < count / 100


# --- from the index -------------------------------------------------------------------------------


def results(top: Path, count: int = 6, **record: object) -> Path:
    """Make runs whose teardowns took the usual times; return the results directory."""
    for number, value in enumerate(USUAL[:count]):
        run = make_run(top, f"2026-{number:02}", {NAME: "PASS"}, version="4.0 abc",
                       figures={"teardown_time": value, **QUIET})
        change(run, host={"name": f"worker-{number}", "cpus": 2}, **record)
    change(make_run(top, "2027-now", {}, version="4.0 def", ended=False),
           host={"name": "worker", "cpus": 2})
    return top


def change(run: Path, **facts: object) -> None:
    """Change a run's record."""
    write_json(run / RUN, {**json.loads((run / RUN).read_text()), **facts})


def judgement(seconds: float) -> Judgement:
    """Return a PASS whose teardown took so long."""
    return Judgement(NAME, (Check("teardown", Verdict.PASS, "it ended", (), {
        "teardown_time": Figure(seconds, "s")}),))


def slow_now(top: Path, releases: tuple[str, ...] = ("6.1.0-1",)) -> tuple[Slow, ...]:
    """Return the slow times of a teardown of 5.4 s in the run under way."""
    return remarked(judgement(5.4), past_times(top, "2027-now", releases, [NAME])).slow


def test_a_past_is_read_from_the_index(tmp_path: Path) -> None:
    (slow,) = slow_now(results(tmp_path))
    assert (slow.figure, slow.runs, slow.most) == ("teardown_time", 6, 0.52)
    healthy = past_times(tmp_path, "2027-now", ["6.1.0-1"], [NAME])
    assert remarked(judgement(0.5), healthy) == judgement(0.5)


@pytest.mark.parametrize("record", [
    {"target": {"name": "scst", "version": "4.0 abc"}}, {"accelerator": {"name": "kvm"}},
    {"target": {"name": "lio", "version": "4.1 abc"}}, {"options": {"append": "slub_debug=FZPU"}},
    {"host": {"name": "worker", "cpus": 64}},
    {"kernels": [{"name": "6.1", "release": "6.1.0-2"}]},
])
def test_runs_of_others_are_no_past(tmp_path: Path, record: dict[str, object]) -> None:
    results(tmp_path)
    for number in range(len(USUAL)):
        change(tmp_path / f"2026-{number:02}", **record)
    assert slow_now(tmp_path) == ()


def test_without_runs_there_is_no_past(tmp_path: Path) -> None:
    assert slow_now(results(tmp_path, count=0)) == ()
    assert past_times(tmp_path, "no such run", ["6.1.0-1"], [NAME]) == NO_PAST


# --- where it is shown ----------------------------------------------------------------------------

SLOW = remarked(judgement(5.4), past())
WORDS = "teardown 5.40 s; in 6 earlier runs 0.39 s, at most 0.52 s"


def test_the_verdict_and_its_file_remain() -> None:
    assert (SLOW.verdict, SLOW.outcome) == (Verdict.PASS, Outcome.PASS)
    again = Judgement.from_json(json.loads(json.dumps(SLOW.to_json())))
    assert again.slow == SLOW.slow
    old = {name: value for name, value in SLOW.to_json().items() if name != "slow"}
    assert Judgement.from_json(old).slow == ()


def test_the_table_and_the_report() -> None:
    _, row = lines([SLOW])
    assert row.split() == [NAME, "PASS", "-", "5.40", "s", "SLOW:", *WORDS.split()]
    assert tally([SLOW, judgement(0.4)]) == "2 PASS; 1 SLOW"
    text = report.text(SLOW, History(()))
    assert text.splitlines()[0] == f"PASS, SLOW: {WORDS}"
    assert f"Slow\n  SLOW: {WORDS}" in text
    failed = replace(SLOW, checks=(*SLOW.checks, Check("ledger", Verdict.FAIL, "3 I/Os")))
    assert lines([failed])[1].endswith(f"ledger: 3 I/Os; SLOW: {WORDS}")


def test_the_formats_and_the_page(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "2026-a", {NAME: "PASS", "lio-6.1-other": "PASS"})
    write_json(folder / NAME / VERDICT, SLOW.to_json())
    run = Run(folder)
    xml = junit.write(run, tmp_path / "junit.xml").read_text()
    assert f'<property name="SLOW" value="{NAME}" />' in xml
    assert f"SLOW: {WORDS}" in xml
    assert f"# {NAME}: SLOW: {WORDS}" in ktap.write(run, tmp_path / "ktap").read_text()
    assert "### SLOW" in (text := markdown.write(run, tmp_path / "md").read_text())
    assert f"| PASS | {WORDS} |" in text
    made = digest(folder / NAME)
    assert made.row["slow"] == f"SLOW: {WORDS}"
    assert json.loads(made.detail)["slow"] == [f"SLOW: {WORDS}"]
    assert digest(folder / "lio-6.1-other").row["slow"] == ""
