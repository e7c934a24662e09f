# SPDX-License-Identifier: GPL-2.0-or-later
"""Verdicts: PASS, FAIL or UNKNOWN, of one check and of a scenario.

A scenario's verdict composes its checks by priority, FAIL over UNKNOWN over PASS, and names the
deciding check. Its outcome is the meaning of that verdict for the run, given the known issues.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """PASS: checked and correct. FAIL: found wrong. UNKNOWN: could not be determined."""

    PASS = "PASS"
    FAIL = "FAIL"
    UNKNOWN = "UNKNOWN"


class Outcome(StrEnum):
    """A verdict's meaning for the run.

    KNOWN: a FAIL that a known issue explains. FIXED: a PASS where a known issue was expected.
    Neither fails the run.
    """

    PASS = "PASS"
    FAIL = "FAIL"
    UNKNOWN = "UNKNOWN"
    KNOWN = "KNOWN"
    FIXED = "FIXED"


PRIORITY = (Verdict.FAIL, Verdict.UNKNOWN, Verdict.PASS)
"""Priority of verdicts: of several checks', the first in this order decides."""


@dataclass(frozen=True)
class Figure:
    """A measured value with its unit ("s", "1", "B"); None when there was nothing to measure."""

    value: float | None
    unit: str


@dataclass(frozen=True)
class Slow:
    """A time far outside the scenario's past (results.comparison.slow).

    ``figure``: its name; ``measure``: in words. ``value`` and, of ``runs`` earlier runs, the median
    ``usual`` and the maximum ``most``: in seconds.
    """

    figure: str
    measure: str
    value: float
    usual: float
    most: float
    runs: int

    def __str__(self) -> str:
        return (f"SLOW: {self.measure} {self.value:.2f} s; in {self.runs} earlier runs "
                f"{self.usual:.2f} s, at most {self.most:.2f} s")


@dataclass(frozen=True)
class Signature:
    """One thing that a check found wrong, named alike in every run and on every kernel.

    ``kind``: its kind ("soft lockup", "spinning", "open"). ``anchors``: its place: titles,
    functions, task names without their instance, operations. Neither contains numbers of one run.
    """

    kind: str
    anchors: tuple[str, ...] = ()

    @classmethod
    def of(cls, kind: str, *anchors: str | None) -> Signature:
        """Make a signature of the anchors that are not empty, each once, in this order."""
        return cls(kind, tuple(dict.fromkeys(anchor for anchor in anchors if anchor)))


@dataclass(frozen=True)
class Check:
    """The result of one checker. ``reason``: one sentence a person can act on.

    ``evidence``: the facts behind the reason, as JSON values (event excerpts, task names, log
    lines). ``figures``: name to measured value. ``signatures``: for a FAIL, everything that was
    found wrong, not only the subject of the reason.
    """

    name: str
    verdict: Verdict
    reason: str
    evidence: Sequence[Any] = ()
    figures: Mapping[str, Figure] = field(default_factory=dict)
    signatures: Sequence[Signature] = ()


def compose(checks: Sequence[Check]) -> Verdict:
    """Return the verdict of a scenario from its checks; UNKNOWN when there are none."""
    found = {check.verdict for check in checks}
    return next((verdict for verdict in PRIORITY if verdict in found), Verdict.UNKNOWN)


CAUSES = ("machine", "operations")
"""Checks whose UNKNOWN explains others: a machine was lost, a step of the scenario failed."""


def deciding(checks: Sequence[Check]) -> Check | None:
    """Return the first check whose verdict is the scenario's, or None without checks.

    Of UNKNOWN ones: a cause comes before what could not be judged because of it.
    """
    verdict = compose(checks)
    found = [check for check in checks if check.verdict is verdict]
    causes = [check for name in CAUSES for check in found
              if check.name == name and verdict is Verdict.UNKNOWN]
    return next(iter(causes or found), None)
