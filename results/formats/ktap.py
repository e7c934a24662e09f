# SPDX-License-Identifier: GPL-2.0-or-later
"""KTAP, version 1 (Documentation/dev-tools/ktap.rst of the kernel): a line for each scenario.

Its checks are subtests. A known issue is "ok" with "# XFAIL", as in kselftest; an UNKNOWN is "not
ok" with "# ERROR". Only FAIL and UNKNOWN are "not ok".
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from results.formats.recorded import Recorded, clean, counts, identity, scenarios
from results.store import Run
from results.verdict import Outcome, Verdict

NOT_OK = frozenset({Outcome.FAIL, Outcome.UNKNOWN})


def write(run: Run, path: Path) -> Path:
    """Write the file and return its path."""
    found = list(scenarios(run))
    path.write_text("\n".join(_lines(run, found)) + "\n", encoding="utf-8")
    return path


def _lines(run: Run, found: list[Recorded]) -> Iterator[str]:
    yield "KTAP version 1"
    yield from (f"# {name}: {_line(value)}" for name, value in identity(run).items())
    yield f"1..{len(found)}"
    for number, each in enumerate(found, 1):
        yield from _subtests(each)
        yield from (_line(f"# {_name(each.name)}: {slow}") for slow in each.judgement.slow)
        outcome = each.judgement.outcome
        word = "not ok" if outcome in NOT_OK else "ok"
        yield _line(f"{word} {number} {_name(each.name)}{_directive(each)}")
    totals = counts(found).items()
    yield "# Totals: " + " ".join(f"{word.lower()}:{count}" for word, count in totals)


def _directive(each: Recorded) -> str:
    judgement = each.judgement
    known = f"{judgement.known.id}{judgement.recognised}" if judgement.known else ""
    words = {Outcome.KNOWN: f"XFAIL {known}", Outcome.FIXED: f"FIXED {known}",
             Outcome.UNKNOWN: f"ERROR {judgement.reason}", Outcome.FAIL: judgement.reason}
    found = words.get(judgement.outcome)
    return f" # {found.strip()}" if found else ""


def _subtests(each: Recorded) -> Iterator[str]:
    checks = each.judgement.checks
    yield "  KTAP version 1"
    yield f"  1..{len(checks)}"
    for number, check in enumerate(checks, 1):
        word = "ok" if check.verdict is Verdict.PASS else "not ok"
        directive = "" if check.verdict is Verdict.PASS else f" # {check.verdict} {check.reason}"
        yield _line(f"  {word} {number} {_name(check.name)}{directive}")


def _name(words: str) -> str:
    """Return a description without "#", which would begin a directive."""
    return words.replace("#", "_")


def _line(words: str) -> str:
    return clean(words.replace("\n", " / ").replace("\r", " "))
