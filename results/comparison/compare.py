"""The comparison of two runs that the index knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from sqlalchemy import Connection

from results import questions
from results.comparison.sample import Sample, by_scenario
from results.comparison.times import TimeChange, time_changes
from results.comparison.verdicts import VerdictChange, verdict_changes
from results.store import Run, kernel_in_id
from results.verdict import Outcome


@dataclass(frozen=True)
class Comparison:
    """What changed from one run to another.

    ``common``: how many scenarios both have. ``notes``: what makes them hard to compare, in words.
    """

    before: str
    after: str
    common: int
    verdicts: Sequence[VerdictChange]
    times: Sequence[TimeChange]
    notes: Sequence[str] = ()

    @property
    def worse(self) -> bool:
        """Whether anything is worse."""
        return any(each.worse for each in self.verdicts) or any(
            each.worse for each in self.times)


def compare(old: Connection, before: Run, new: Connection, after: Run) -> Comparison:
    """Compare two runs, each in its index; of different kernels, question by question.

    What is noise, and who is flaky, the later one's index knows.
    """
    one, two = before.path.name, after.path.name
    was, is_ = questions.samples(old, one), questions.samples(new, two)
    notes = _notes(questions.conditions(old, one), questions.conditions(new, two))
    kernels = _only_kernel(before), _only_kernel(after)
    if all(kernels) and kernels[0] != kernels[1]:
        was, is_ = _anywhere(was, kernels[0]), _anywhere(is_, kernels[1])
        notes.append(f"kernel {kernels[0]} is compared with {kernels[1]}")
    groups = by_scenario(was), by_scenario(is_)
    failed = any(each.outcome is Outcome.FAIL for each in (*was, *is_))
    flaky = frozenset(each.scenario for each in questions.disagreements(
        new, besides=[one, two])) if failed else frozenset()
    past = questions.earlier(new, two, besides=[one])
    return Comparison(
        one, two, len(groups[0].keys() & groups[1].keys()),
        verdict_changes(*groups, flaky), time_changes(*groups, past), notes)


def _notes(was: questions.Conditions, is_: questions.Conditions) -> list[str]:
    before, after = asdict(was), asdict(is_)
    return [f"another {what}: {_word(before[what])}, then {_word(after[what])}"
            for what in before if before[what] != after[what]]


def _word(value: str | None) -> str:
    return "unknown" if value is None else value or "none"


def _only_kernel(run: Run) -> str:
    """Return a run's kernel by its name in ids, or "" when it had several."""
    kernels = run.record().get("kernels")
    return kernel_in_id(kernels[0]["name"]) if kernels and len(kernels) == 1 else ""


def _anywhere(samples: Sequence[Sample], kernel: str) -> list[Sample]:
    """Return samples whose scenarios no longer say on which kernel they ran."""
    return [replace(each, scenario=each.scenario.replace(f"-{kernel}-", "-*-", 1))
            for each in samples]
