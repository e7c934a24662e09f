# SPDX-License-Identifier: GPL-2.0-or-later
"""The differences in verdicts between two runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from results.comparison.sample import Sample
from results.verdict import Outcome


class Change(StrEnum):
    """A scenario's change from one run to the other, in the order of the report."""

    NEW_FAIL = "new FAIL"
    NO_VERDICT = "no verdict any more"
    VANISHED = "vanished"
    FLAKY = "flaky"
    KNOWN = "KNOWN now"
    FIXED = "FIXED"
    NEW = "new"


WORSE = frozenset({Change.NEW_FAIL, Change.NO_VERDICT, Change.VANISHED})
"""Changes for the worse. A verdict or scenario that the later run lacks is one, too: it is no
pass."""


@dataclass(frozen=True)
class VerdictChange:
    """A scenario whose verdicts changed. ``before``, ``after``: outcomes of its repetitions."""

    scenario: str
    change: Change
    before: tuple[Outcome, ...]
    after: tuple[Outcome, ...]
    reason: str = ""
    folder: str = ""

    @property
    def worse(self) -> bool:
        """Whether the change is for the worse. A new scenario that fails is."""
        return self.change in WORSE or (self.change is Change.NEW and Outcome.FAIL in self.after)


def verdict_changes(
    before: Mapping[str, Sequence[Sample]], after: Mapping[str, Sequence[Sample]],
    flaky: frozenset[str] = frozenset(),
) -> list[VerdictChange]:
    """Return the changes, the worst first.

    ``flaky``: scenarios with different outcomes on one version of target and kernel. Their failures
    are reported, but are not new.
    """
    found = []
    for scenario in dict.fromkeys([*before, *after]):
        old, new = before.get(scenario, ()), after.get(scenario, ())
        change = _change(_outcomes(old), _outcomes(new), scenario in flaky)
        if change:
            deciding = next((each for each in new if each.outcome in DECIDING),
                            new[0] if new else old[0])
            found.append(VerdictChange(scenario, change, _outcomes(old), _outcomes(new),
                                       deciding.reason, deciding.folder if new else ""))
    order = list(Change)
    return sorted(found, key=lambda each: (not each.worse, order.index(each.change),
                                           each.scenario))


DECIDING = frozenset({Outcome.FAIL, Outcome.UNKNOWN, Outcome.KNOWN})
"""Outcomes that have a reason."""


def _outcomes(samples: Sequence[Sample]) -> tuple[Outcome, ...]:
    return tuple(sample.outcome for sample in samples)


def _change(
    before: Sequence[Outcome], after: Sequence[Outcome], flaky: bool,
) -> Change | None:
    if not before or not after:
        return Change.NEW if after else Change.VANISHED
    if Outcome.FAIL in after:
        return _failing(before, after, flaky)
    appeared = set(after) - set(before)
    if Outcome.UNKNOWN in appeared:
        return Change.NO_VERDICT
    if Outcome.FAIL in before or Outcome.FIXED in appeared:
        return _mended(before, after, flaky)
    return Change.KNOWN if Outcome.KNOWN in appeared else None


def _failing(before: Sequence[Outcome], after: Sequence[Outcome], flaky: bool) -> Change | None:
    """Return the change of a scenario that fails now."""
    if Outcome.FAIL in before:
        return Change.FLAKY if _mixed(before) != _mixed(after) else None
    return Change.FLAKY if flaky else Change.NEW_FAIL


def _mended(before: Sequence[Outcome], after: Sequence[Outcome], flaky: bool) -> Change:
    """Return the change of a scenario that no longer fails."""
    if Outcome.KNOWN in after:
        return Change.KNOWN
    return Change.FLAKY if flaky or _mixed(before) else Change.FIXED


def _mixed(outcomes: Sequence[Outcome]) -> bool:
    return len(set(outcomes)) > 1
