# SPDX-License-Identifier: GPL-2.0-or-later
"""Cases of a matrix in batches: one scenario makes the calls of one batch, in one guest.

``--call N[-M][,...]`` makes some of the calls in one scenario: the single call that a FAIL names,
or as many as it takes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fixtures.scenario import Arrangement, Plan, Selection
from fixtures.workload.stamps import StampJob
from inject.interface import CALLS
from inject.point import NOTHING_HELD
from results.errors import WrongUsageError
from targets.target import Transport

BATCH = 25
"""Calls of one scenario: some ten seconds under emulation."""

BESIDE = StampJob(threads=2, rate_iops=40, blocks=32)
"""The load of another backend's device, which must not notice the calls."""

RANGE = re.compile(r"([1-9]\d*)(?:-([1-9]\d*))?", re.ASCII)


@dataclass(frozen=True)
class Case:
    """One call. ``number``: in the matrix, from 1; 0 for a reproducer. ``fields``: by dimension."""

    number: int
    fields: Mapping[str, str]

    @property
    def words(self) -> str:
        """The case as a line of a report."""
        return f"call {self.number}: " + ", ".join(
            f"{name} {value}" for name, value in self.fields.items())


@dataclass(frozen=True)
class Batch:
    """Cases that one scenario makes. ``alone``: without a device of another backend."""

    cases: tuple[Case, ...]
    alone: bool = False


def numbered(cells: Sequence[Mapping[str, Any]]) -> list[Case]:
    """Return the cells as cases, numbered from 1 in their order."""
    return [Case(number, {name: str(value) for name, value in cell.items()})
            for number, cell in enumerate(cells, 1)]


def wanted(text: str, cases: Sequence[Case]) -> list[Case]:
    """Return the cases of a ``--call`` option. Raises WrongUsageError."""
    found: list[Case] = []
    for part in text.split(","):
        match = RANGE.fullmatch(part.strip())
        if match is None:
            raise WrongUsageError(f"--call takes N[-M][,N[-M]...], not {text!r}")
        first, last = int(match[1]), int(match[2] or match[1])
        some = [case for case in cases if first <= case.number <= last]
        if not some:
            raise WrongUsageError(f"--call {part}: there are the calls 1 to {len(cases)}")
        found += some
    return found


def plans(
    selection: Selection, cases: Sequence[Case], kind: str,
    is_alone: Callable[[Case], bool] = lambda case: False,
) -> Iterator[Plan]:
    """Yield a plan for each batch, or one for the calls of ``--call``.

    ``kind``: of the calls, in ids. ``is_alone``: whether a case needs a machine without a device of
    another backend.
    """
    for alone in (False, True):
        mine = [case for case in cases if is_alone(case) == alone]
        if selection.call is not None:
            some = [case for case in wanted(selection.call, cases) if is_alone(case) == alone]
            if some:
                yield plan(kind, f"{'alone-' * alone}call{selection.call}".replace(",", "."),
                           Batch(tuple(some), alone))
            continue
        for number, first in enumerate(range(0, len(mine), BATCH), 1):
            yield plan(kind, f"{'alone' if alone else 'part'}{number}", Batch(
                tuple(mine[first:first + BATCH]), alone))


def plan(kind: str, name: str, batch: Batch) -> Plan:
    """Return the plan of a batch. ``name``: distinguishes it in ids."""
    return Plan(CALLS, NOTHING_HELD, Arrangement.stamped(BESIDE, transport=Transport.LOOPBACK),
                variant=f"{kind}-{name}", arguments={"batch": batch})
