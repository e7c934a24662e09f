# SPDX-License-Identifier: GPL-2.0-or-later
"""The spread of times between runs in which nothing changed.

Repetitions in one run share its conditions; two runs do not: the host was busier, the caches
colder. A test that uses only the repetitions' spread finds a difference in every pair of runs. So
the spread between runs is measured, on earlier runs of the same target, kernel, accelerator and
host. Until there are enough of them, a table measured during development is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log, sqrt
from statistics import fmean, median, stdev

from results.comparison.ranks import MEDIAN_COST, robust_spread
from results.comparison.sample import FINE, Sample

RUNS_MIN = 6
"""Number of earlier runs from which on their spread is used."""

RUNS_MAX = 20
"""Number of earlier runs that are read, the newest."""

FLOOR = 0.02
"""Minimum spread: chance agreement of two runs does not make a third an outlier."""


@dataclass(frozen=True)
class Noise:
    """Standard deviations of the natural logarithm of a time.

    ``repetition``: of repetitions in a run. ``run``: of the effect that all of a run's scenarios
    share. ``runs``: number of runs that these were estimated from; 0: from the table below.
    """

    repetition: float
    run: float
    runs: int = 0


MEASURED: Mapping[str, Noise] = {
    "service_p25": Noise(0.20, 0.10),
    "latency_before_p50": Noise(0.50, 0.61),
    "latency_after_p50": Noise(0.77, 0.52),
    "longest_command": Noise(0.50, 0.40),
    "teardown_time": Noise(0.44, 0.26),
    "bystander_max": Noise(0.37, 0.50),
}
"""From 698 smoke scenarios that passed in 34 runs on LIO and SCST within eight hours, on a host
of two cores with QEMU's TCG, from idle to three times overloaded. Robust: quartiles, medians."""


MEASURED_CALIBRATED: Mapping[str, Noise] = {**MEASURED, "service_p25": Noise(0.06, 0.07)}
"""The same for calibrated times (results.comparison.sample): from 85 smoke scenarios in 10 runs
on LIO, on a host that was idle or had two more guests. In seconds service_p25 has 0.16 and 0.08
there. Median latencies are queueing more than work: 0.14 and 0.61, 0.21 and 0.49, hence as
above."""


def learned(name: str, earlier: Sequence[Sample], usual: Mapping[str, Noise] = MEASURED) -> Noise:
    """Return the noise of a figure in earlier runs; the usual noise when these are too few."""
    logs: dict[str, dict[str, list[float]]] = {}
    for sample in earlier:
        if sample.outcome in FINE and (value := sample.figure(name)):
            logs.setdefault(sample.run, {}).setdefault(sample.scenario, []).append(log(value))
    means = {run: {scenario: fmean(values) for scenario, values in found.items()}
             for run, found in logs.items()}
    levels: dict[str, list[float]] = {}
    for found in means.values():
        for scenario, mean in found.items():
            levels.setdefault(scenario, []).append(mean)
    middle = {scenario: median(values) for scenario, values in levels.items()
              if len(values) >= RUNS_MIN}
    effects = {run: median(offsets) for run, found in means.items() if (offsets := [
        mean - middle[scenario] for scenario, mean in found.items() if scenario in middle])}
    if len(effects) < RUNS_MIN:
        return usual[name]
    rest = [value - middle[scenario] - effects[run]
            for run, found in logs.items() if run in effects
            for scenario, values in found.items() if scenario in middle for value in values]
    repetition = max(FLOOR, robust_spread(rest))
    # The part of the runs' effects that the repetitions' spread explains is not the runs' own.
    sampled = fmean(MEDIAN_COST ** 2 * repetition ** 2 / len(logs[run]) * fmean(
        1 / len(values) for values in logs[run].values()) for run in effects)
    between = stdev(effects.values()) ** 2 - sampled
    return Noise(repetition, sqrt(max(FLOOR ** 2, between)), len(effects))
