"""How the times of two runs differ, and whether that is more than noise.

Asked of each measure over all scenarios that passed in both runs, and of each scenario that was
repeated often enough to be asked by itself. A difference is told when it is improbable between
runs that are alike (``results.comparison.noise``), corrected for the number of questions; when,
in a scenario by itself, the repetitions' ranks say so too, whatever their distribution; and when
it is large enough to matter.
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
"""What is compared; less is better."""

SIGNIFICANT = 0.01
"""Corrected probability below which a difference is no noise."""

MATTERS = log(1.10)
"""A difference below a tenth is not worth a word."""

ENOUGH = 5
"""Repetitions in each run from which on a scenario is asked by itself: of fewer the ranks cannot
be that improbable (5 and 5: 2 of 252 orders)."""


@dataclass(frozen=True)
class TimeChange:
    """How one measure differs: over all scenarios (``scenario`` None), or in one.

    ``before``, ``after``: medians in seconds. ``log_ratio``: natural logarithm of how many times
    longer it takes. ``delta``: Cliff's, over scenarios the share that got slower less the share
    that got faster. ``p``: that two runs alike differ so, corrected. ``ranks``: that the ranks of
    the repetitions do (0 over all scenarios). ``count``: scenarios, or repetitions of the fewer.
    ``spread``: standard deviation of ``log_ratio`` between two runs alike.
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
        """Whether it is more than noise."""
        return max(self.p, self.ranks) < SIGNIFICANT and abs(self.log_ratio) >= MATTERS

    @property
    def worse(self) -> bool:
        """Whether it is more than noise, and for the worse."""
        return self.reported and self.log_ratio > 0

    @property
    def detectable(self) -> float:
        """How many times longer it would have to take to be told, had it been the only one."""
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
    """Return the comparison of every measure: the runs', then those of single scenarios.

    ``earlier``: of other runs on the same target, kernel, accelerator and host. ``usual``: the
    noise where those are too few.
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
        yield from (_of_one(measure, noise, scenario, *pair) for scenario, pair in pairs.items()
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


def _of_one(
    measure: str, noise: Noise, scenario: str, old: Sequence[float], new: Sequence[float],
) -> TimeChange:
    ratio = shift(_logs(old), _logs(new))
    spread = _spread(
        CENTRE_COST * noise.repetition * sqrt(1 / len(old) + 1 / len(new)), noise)
    return TimeChange(
        measure, scenario, median(old), median(new), ratio, cliffs_delta(old, new),
        _improbable(ratio, spread, noise), mann_whitney(old, new), min(len(old), len(new)),
        noise, spread)


def _spread(error: float, noise: Noise) -> float:
    """Return the standard deviation of the difference of two runs alike."""
    return sqrt(error ** 2 + 2 * noise.run ** 2)


def _improbable(ratio: float, spread: float, noise: Noise) -> float:
    """Return how probable such a difference, this way or the other, is in two runs alike."""
    return min(1.0, 2 * tail(abs(ratio) / spread, noise.runs - 1 if noise.runs else None))


def _logs(values: Sequence[float]) -> list[float]:
    return [log(value) for value in values]
