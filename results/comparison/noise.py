"""How much times differ between runs in which nothing changed.

Repetitions in one run share its moment; two runs do not: the host was busier, the caches
colder. A test that only looks at the repetitions' spread finds a difference in every pair of
runs. So the spread between runs is measured, on earlier runs of the same target, kernel,
accelerator and host, and until there are enough of them it is what was measured while this was
written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log, sqrt
from statistics import fmean, median, stdev

from results.comparison.ranks import MEDIAN_COST, robust_spread
from results.comparison.sample import FINE, Sample

RUNS_MIN = 6
"""Earlier runs from which on their spread is believed."""

RUNS_MAX = 20
"""Earlier runs that are looked at, the newest."""

FLOOR = 0.02
"""Spread that is taken for granted: two runs that agree by chance do not make the third wrong."""


@dataclass(frozen=True)
class Noise:
    """Standard deviations of the natural logarithm of a time.

    ``repetition``: of repetitions in a run. ``run``: of what all a run's scenarios share.
    ``runs``: how many runs that was learned from; 0: it is the table's below.
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
}
"""Of 698 smoke scenarios that passed in 34 runs on LIO and SCST within eight hours, on a host of
two cores with QEMU's TCG, that was idle to three times overloaded. Robust: quartiles, medians."""


MEASURED_CALIBRATED: Mapping[str, Noise] = {**MEASURED, "service_p25": Noise(0.06, 0.07)}
"""The same for calibrated times (results.comparison.sample): of 85 smoke scenarios in
10 runs on LIO, on a host that was idle or had two more guests; in seconds it is 0.16 and 0.08 for
these. Median latencies are queues more than work: 0.14 and 0.61, 0.21 and 0.49, hence as above."""


def learned(name: str, earlier: Sequence[Sample], usual: Mapping[str, Noise] = MEASURED) -> Noise:
    """Return the noise of a figure as earlier runs show it, or as it usually is."""
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
    # What the repetitions alone make a run's effect differ by is not the run's.
    sampled = fmean(MEDIAN_COST ** 2 * repetition ** 2 / len(logs[run]) * fmean(
        1 / len(values) for values in logs[run].values()) for run in effects)
    between = stdev(effects.values()) ** 2 - sampled
    return Noise(repetition, sqrt(max(FLOOR ** 2, between)), len(effects))
