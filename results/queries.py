# SPDX-License-Identifier: GPL-2.0-or-later
"""Queries of the index: scenarios of a run, comparable runs, a scenario's past, flaky scenarios."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from results.comparison.noise import RUNS_MAX
from results.comparison.sample import Sample
from results.index import FIGURES, names, rows, runs
from results.verdict import Outcome

PAST = 50
"""Number of newest runs that are searched for flaky scenarios."""

JOINED = rows.join(runs, rows.c.run == runs.c.id).join(names, rows.c.name == names.c.id)


@dataclass(frozen=True)
class Conditions:
    """The conditions, besides the kernels, under which the times of two runs are comparable.

    ``append``: additional parameters of the guests' kernel command line; "" for none.
    """

    target: str | None
    accelerator: str | None
    host: str | None
    append: str = ""


@dataclass(frozen=True)
class Past:
    """A scenario in a run.

    ``version``: the target's; ``kernel``: its release; ``identity``: a short name of the target
    with all its parts (results.identity), "" where they are not recorded.
    """

    run: str
    started: str
    scenario: str
    folder: str
    kernel: str
    version: str
    outcome: Outcome
    decided_by: str
    reason: str
    known: str
    figures: Mapping[str, float | None] = field(default_factory=dict)
    identity: str = ""


@dataclass(frozen=True)
class Disagreement:
    """A scenario with more than one outcome on the same target and kernel, of one identity.

    ``chance``: probability that two of its runs, picked at random, differ. ``outcomes``: number of
    runs by outcome. ``identity``: as in ``Past``.
    """

    scenario: str
    kernel: str
    version: str
    chance: float
    outcomes: Mapping[str, int]
    identity: str = ""

    @property
    def times(self) -> int:
        """Number of its runs."""
        return sum(self.outcomes.values())


def samples(connection: Connection, run: str) -> list[Sample]:
    """Return the scenarios of a run."""
    return _samples(connection, runs.c.name == run)


def conditions(connection: Connection, run: str) -> Conditions:
    """Return a run's conditions."""
    row = connection.execute(select(runs.c.target, runs.c.accelerator, runs.c.host,
                                    runs.c.append)
                             .where(runs.c.name == run)).one()
    return Conditions(row.target, row.accelerator, row.host, row.append)


def earlier(connection: Connection, run: str, *, besides: Sequence[str]) -> list[Sample]:
    """Return the scenarios of the newest completed runs with the same conditions as a run."""
    wanted = conditions(connection, run)
    alike = (
        select(runs.c.id)
        .where(runs.c.target == wanted.target, runs.c.accelerator == wanted.accelerator,
               runs.c.host == wanted.host, runs.c.append == wanted.append,
               runs.c.name.not_in([run, *besides]),
               runs.c.ended.is_not(None), runs.c.started <= _started(connection, run))
        .order_by(runs.c.started.desc()).limit(RUNS_MAX))
    return _samples(connection, rows.c.run.in_(alike))


def past(
    connection: Connection, run: str, releases: Sequence[str], scenarios: Sequence[str],
) -> list[Sample]:
    """Return scenarios in the newest runs on such a target and host as a run's, the newest first.

    The runs before it with the same target, family of versions (the version's first word),
    accelerator, number of CPUs and command line; the host's name may differ. ``releases``: of the
    kernels.
    """
    own = connection.execute(select(runs).where(runs.c.name == run)).one()
    family = (own.version or "").partition(" ")[0]
    alike = (
        select(runs.c.id)
        .where(runs.c.target == own.target, runs.c.accelerator == own.accelerator,
               runs.c.cpus == own.cpus, runs.c.append == own.append, runs.c.name != run,
               (runs.c.version == family) | runs.c.version.startswith(f"{family} ",
                                                                      autoescape=True)
               if family else runs.c.version.is_(None),
               runs.c.started <= (own.started or ""))
        .order_by(runs.c.started.desc()).limit(PAST))
    wanted = set(scenarios)
    found = _samples(connection, rows.c.run.in_(alike) & rows.c.kernel.in_(releases),
                     runs.c.started.desc(), runs.c.name.desc())
    return [sample for sample in found if sample.scenario in wanted]


def _started(connection: Connection, run: str) -> str:
    return str(connection.scalar(select(runs.c.started).where(runs.c.name == run)) or "")


