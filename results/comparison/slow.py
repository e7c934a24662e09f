# SPDX-License-Identifier: GPL-2.0-or-later
"""A scenario's own past as a bound of its times: SLOW, a remark beside the verdict.

The bounds of the ladder hold for every target and host, so they are wide. A scenario's past on the
same target, kernel and kind of host is narrower. The rule is the comparison's
(results.comparison.times): the spread of times between equal runs, learned or measured. A single
run has no second sample, so the difference must also exceed an absolute floor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from statistics import median

from results.calibration import SPIN
from results.comparison.noise import MEASURED, RUNS_MAX, Noise, learned
from results.comparison.sample import BUSIER, Sample, by_run, by_scenario, figures_of
from results.comparison.times import MEASURES, SIGNIFICANT, of_one
from results.starvation import WAIT
from results.verdict import Slow

JUDGED: Mapping[str, str] = {
    **{name: MEASURES[name] for name in ("longest_command", "teardown_time")},
    "bystander_max": "longest command of a bystander",
}
"""The measures with a bound from the past, in words. Median latencies and the backend's own time
depend on the host's speed more than on the target: stf compare judges them over all scenarios."""

ENOUGH = 5
"""Minimum number of earlier runs of the scenario on such a target and host."""

FLOOR = 1.0
"""Seconds by which a time must exceed the longest in the past.

Measured on 1937 scenarios that passed in 138 recorded runs, each compared with the others: with
these bounds 0 false alarms in 186 figures with a past (1 in 550 with 3 runs for ENOUGH). Of such
figures with 5 s added 127 of 133 are found where the usual time is below 1 s, 5 of 53 above: the
spread is a ratio."""

SPEED = 1.5
"""Ratio of the durations of a spin (results.calibration) from which on two hosts are of another
kind."""


@dataclass(frozen=True)
class PastTimes:
    """The earlier runs that a run's scenarios are compared with, and the noise between them.

    ``samples``: by scenario, the newest run first.
    """

    samples: Mapping[str, Sequence[Sample]]
    noise: Mapping[str, Noise]

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> PastTimes:
        """Take the samples of earlier runs on such a target and host, the newest run first."""
        runs = list(by_run(samples).values())[:RUNS_MAX]
        recent = [sample for run in runs for sample in run]
        return cls(by_scenario(samples), {name: learned(name, recent) for name in JUDGED})

    def slow(self, sample: Sample) -> tuple[Slow, ...]:
        """Return the times of a scenario that are far outside its past on as busy a host."""
        past = [each for each in self.samples.get(sample.scenario, ()) if _alike(each, sample)]
        found = (_slow(name, value, _by_run(past, name), self.noise.get(name, MEASURED[name]))
                 for name in JUDGED if (value := sample.figure(name)))
        return tuple(each for each in found if each)


def _alike(past: Sample, now: Sample) -> bool:
    """Return whether a guest was no faster and no less busy; unknown counts as alike."""
    spins, waits = ((past.figure(name), now.figure(name)) for name in (SPIN, WAIT))
    return (not (spins[0] and spins[1]) or abs(log(spins[0] / spins[1])) < log(SPEED)) and (
        not (waits[0] and waits[1]) or waits[0] >= waits[1] - BUSIER)


def _by_run(past: Sequence[Sample], name: str) -> list[float]:
    """Return the figure's median in each of the newest runs that passed."""
    values = (figures_of(run, name) for run in by_run(past).values())
    return [median(each) for each in values if each][:RUNS_MAX]


def _slow(name: str, value: float, past: Sequence[float], noise: Noise) -> Slow | None:
    if len(past) < ENOUGH or value < max(past) + FLOOR:
        return None
    change = of_one(name, noise, None, past, [value])
    if change.p >= SIGNIFICANT or change.log_ratio <= 0:
        return None
    return Slow(name, JUDGED[name], value, median(past), max(past), len(past))
