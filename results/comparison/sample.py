"""What a comparison looks at: one scenario of one run, as the index has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from results.verdict import Outcome


@dataclass(frozen=True)
class Sample:
    """One recorded scenario. ``figures``: seconds, by the names of ``results.index.FIGURES``."""

    run: str
    scenario: str
    outcome: Outcome
    reason: str = ""
    folder: str = ""
    figures: Mapping[str, float | None] | None = None

    def figure(self, name: str) -> float | None:
        """Return a figure that says how long something took; None where nothing did."""
        value = (self.figures or {}).get(name)
        return value if value and value > 0 else None


def by_scenario(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    """Group repetitions."""
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.scenario, []).append(sample)
    return groups


def figures_of(samples: Sequence[Sample], name: str) -> list[float]:
    """Return a figure of the repetitions that passed; a failure's times tell of the failure."""
    found = (sample.figure(name) for sample in samples if sample.outcome in FINE)
    return [value for value in found if value is not None]


FINE = frozenset({Outcome.PASS, Outcome.FIXED})
"""Outcomes of scenarios that ran as they should."""
