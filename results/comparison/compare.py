"""The comparison of two runs that the index knows."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import asdict, dataclass, replace
from math import log

from sqlalchemy import Connection

from results import queries
from results.comparison.noise import MEASURED, MEASURED_CALIBRATED
from results.comparison.sample import Sample, by_run, by_scenario, calibrated, spin_of, wait_of
from results.comparison.times import MATTERS, TimeChange, time_changes
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
    was, is_ = queries.samples(old, one), queries.samples(new, two)
    notes = _notes(queries.conditions(old, one), queries.conditions(new, two))
    kernels = _only_kernel(before), _only_kernel(after)
    if all(kernels) and kernels[0] != kernels[1]:
        was, is_ = _anywhere(was, kernels[0]), _anywhere(is_, kernels[1])
        notes.append(f"kernel {kernels[0]} is compared with {kernels[1]}")
    past = queries.earlier(new, two, besides=[one])
    both = {each.scenario for each in was} & {each.scenario for each in is_}
    waits = tuple(wait_of([each for each in run if each.scenario in both]) for run in (was, is_))
    if waits[0] and waits[1] and abs(waits[1] - waits[0]) > BUSIER:
        past = []  # what they differ in when nothing changed was never seen
        notes.append(f"the guest waited for the host's CPUs for {waits[0]:.0%} of its time, then "
                     f"for {waits[1]:.0%}: times are compared as between an idle and a busy host")
    elif waits[1]:
        past = _as_busy(past, waits[1], both)
    spins, usual = (spin_of(was), spin_of(is_)), MEASURED
    if spins[0] and spins[1]:
        was, is_, past = (calibrated(each, spins[0]) for each in (was, is_, past))
        usual = MEASURED_CALIBRATED
        notes += _speed_note(spins[0] / spins[1])
    groups = by_scenario(was), by_scenario(is_)
    failed = any(each.outcome is Outcome.FAIL for each in (*was, *is_))
    flaky = frozenset(each.scenario for each in queries.disagreements(
        new, besides=[one, two])) if failed else frozenset()
    return Comparison(
        one, two, len(groups[0].keys() & groups[1].keys()),
        verdict_changes(*groups, flaky), time_changes(*groups, past, usual), notes)


BUSIER = 0.15
"""Shares of the time that differ by more are of hosts that are not as busy: alone a guest waits for
0.11 to 0.18 of it, beside two others for 0.5 to 0.7 (results.starvation)."""


def _as_busy(past: Sequence[Sample], wait: float, of: Container[str]) -> list[Sample]:
    """Return the samples of runs on a host as busy, by the scenarios they are compared for; what a
    run does not say is taken to be so."""
    def alike(run: Sequence[Sample]) -> bool:
        theirs = wait_of([each for each in run if each.scenario in of])
        return theirs is None or abs(theirs - wait) <= BUSIER

    return [sample for run in by_run(past).values() if alike(run) for sample in run]


def _speed_note(faster: float) -> list[str]:
    """Say of a guest that was faster, or slower, by more than a tenth how its times are told."""
    if abs(log(faster)) < MATTERS:
        return []
    return [f"the guest was {faster:.2f} times as fast in the later run: service and median "
            "latencies are told as if it had been as fast as in the earlier one"]


def _notes(was: queries.Conditions, is_: queries.Conditions) -> list[str]:
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
