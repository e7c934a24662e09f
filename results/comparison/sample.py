# SPDX-License-Identifier: GPL-2.0-or-later
"""The unit of a comparison: one scenario of one run, as recorded in the index."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from results.calibration import SPIN
from results.service import IN_SPINS
from results.starvation import WAIT
from results.verdict import Outcome

SERVICE = "service_p25"

CALIBRATED = frozenset({SERVICE, "latency_before_p50", "latency_after_p50"})
"""Figures that consist almost only of CPU work: a guest twice as fast takes half as long. The
maximum of a command or a teardown is mostly a timeout, which no CPU shortens."""


BUSIER = 0.15
"""Difference of the shares of waiting time above which two hosts do not count as equally busy:
alone a guest waits for 0.11 to 0.18 of its time, with two others for 0.5 to 0.7
(results.starvation)."""


@dataclass(frozen=True)
class Sample:
    """One recorded scenario. ``figures``: by the names of ``results.index.FIGURES``."""

    run: str
    scenario: str
    outcome: Outcome
    reason: str = ""
    folder: str = ""
    figures: Mapping[str, float | None] | None = None

    def figure(self, name: str) -> float | None:
        """Return a duration by its name; None where nothing was measured."""
        value = (self.figures or {}).get(name)
        return value if value and value > 0 else None


def spin_of(samples: Iterable[Sample]) -> float | None:
    """Return the median duration of a spin in a run's scenarios, in seconds.

    None where no scenario has the figure.
    """
    return _usual(SPIN, samples)


def wait_of(samples: Iterable[Sample]) -> float | None:
    """Return the median share of time that a run's guest waited for the host's CPUs, or None."""
    return _usual(WAIT, samples)


def _usual(name: str, samples: Iterable[Sample]) -> float | None:
    found = [sample.figure(name) for sample in samples if sample.outcome in FINE]
    return median([value for value in found if value]) if any(found) else None


def calibrated(samples: Sequence[Sample], to_spin: float) -> list[Sample]:
    """Return samples converted to guests in which a spin takes ``to_spin`` seconds.

    A sample without a spin of its own is converted with its run's; where the run has none either,
    its times of CPU work are dropped.
    """
    usual = {run: spin_of(each) for run, each in by_run(samples).items()}
    return [_calibrated(sample, to_spin, sample.figure(SPIN) or usual[sample.run])
            for sample in samples]


def _calibrated(sample: Sample, to_spin: float, spin: float | None) -> Sample:
    figures = dict(sample.figures or {})
    for name in CALIBRATED:
        value = figures.get(name)
        figures[name] = value * to_spin / spin if value and spin else None
    if in_spins := sample.figure(IN_SPINS):  # each command's by the spin beside it
        figures[SERVICE] = in_spins * to_spin
    return Sample(sample.run, sample.scenario, sample.outcome, sample.reason, sample.folder,
                  figures)


def by_run(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    """Group samples of the same run."""
    return _grouped(samples, lambda sample: sample.run)


def by_scenario(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    """Group repetitions of the same scenario."""
    return _grouped(samples, lambda sample: sample.scenario)


def _grouped(samples: Iterable[Sample], key: Callable[[Sample], str]) -> dict[str, list[Sample]]:
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(key(sample), []).append(sample)
    return groups


def figures_of(samples: Sequence[Sample], name: str) -> list[float]:
    """Return a figure of the repetitions that passed; a failure's times depend on the failure."""
    found = (sample.figure(name) for sample in samples if sample.outcome in FINE)
    return [value for value in found if value is not None]


FINE = frozenset({Outcome.PASS, Outcome.FIXED})
"""Outcomes of scenarios that ran correctly."""
