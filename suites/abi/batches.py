# SPDX-License-Identifier: GPL-2.0-or-later
"""Cases of a matrix in batches: one scenario makes the calls of one batch, in one guest.

``--call [KIND:]N[-M][,...][/SIZE]`` makes some of the calls: the single call that a FAIL names, or
as many as it takes, in one scenario or in scenarios of SIZE calls each.
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

OPTION = re.compile(r"(?:([a-z]+):)?([^:/]+)(?:/([1-9]\d*))?", re.ASCII)
RANGE = re.compile(r"([1-9]\d*)(?:-([1-9]\d*))?", re.ASCII)


@dataclass(frozen=True)
class Case:
    """One call. ``number``: in the matrix, from 1; 0 for a reproducer. ``fields``: by dimension.

    ``kind``: of the matrix, "" for a target's first one.
    """

    number: int
    fields: Mapping[str, str]
    kind: str = ""

    @property
    def words(self) -> str:
        """The case as a line of a report."""
        prefix = f"{self.kind}:" if self.kind else ""
        return f"call {prefix}{self.number}: " + ", ".join(
            f"{name} {value}" for name, value in self.fields.items())


@dataclass(frozen=True)
class Batch:
    """Cases that one scenario makes. ``alone``: without a device of another backend."""

    cases: tuple[Case, ...]
    alone: bool = False


def numbered(cells: Sequence[Mapping[str, Any]], kind: str = "") -> list[Case]:
    """Return the cells as cases, numbered from 1 in their order."""
    return [Case(number, {name: str(value) for name, value in cell.items()}, kind)
            for number, cell in enumerate(cells, 1)]


@dataclass(frozen=True)
class Wanted:
    """A ``--call`` option: its calls' kind and ranges, and the size of a batch (0: all)."""

    kind: str
    ranges: str
    size: int

    @classmethod
    def parse(cls, text: str) -> Wanted:
        """Return the option's parts. Raises WrongUsageError."""
        match = OPTION.fullmatch(text.strip())
        if match is None:
            raise WrongUsageError(f"--call takes [KIND:]N[-M][,N[-M]...][/SIZE], not {text!r}")
        return cls(match[1] or "", match[2], int(match[3] or 0))


def wanted(text: str, cases: Sequence[Case]) -> list[Case]:
    """Return the cases of a ``--call`` option's ranges. Raises WrongUsageError."""
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
    if selection.call is not None:
        yield from _wanted_plans(Wanted.parse(selection.call), cases, kind, is_alone)
        return
    for alone in (False, True):
        mine = [case for case in cases if is_alone(case) == alone]
        for number, first in enumerate(range(0, len(mine), BATCH), 1):
            yield plan(kind, f"{'alone' if alone else 'part'}{number}", Batch(
                tuple(mine[first:first + BATCH]), alone))


def _wanted_plans(
    option: Wanted, cases: Sequence[Case], kind: str, is_alone: Callable[[Case], bool],
) -> Iterator[Plan]:
    if cases and cases[0].kind != option.kind:
        return
    chosen = wanted(option.ranges, cases)
    for alone in (False, True):
        some = [case for case in chosen if is_alone(case) == alone]
        size = option.size or max(len(some), 1)
        for first in range(0, len(some), size):
            batch = tuple(some[first:first + size])
            name = ranges(batch) if option.size else option.ranges.replace(",", ".")
            yield plan(kind, f"{'alone-' * alone}call{name}", Batch(batch, alone))


def ranges(batch: Sequence[Case]) -> str:
    """Return the first and the last number of a batch: "13-24", or "7" for one call."""
    first, last = batch[0].number, batch[-1].number
    return str(first) if first == last else f"{first}-{last}"


def reproducers(
    selection: Selection, kind: str, fields: Mapping[str, Mapping[str, str]],
    is_alone: Callable[[Case], bool] = lambda case: False,
) -> Iterator[Plan]:
    """Yield a plan for each call that is known to fail, unless ``--call`` chooses others."""
    if selection.call is None:
        for name, each in fields.items():
            case = Case(0, each)
            yield plan(kind, name, Batch((case,), is_alone(case)))


def plan(kind: str, name: str, batch: Batch) -> Plan:
    """Return the plan of a batch. ``name``: distinguishes it in ids."""
    return Plan(CALLS, NOTHING_HELD, Arrangement.stamped(BESIDE, transport=Transport.LOOPBACK),
                variant=f"{kind}-{name}", arguments={"batch": batch})
