# SPDX-License-Identifier: GPL-2.0-or-later
"""A summary in GitHub's Markdown, for a CI page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from results.formats.recorded import Recorded, clean, counts, identity, scenarios
from results.store import Run
from results.verdict import Outcome

LISTED_MAX = 50
"""Maximum scenarios listed for each outcome; a CI service limits the size of a page."""

WORDS_MAX = 400
"""Maximum characters of a reason."""

PUNCTUATION = re.compile(r"([\\`*_{}\[\]()#+!|<>&~$@:])")


def write(run: Run, path: Path) -> Path:
    """Write the file and return its path."""
    path.write_text("\n".join(_lines(run, list(scenarios(run)))) + "\n", encoding="utf-8")
    return path


def _lines(run: Run, found: Sequence[Recorded]) -> Iterator[str]:
    tally = ", ".join(f"{count} {outcome}" for outcome, count in counts(found).items())
    yield f"## SCSI target faults: {tally or 'no scenario'}"
    yield ""
    yield from (f"- {name}: {escaped(value)}" for name, value in identity(run).items())
    for outcome in (Outcome.FAIL, Outcome.UNKNOWN, Outcome.KNOWN, Outcome.FIXED):
        yield from _table(outcome, [each for each in found if each.judgement.outcome is outcome])
    yield from _slow([each for each in found if each.judgement.slow])


def _slow(found: Sequence[Recorded]) -> Iterator[str]:
    """Yield the scenarios far slower than their past, whatever their verdict."""
    if not found:
        return
    yield from ("", "### SLOW", "", "| scenario | outcome | time and past |", "|---|---|---|")
    for each in found[:LISTED_MAX]:
        words = "; ".join(str(slow).removeprefix("SLOW: ") for slow in each.judgement.slow)
        yield f"| {escaped(each.name)} | {each.judgement.outcome} | {escaped(words)} |"
    if len(found) > LISTED_MAX:
        yield from ("", f"... and {len(found) - LISTED_MAX} more")


def _table(outcome: Outcome, found: Sequence[Recorded]) -> Iterator[str]:
    if not found:
        return
    yield from ("", f"### {outcome}", "", "| scenario | decided by | why |", "|---|---|---|")
    for each in found[:LISTED_MAX]:
        check = each.judgement.decided_by
        known = each.judgement.known
        why = f"{known.id}, {known.link}{each.judgement.recognised}: " if known else ""
        why += each.judgement.reason.partition(": ")[2]
        yield (f"| {escaped(each.name)} | {escaped(check.name if check else '-')} | "
               f"{escaped(why[:WORDS_MAX])} |")
    if len(found) > LISTED_MAX:
        yield ""
        yield f"... and {len(found) - LISTED_MAX} more"


def escaped(words: str) -> str:
    """Return text in one line, with everything escaped that Markdown or HTML would interpret."""
    return PUNCTUATION.sub(r"\\\1", clean(" ".join(words.split()))).replace("\\<", "&lt;")
