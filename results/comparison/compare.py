# SPDX-License-Identifier: GPL-2.0-or-later
"""The comparison of two indexed runs."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import asdict, dataclass, replace
from math import log

from sqlalchemy import Connection

from results import queries
from results.comparison.noise import MEASURED, MEASURED_CALIBRATED
from results.comparison.sample import (
    BUSIER,
    Sample,
    by_run,
    by_scenario,
    calibrated,
    spin_of,
    wait_of,
)
from results.comparison.times import MATTERS, TimeChange, time_changes
from results.comparison.verdicts import VerdictChange, verdict_changes
from results.identity import differences
from results.store import Run, kernel_in_id
from results.verdict import Outcome


@dataclass(frozen=True)
class Comparison:
    """The changes from one run to another.

    ``common``: number of scenarios in both. ``notes``: conditions that limit the comparison, as
    text.
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
    """Compare two runs, each in its index; runs of different kernels, scenario by scenario.

    Noise and flaky scenarios are taken from the later run's index.
    """
    one, two = before.path.name, after.path.name
    was, is_ = queries.samples(old, one), queries.samples(new, two)
    notes = _notes(queries.conditions(old, one), queries.conditions(new, two))
    notes += differences(before.record(), after.record())
    kernels = _only_kernel(before), _only_kernel(after)
    if all(kernels) and kernels[0] != kernels[1]:
        was, is_ = _anywhere(was, kernels[0]), _anywhere(is_, kernels[1])
        notes.append(f"kernel {kernels[0]} is compared with {kernels[1]}")
    past = queries.earlier(new, two, besides=[one])
    both = {each.scenario for each in was} & {each.scenario for each in is_}
    waits = tuple(wait_of([each for each in run if each.scenario in both]) for run in (was, is_))
    if waits[0] and waits[1] and abs(waits[1] - waits[0]) > BUSIER:
        past = []  # the noise between hosts of different load was never measured
        notes.append(f"the guest waited for the host's CPUs for {waits[0]:.0%} of its time, then "
                     f"for {waits[1]:.0%}: times are compared as between an idle and a busy host")
    elif waits[1]:
        past = _as_busy(past, waits[1], both)
    spins, usual = (spin_of(was), spin_of(is_)), MEASURED
    if spins[0] and spins[1]:
        was, is_, past = (calibrated(each, spins[0]) for each in (was, is_, past))
        usual = MEASURED_CALIBRATED
        notes += _speed_note(spins[0] / spins[1])
    was, left_out = _selected(was, after)
    notes += left_out
    groups = by_scenario(was), by_scenario(is_)
    failed = any(each.outcome is Outcome.FAIL for each in (*was, *is_))
    flaky = frozenset(each.scenario for each in queries.disagreements(
        new, besides=[one, two])) if failed else frozenset()
    return Comparison(
        one, two, len(groups[0].keys() & groups[1].keys()),
        verdict_changes(*groups, flaky), time_changes(*groups, past, usual), notes)


def _as_busy(past: Sequence[Sample], wait: float, of: Container[str]) -> list[Sample]:
    """Return the samples of runs on an equally busy host.

    ``of``: the scenarios compared. A run without the figure counts as equally busy.
    """
    def alike(run: Sequence[Sample]) -> bool:
        theirs = wait_of([each for each in run if each.scenario in of])
        return theirs is None or abs(theirs - wait) <= BUSIER

    return [sample for run in by_run(past).values() if alike(run) for sample in run]


def _speed_note(faster: float) -> list[str]:
    """Return a note on the converted times if the guest's speed changed by more than a tenth."""
    if abs(log(faster)) < MATTERS:
        return []
    return [f"the guest was {faster:.2f} times as fast in the later run: service and median "
            "latencies are converted to the speed of the earlier one"]


def _notes(was: queries.Conditions, is_: queries.Conditions) -> list[str]:
    before, after = asdict(was), asdict(is_)
    return [f"another {what}: {_word(before[what])}, then {_word(after[what])}"
            for what in before if before[what] != after[what]]


def _selected(samples: list[Sample], after: Run) -> tuple[list[Sample], list[str]]:
    """Return the samples of scenarios that the later run selected, and a note on the others.

    A run of a subset is not worse for the scenarios outside it.
    """
    planned = after.record().get("planned")
    if planned is None:
        return samples, []
    kept = [each for each in samples if each.scenario in planned or "-*-" in each.scenario]
    out = {each.scenario for each in samples} - {each.scenario for each in kept}
    return kept, [f"{len(out)} scenarios of the earlier run were not selected in the later one"] \
        if out else []


def _word(value: str | None) -> str:
    return "unknown" if value is None else value or "none"


def _only_kernel(run: Run) -> str:
    """Return a run's kernel by its name in ids, or "" when it had several."""
    kernels = run.record().get("kernels")
    return kernel_in_id(kernels[0]["name"]) if kernels and len(kernels) == 1 else ""


def _anywhere(samples: Sequence[Sample], kernel: str) -> list[Sample]:
    """Return samples with the kernel's name in the scenarios' ids replaced by "*"."""
    return [replace(each, scenario=each.scenario.replace(f"-{kernel}-", "-*-", 1))
            for each in samples]
