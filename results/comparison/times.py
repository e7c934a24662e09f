# SPDX-License-Identifier: GPL-2.0-or-later
"""The differences in time between two runs, and whether they exceed the noise.

Computed for each measure over all scenarios that passed in both runs, and for each scenario with
enough repetitions by itself. A difference is reported under three conditions. It is improbable
between equal runs (``results.comparison.noise``), corrected for the number of tests. For a single
scenario, the repetitions' ranks confirm it for any distribution. It is large enough to
matter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, log, sqrt
from statistics import fmean, median

from results.comparison.noise import MEASURED, Noise, learned
from results.comparison.ranks import (
    CENTRE_COST,
    centre,
    cliffs_delta,
    corrected,
    mann_whitney,
    robust_spread,
    shift,
    tail,
)
from results.comparison.sample import Sample, figures_of

MEASURES: Mapping[str, str] = {
    "service_p25": "backend's own time for a command, quartile",
    "latency_before_p50": "completion latency before the fault, median",
    "latency_after_p50": "completion latency after the fault, median",
    "longest_command": "longest command",
    "teardown_time": "teardown",
}
"""The measures that are compared; less is better."""

SIGNIFICANT = 0.01
"""Corrected probability below which a difference is no noise."""

MATTERS = log(1.10)
"""Minimum logarithm of a ratio that is reported: a tenth."""

ENOUGH = 5
"""Repetitions in each run from which on a scenario is tested by itself: of fewer the ranks
cannot be that improbable (5 and 5: 2 of 252 orders)."""


@dataclass(frozen=True)
class TimeChange:
    """The difference of one measure: over all scenarios (``scenario`` None), or in one.

    ``before``, ``after``: medians in seconds. ``log_ratio``: natural logarithm of the ratio of
    after to before. ``delta``: Cliff's delta; over scenarios, the share that got slower minus the
    share that got faster. ``p``: corrected probability of such a difference between two equal runs.
    ``ranks``: p-value of the repetitions' ranks (0 over all scenarios). ``count``: scenarios, or
    the smaller number of repetitions. ``spread``: standard deviation of ``log_ratio`` between two
    equal runs.
    """

    measure: str
    scenario: str | None
    before: float
    after: float
    log_ratio: float
    delta: float
    p: float
    ranks: float
    count: int
    noise: Noise
    spread: float

    @property
    def reported(self) -> bool:
        """Whether the difference exceeds the noise."""
        return max(self.p, self.ranks) < SIGNIFICANT and abs(self.log_ratio) >= MATTERS

    @property
    def worse(self) -> bool:
        """Whether the difference exceeds the noise, and is an increase."""
        return self.reported and self.log_ratio > 0

    @property
    def detectable(self) -> float:
        """Smallest ratio that would be reported, if it were the only difference."""
        low, high = 0.0, 20.0
        while high - low > 0.01:
            middle = (low + high) / 2
            likely = _improbable(middle, self.spread, self.noise) >= SIGNIFICANT / len(MEASURES)
            low, high = (middle, high) if likely else (low, middle)
        return exp(max(MATTERS, high))


def time_changes(
    before: Mapping[str, Sequence[Sample]], after: Mapping[str, Sequence[Sample]],
    earlier: Sequence[Sample], usual: Mapping[str, Noise] = MEASURED,
) -> list[TimeChange]:
    """Return the comparison of every measure: of the runs, then of single scenarios.

    ``earlier``: samples of other runs on the same target, kernel, accelerator and host. ``usual``:
    the noise where these are too few.
    """
    found = list(_compared(before, after, earlier, usual))
    runs = [each for each in found if each.scenario is None]
    single = [each for each in found if each.scenario is not None]
    return [*_corrected(runs), *_corrected(single)]


def _corrected(found: Sequence[TimeChange]) -> list[TimeChange]:
    values = corrected([each.p for each in found])
    return [replace(each, p=p) for each, p in zip(found, values, strict=True)]


def _compared(
    before: Mapping[str, Sequence[Sample]], after: Mapping[str, Sequence[Sample]],
    earlier: Sequence[Sample], usual: Mapping[str, Noise],
) -> Iterator[TimeChange]:
    for measure in MEASURES:
        noise = learned(measure, earlier, usual)
        pairs = {scenario: (old, new) for scenario in before if scenario in after
                 if (old := figures_of(before[scenario], measure))
                 and (new := figures_of(after[scenario], measure))}
        if pairs:
            yield _over_all(measure, noise, list(pairs.values()))
        yield from (of_one(measure, noise, scenario, *pair) for scenario, pair in pairs.items()
                    if min(map(len, pair)) >= ENOUGH)


Pair = tuple[Sequence[float], Sequence[float]]


def _over_all(measure: str, noise: Noise, pairs: Sequence[Pair]) -> TimeChange:
    shifts = [shift(_logs(old), _logs(new)) for old, new in pairs]
    ratio = centre(shifts)
    repeated = fmean(1 / len(old) + 1 / len(new) for old, new in pairs)
    scatter = max(robust_spread(shifts), noise.repetition * sqrt(repeated))
    spread = _spread(CENTRE_COST * scatter / sqrt(len(pairs)), noise)
    slower = sum((each > 0) - (each < 0) for each in shifts) / len(shifts)
    return TimeChange(
        measure, None, median(median(old) for old, _ in pairs),
        median(median(new) for _, new in pairs), ratio, slower,
        _improbable(ratio, spread, noise), 0.0, len(pairs), noise, spread)


def of_one(
    measure: str, noise: Noise, scenario: str | None, old: Sequence[float], new: Sequence[float],
) -> TimeChange:
    """Return the difference of two samples of a measure; ``p`` is not corrected."""
    ratio = shift(_logs(old), _logs(new))
    spread = _spread(
        CENTRE_COST * noise.repetition * sqrt(1 / len(old) + 1 / len(new)), noise)
    return TimeChange(
        measure, scenario, median(old), median(new), ratio, cliffs_delta(old, new),
        _improbable(ratio, spread, noise), mann_whitney(old, new), min(len(old), len(new)),
        noise, spread)


def _spread(error: float, noise: Noise) -> float:
    """Return the standard deviation of the difference between two equal runs."""
    return sqrt(error ** 2 + 2 * noise.run ** 2)


def _improbable(ratio: float, spread: float, noise: Noise) -> float:
    """Return the two-sided probability of such a difference between two equal runs."""
    return min(1.0, 2 * tail(abs(ratio) / spread, noise.runs - 1 if noise.runs else None))


def _logs(values: Sequence[float]) -> list[float]:
    return [log(value) for value in values]