def _samples(
    connection: Connection, where: ColumnElement[bool], *order: ColumnElement[Any],
) -> list[Sample]:
    found = connection.execute(
        select(runs.c.name.label("run_name"), names.c.scenario, rows.c.outcome, rows.c.reason,
               rows.c.folder, *(rows.c[figure] for figure in FIGURES))
        .select_from(JOINED).where(where).order_by(*order, rows.c.id))
    return [Sample(run, scenario, outcome(word), reason or "", folder,
                   dict(zip(FIGURES, figures, strict=True)))
            for run, scenario, word, reason, folder, *figures in found]


def outcome(word: str) -> Outcome:
    """Return an outcome by its name; UNKNOWN for a name that only a later version defines."""
    return OUTCOMES.get(word, Outcome.UNKNOWN)


OUTCOMES: Mapping[str, Outcome] = {str(each): each for each in Outcome}


def _figures(row: Any) -> dict[str, float | None]:
    return {figure: getattr(row, figure) for figure in FIGURES}


def history(connection: Connection, pattern: str) -> list[Past]:
    """Return the past of the scenarios whose ids match a shell pattern, oldest first."""
    found = connection.execute(
        select(runs.c.name.label("run_name"), runs.c.started, runs.c.version, names.c.scenario,
               rows.c.folder, rows.c.kernel, rows.c.outcome, rows.c.decided_by, rows.c.reason,
               rows.c.known, rows.c.identity, *(rows.c[figure] for figure in FIGURES))
        .select_from(JOINED)
        .where(rows.c.name.in_(select(names.c.id).where(names.c.scenario.op("GLOB")(pattern))))
        .order_by(runs.c.started, runs.c.name, names.c.scenario, rows.c.id))
    return [Past(row.run_name, row.started or "", row.scenario, row.folder, row.kernel or "",
                 row.version or "", outcome(row.outcome), row.decided_by or "", row.reason or "",
                 row.known or "", _figures(row), row.identity or "") for row in found]


def scenarios(connection: Connection, beginning: str) -> list[str]:
    """Return the ids of scenarios with the given beginning."""
    return list(connection.scalars(
        select(names.c.scenario).where(names.c.scenario.startswith(beginning, autoescape=True))
        .order_by(names.c.scenario)))


def disagreements(
    connection: Connection, *, target: str | None = None, last: int = PAST,
    besides: Sequence[str] = (),
) -> list[Disagreement]:
    """Return the flaky scenarios of the newest runs (without ``besides``), most flaky first.

    KNOWN counts as a failure and FIXED as a pass. UNKNOWN counts as neither.
    """
    newest = select(runs.c.id).where(runs.c.name.not_in(besides)).order_by(
        runs.c.started.desc()).limit(last)
    if target:
        newest = newest.where(runs.c.target == target)
    found = connection.execute(
        select(names.c.scenario, rows.c.kernel, runs.c.version, rows.c.identity, rows.c.outcome,
               func.count().label("times"))
        .select_from(JOINED)
        .where(rows.c.run.in_(newest), rows.c.outcome != Outcome.UNKNOWN)
        .group_by(names.c.scenario, rows.c.kernel, runs.c.version, rows.c.identity,
                  rows.c.outcome))
    groups: dict[tuple[str, str, str, str], dict[str, int]] = {}
    for row in found:
        key = (row.scenario, row.kernel or "", row.version or "", row.identity or "")
        groups.setdefault(key, {})[row.outcome] = row.times
    ranked = [Disagreement(*key[:3], chance_to_differ(outcomes), outcomes, key[3])
              for key, outcomes in groups.items() if chance_to_differ(outcomes)]
    return sorted(ranked, key=lambda each: (-each.chance, -each.times, each.scenario))


def chance_to_differ(outcomes: Mapping[str, int]) -> float:
    """Return the probability that of two runs exactly one failed."""
    failed = sum(times for word, times in outcomes.items() if word in FAILED)
    times = sum(outcomes.values())
    return 2 * failed * (times - failed) / (times * (times - 1)) if times > 1 else 0.0


FAILED = frozenset({Outcome.FAIL, Outcome.KNOWN})
"""Outcomes of a FAIL verdict."""
