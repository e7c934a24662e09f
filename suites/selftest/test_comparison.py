# SPDX-License-Identifier: GPL-2.0-or-later
"""Comparison of two runs: ranks, verdicts, times, and the rate of false alarms from noise."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import exp, log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from results.calibration import SPIN
from results.comparison.noise import MEASURED, RUNS_MIN, learned
from results.comparison.ranks import (
    cliffs_delta,
    corrected,
    mann_whitney,
    robust_spread,
    shift,
    tail,
)
from results.comparison.sample import CALIBRATED, Sample, by_scenario, calibrated, spin_of
from results.comparison.times import MEASURES, TimeChange, time_changes
from results.comparison.verdicts import Change, VerdictChange, verdict_changes
from results.service import IN_SPINS
from results.verdict import Outcome

stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")

VALUES = some.lists(some.integers(0, 30).map(float), min_size=2, max_size=15)
DISTINCT = some.lists(some.floats(0.001, 10), min_size=6, max_size=20, unique=True)


# --- ranks, compared with scipy's -----------------------------------------------------------------


@given(DISTINCT)
@settings(max_examples=60, deadline=None)
def test_mann_whitney_of_small_samples_is_exact(values: list[float]) -> None:
    half = len(values) // 2
    wanted = stats.mannwhitneyu(values[:half], values[half:], method="exact").pvalue
    assert mann_whitney(values[:half], values[half:]) == pytest.approx(wanted)


@given(VALUES, VALUES)
@settings(max_examples=60, deadline=None)
def test_mann_whitney_with_ties(before: list[float], after: list[float]) -> None:
    if len(set(before + after)) == len(before + after):
        return
    wanted = stats.mannwhitneyu(before, after, method="asymptotic").pvalue
    assert mann_whitney(before, after) == pytest.approx(
        1.0 if len(set(before + after)) == 1 else wanted)


@given(some.lists(some.floats(0, 1), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_correction_for_many_questions(values: list[float]) -> None:
    assert corrected(values) == pytest.approx(list(stats.false_discovery_control(values)))


@pytest.mark.parametrize("score", [0.1, 1.0, 2.5, 6.0])
@pytest.mark.parametrize("freedom", [5, 8, 19])
def test_tail_of_student(score: float, freedom: int) -> None:
    assert tail(score, freedom) == pytest.approx(stats.t.sf(score, freedom), rel=1e-4)
    assert tail(score) == pytest.approx(stats.norm.sf(score))


def test_effects() -> None:
    assert shift([1, 2, 3], [2, 3, 4]) == 1
    assert cliffs_delta([1, 2], [3, 4]) == 1
    assert cliffs_delta([1, 4], [1, 4]) == 0
    assert robust_spread([1.0]) == 0


# --- verdicts -------------------------------------------------------------------------------------


def groups(**outcomes: Sequence[str]) -> Mapping[str, list[Sample]]:
    return {name: [Sample("run", name, Outcome(word), f"why {word}") for word in words]
            for name, words in outcomes.items()}


def changed(
    before: Sequence[str], after: Sequence[str], *, flaky: bool = False,
) -> VerdictChange | None:
    found = verdict_changes(groups(a=before) if before else {}, groups(a=after) if after else {},
                            frozenset({"a"} if flaky else ()))
    return found[0] if found else None


@pytest.mark.parametrize(("before", "after", "change", "worse"), [
    (["PASS"], ["FAIL"], Change.NEW_FAIL, True),
    (["KNOWN"], ["FAIL"], Change.NEW_FAIL, True),
    (["PASS", "PASS"], ["PASS", "FAIL"], Change.NEW_FAIL, True),
    (["UNKNOWN"], ["FAIL"], Change.NEW_FAIL, True),
    (["FAIL"], ["PASS"], Change.FIXED, False),
    (["PASS"], ["FIXED"], Change.FIXED, False),
    (["KNOWN"], ["FIXED"], Change.FIXED, False),
    (["FAIL", "PASS"], ["PASS", "PASS"], Change.FLAKY, False),
    (["FAIL", "FAIL"], ["PASS", "FAIL"], Change.FLAKY, False),
    (["PASS"], ["KNOWN"], Change.KNOWN, False),
    (["FAIL"], ["KNOWN"], Change.KNOWN, False),
    (["PASS"], ["UNKNOWN"], Change.NO_VERDICT, True),
    (["FAIL"], ["UNKNOWN"], Change.NO_VERDICT, True),
    (["PASS"], [], Change.VANISHED, True),
    ([], ["PASS"], Change.NEW, False),
    ([], ["FAIL"], Change.NEW, True),
])
def test_what_became_of_a_scenario(
    before: Sequence[str], after: Sequence[str], change: Change, worse: bool,
) -> None:
    found = changed(before, after)
    assert found is not None
    assert (found.change, found.worse) == (change, worse)


@pytest.mark.parametrize("outcomes", [
    ["PASS"], ["FAIL"], ["KNOWN"], ["FIXED"], ["UNKNOWN"], ["PASS", "FAIL"]])
def test_nothing_became_of_it(outcomes: Sequence[str]) -> None:
    assert changed(outcomes, outcomes) is None


def test_who_is_known_to_be_flaky_is_no_news() -> None:
    found = changed(["PASS"], ["FAIL"], flaky=True)
    assert found is not None
    assert (found.change, found.worse) == (Change.FLAKY, False)


def test_one_failure_among_500() -> None:
    before = groups(**{f"s{number}": ["PASS"] for number in range(500)})
    after = groups(**{f"s{number}": ["FAIL" if number == 321 else "PASS"]
                      for number in range(500)})
    (found,) = verdict_changes(before, after)
    assert (found.scenario, found.change, found.reason) == ("s321", Change.NEW_FAIL, "why FAIL")


# --- times ----------------------------------------------------------------------------------------


class Bench:
    """Runs with known noise: per repetition, and common to all scenarios of a run."""

    def __init__(self, seed: int, *, repetition: float = 0.2, run: float = 0.02) -> None:
        self.random = random.Random(seed)
        self.repetition, self.run = repetition, run
        self.runs = 0

    def samples(
        self, *, scenarios: int = 16, times: int = 1, slower: float = 1.0, only: str = "",
        measure: str = "service_p25",
    ) -> list[Sample]:
        """Return the samples of a new run.

        ``slower``: factor on ``measure``, in the scenario ``only`` if given.
        """
        self.runs += 1
        shared = {name: self.random.gauss(0, self.run) for name in MEASURES}
        return [
            Sample(f"run{self.runs}", name, Outcome.PASS, figures={
                each: exp(number % 5 + shared[each] + self.random.gauss(0, self.repetition))
                * (slower if each == measure and only in ("", name) else 1.0)
                for each in MEASURES})
            for number in range(scenarios) for name in [f"s{number}"] for _ in range(times)]


def on_a_host(samples: list[Sample], spin: float) -> list[Sample]:
    """Return samples of a host with a given spin time in seconds; durations scale with it."""
    return [replace(sample, figures={**(sample.figures or {}), SPIN: spin, **{
        name: (sample.figure(name) or 0.0) * spin for name in CALIBRATED}}) for sample in samples]


def worse(before: list[Sample], after: list[Sample], past: list[Sample]) -> list[TimeChange]:
    found = time_changes(by_scenario(before), by_scenario(after), past)
    return [each for each in found if each.reported]


def test_noise_does_not_cry_wolf() -> None:
    alarms = 0
    for seed in range(60):
        bench = Bench(seed)
        past = [sample for _ in range(8) for sample in bench.samples()]
        alarms += bool(worse(bench.samples(), bench.samples(), past))
    assert alarms <= 1


def test_without_a_past_a_noisy_host_does_not_cry_wolf() -> None:
    alarms = 0
    for seed in range(60):
        bench = Bench(seed, run=0.1)
        alarms += bool(worse(bench.samples(times=4), bench.samples(times=4), []))
    assert alarms <= 1


def test_a_backend_slower_by_a_third_is_found() -> None:
    found = 0
    for seed in range(30):
        bench = Bench(seed)
        past = [sample for _ in range(12) for sample in bench.samples(times=5)]
        reported = worse(bench.samples(times=5), bench.samples(times=5, slower=1.3), past)
        assert all(each.measure == "service_p25" for each in reported)
        found += any(each.scenario is None and each.worse for each in reported)
    assert found >= 27


def test_a_slower_backend_is_found_on_a_host_whose_speed_changes() -> None:
    found, alarms = 0, 0
    for seed in range(10):
        bench = Bench(seed)
        past = [on_a_host(bench.samples(times=2), spin) for spin in (0.003, 0.005, 0.002) * 6]
        before, same, slower = (
            on_a_host(bench.samples(times=5, slower=factor), spin)
            for factor, spin in ((1.0, 0.003), (1.0, 0.005), (1.3, 0.002)))
        spin = spin_of(before)
        assert spin == 0.003
        usual = [sample for run in past for sample in calibrated(run, spin)]
        alarms += bool(worse(calibrated(before, spin), calibrated(same, spin), usual))
        reported = worse(calibrated(before, spin), calibrated(slower, spin), usual)
        found += any(each.measure == "service_p25" and each.worse for each in reported)
    assert found >= 9
    assert alarms == 0


def test_what_the_calibration_does_not_change() -> None:
    (sample,) = on_a_host(Bench(1).samples(scenarios=1), 0.002)
    (reported,) = calibrated([sample], 0.004)
    assert reported.figures is not None
    assert sample.figures is not None
    for name in MEASURES:
        assert reported.figures[name] == pytest.approx(
            (sample.figures[name] or 0.0) * (2 if name in CALIBRATED else 1))


def test_each_commands_own_spin_is_better_than_the_scenarios() -> None:
    (sample,) = on_a_host(Bench(1).samples(scenarios=1), 0.002)
    by_itself = replace(sample, figures={**(sample.figures or {}), IN_SPINS: 7.0})
    (reported,) = calibrated([by_itself], 0.004)
    assert reported.figure("service_p25") == pytest.approx(0.028)


def test_who_does_not_say_how_fast_it_was_was_as_fast_as_its_run() -> None:
    bench = Bench(2)
    without = bench.samples(scenarios=3)
    assert spin_of(without) is None
    assert spin_of([]) is None
    mixed = [*on_a_host(without[:2], 0.002), without[2]]
    assert spin_of(mixed) == 0.002
    *_, reported = calibrated(mixed, 0.004)
    assert reported.figure("service_p25") \
        == pytest.approx(2 * (without[2].figure("service_p25") or 0))
    reported, *_ = calibrated(without, 0.004)
    assert [reported.figure(name) for name in MEASURES
            if name in CALIBRATED] == [None] * len(CALIBRATED)
    assert reported.figure("teardown_time") == without[0].figure("teardown_time")


def test_a_faster_backend_is_better_and_not_worse() -> None:
    bench = Bench(1)
    past = [sample for _ in range(10) for sample in bench.samples(times=3)]
    reported = worse(bench.samples(times=3, slower=2), bench.samples(times=3), past)
    assert reported
    assert not any(each.worse for each in reported)


def test_one_slow_teardown_among_many_is_found_by_repetitions() -> None:
    bench = Bench(3)
    past = [sample for _ in range(10) for sample in bench.samples(times=8)]
    before = bench.samples(times=8)
    after = bench.samples(times=8, slower=3.0, only="s7", measure="teardown_time")
    (reported,) = worse(before, after, past)
    assert (reported.scenario, reported.measure, reported.delta) == ("s7", "teardown_time", 1.0)
    assert reported.log_ratio == pytest.approx(log(3), abs=0.4)


def test_a_failures_times_are_not_compared() -> None:
    slow, quick = dict.fromkeys(MEASURES, 1000.0), dict.fromkeys(MEASURES, 1.0)
    before = [Sample("a", f"s{number}", Outcome.PASS, figures=quick) for number in range(9)]
    after = [Sample("b", f"s{number}", Outcome.FAIL, figures=slow) for number in range(9)]
    assert time_changes(by_scenario(before), by_scenario(after), []) == []


def test_noise_is_learned_from_enough_runs() -> None:
    bench = Bench(5, repetition=0.2, run=0.1)
    past = [sample for _ in range(RUNS_MIN - 1) for sample in bench.samples(scenarios=40)]
    assert learned("teardown_time", past) == MEASURED["teardown_time"]
    past += [sample for _ in range(14) for sample in bench.samples(scenarios=40)]
    noise = learned("teardown_time", past)
    assert noise.runs == RUNS_MIN - 1 + 14
    assert noise.repetition == pytest.approx(0.2, rel=0.2)
    assert noise.run == pytest.approx(0.1, rel=0.6)
