"""Verdicts: PASS, FAIL or UNKNOWN, of one check and of a scenario.

A scenario's verdict composes its checks by priority, FAIL over UNKNOWN over PASS, and says
which check decided. Its outcome is what the run makes of that verdict, knowing what is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """PASS: looked, and it was right. FAIL: it was wrong. UNKNOWN: could not tell."""

    PASS = "PASS"
    FAIL = "FAIL"
    UNKNOWN = "UNKNOWN"


class Outcome(StrEnum):
    """What a verdict means for the run.

    KNOWN: a FAIL that is a known issue's. FIXED: a PASS where a known issue was expected.
    Neither fails the run.
    """

    PASS = "PASS"
    FAIL = "FAIL"
    UNKNOWN = "UNKNOWN"
    KNOWN = "KNOWN"
    FIXED = "FIXED"


PRIORITY = (Verdict.FAIL, Verdict.UNKNOWN, Verdict.PASS)
"""Which verdict of several decides, first of these that occurs."""


@dataclass(frozen=True)
class Figure:
    """A measured value with its unit ("s", "1", "B"; None when there was nothing to measure)."""

    value: float | None
    unit: str


@dataclass(frozen=True)
class Signature:
    """One thing that a check found wrong, named alike in every run and on every kernel.

    ``kind``: what it is ("soft lockup", "spinning", "open"). ``anchors``: where it is: titles,
    functions, task names without their instance, operations. No number of one run is in them.
    """

    kind: str
    anchors: tuple[str, ...] = ()

    @classmethod
    def of(cls, kind: str, *anchors: str | None) -> Signature:
        """Make a signature of the anchors there are, each once, in this order."""
        return cls(kind, tuple(dict.fromkeys(anchor for anchor in anchors if anchor)))


@dataclass(frozen=True)
class Check:
    """What one checker says. ``reason``: one sentence a person can act on.

    ``evidence``: what the reason rests on, as JSON values (event excerpts, task names, log
    lines). ``figures``: name to measured value. ``signatures``: of a FAIL, everything that was
    found wrong, not only what the reason names.
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


def deciding(checks: Sequence[Check]) -> Check | None:
    """Return the first check whose verdict is the scenario's, or None without checks."""
    verdict = compose(checks)
    return next((check for check in checks if check.verdict is verdict), None)
