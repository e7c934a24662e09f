# SPDX-License-Identifier: GPL-2.0-or-later
"""The reader: assigns the lines of a log to reports, several of which may be open."""

from __future__ import annotations

import re

from results.kernel_log.body import belongs, is_stack
from results.kernel_log.draft import CPU, STALLS, Draft
from results.kernel_log.kinds import (
    HUNG_HINT,
    HUNG_WITHOUT_HEAD,
    Kind,
    Opener,
    match,
    match_headless,
)
from results.kernel_log.lines import Line, split
from results.kernel_log.report import Report

CUT_HERE = re.compile(r"-{4,}\[ ?cut here ?\]-{4,}|8<--- cut here ---")
RCU = re.compile(r"rcu: |\s+\((?:t=|detected by)|\s+\d+-[.\w!?]+: \(")
RULE = re.compile(r"=+$")

OTHER_DUMP = re.compile(r"sysrq: |stf: ")
"""A dump of stacks was requested, or a scenario begins: the next lines belong to no report."""

PREAMBLES = frozenset({
    Kind.LIST_CORRUPTION, Kind.REFCOUNT, Kind.UBSAN, Kind.KFENCE, Kind.USERCOPY})
"""Kinds whose message comes before the WARNING or kernel BUG that carries the stack."""

REFINEMENTS = frozenset({*PREAMBLES, Kind.HARD_LOCKUP, Kind.SLAB_CORRUPTION})
"""Kinds whose message follows the line of the WARNING that carries the stack: kernels before 4.14,
where WARN prints its message second, and arch/x86's watchdog before 4.1."""

DETAILED_BY_OOPS = frozenset({
    Kind.NULL_DEREFERENCE, Kind.PAGE_FAULT, Kind.BUG, Kind.GENERAL_PROTECTION, *PREAMBLES,
})
"""Kinds after whose first line the Oops line follows."""

HEADLESS_MAX = 40
"""Lines of a log within which a report may go on whose first line the log does not have."""

PREAMBLE_MAX = 6
"""Lines between "cut here" and the WARNING or kernel BUG."""
GAP_MAX = 5.0
"""Seconds without a line of its own after which a report is over."""
STALL_GAP_MAX = 15.0
"""The same within an RCU stall: 10 s are for backtraces (nmi_trigger_cpumask_backtrace)."""
ASIDE_MAX = 60
"""Number of unrelated lines in a row after which a report is over."""


def read(log: str | bytes) -> list[Report]:
    """Return the reports of a console log in the order in which they open."""
    reader = Reader()
    for line in split(log):
        reader.line(line)
    return [draft.report() for draft in reader.drafts]


class Reader:
    """Assigns lines to reports, several of which may be open when CPUs write at once."""

    def __init__(self) -> None:
        self.drafts: list[Draft] = []
        self._open: list[Draft] = []
        self._preamble: dict[str | None, list[Line]] = {}
        self._lines = 0

    def line(self, line: Line) -> None:
        """Take in the next line of the log."""
        if not line.text.strip():
            return
        self._lines += 1
        self._close(line)
        draft = self._route(line)
        opened = match(line.text) or self._without_head(line)
        if opened and not self._is_explanation(opened[0], line):
            if self._is_repeated(line):
                return
            if draft := self._continued(draft, opened, line):
                draft.take(line)
            else:
                self._begin(opened, line)
        elif CUT_HERE.match(line.text) or (not draft and (
                RULE.match(line.text) or line.text.startswith(HUNG_HINT))):
            self._preamble[line.caller] = [line]
        elif draft and belongs(line.text):
            self._promote(draft)
            draft.take(line)
        elif line.caller in self._preamble:
            self._add_to_preamble(line)
        elif draft:
            draft.aside += 1

    def _without_head(self, line: Line) -> tuple[Opener, re.Match[str]] | None:
        """Return the opener of a report whose first line is missing, or None."""
        if not self.drafts and self._lines <= HEADLESS_MAX:
            return self._hung_without_head(line) or match_headless(line.text)
        return self._hung_without_head(line)

    def _is_explanation(self, opener: Opener, line: Line) -> bool:
        """Return whether a message is that of the WARNING to come, and no report of its own."""
        return opener.kind is Kind.SLAB_CORRUPTION and line.caller in self._preamble and (
            CUT_HERE.match(self._preamble[line.caller][0].text) is not None)

    def _is_repeated(self, line: Line) -> bool:
        """Return whether a report opened with this very line: syslogd writes it to terminals."""
        return line.time is not None and any(
            draft.first.time == line.time and draft.first.text == line.text
            and draft.first.raw != line.raw for draft in self.drafts[-8:])

    def _hung_without_head(self, line: Line) -> tuple[Opener, re.Match[str]] | None:
        """Return the opener of a hung task whose first line is missing, or None."""
        preamble = self._preamble.get(line.caller)
        if not preamble or not preamble[-1].text.startswith(HUNG_HINT):
            return None
        found = HUNG_WITHOUT_HEAD.pattern.match(line.text)
        return (HUNG_WITHOUT_HEAD, found) if found else None

    def _begin(self, opened: tuple[Opener, re.Match[str]], line: Line) -> None:
        before = [each.raw for each in self._preamble.pop(line.caller, [])]
        draft = Draft(*opened, line, [*before, line.raw], last_time=line.time)
        self.drafts.append(draft)
        self._open.append(draft)

    def _add_to_preamble(self, line: Line) -> None:
        preamble = self._preamble[line.caller]
        preamble.append(line)
        if len(preamble) > PREAMBLE_MAX:
            del self._preamble[line.caller]

    def _close(self, line: Line) -> None:
        if OTHER_DUMP.match(line.text):
            self._open.clear()
        self._open = [
            draft for draft in self._open
            if not draft.over and draft.aside <= ASIDE_MAX and not _too_late(draft, line)
        ]

    def _route(self, line: Line) -> Draft | None:
        """Return the open report that a line belongs to, or None."""
        same = [draft for draft in self._open if draft.first.caller == line.caller]
        candidates = same or [draft for draft in self._open if draft.kind in STALLS]
        if not candidates:
            return None
        if cpu := CPU.match(line.text):
            return next(
                (each for each in candidates if each.expects(int(cpu["cpu"]), int(cpu["pid"]))),
                candidates[-1],
            )
        if RCU.match(line.text):
            stalls = [draft for draft in candidates if draft.kind is Kind.RCU_STALL]
            candidates = stalls or candidates
        latest = candidates[-1]
        if latest.kind is Kind.HUNG_TASK:  # khungtaskd prints one after the other
            return latest
        if not latest.sections and is_stack(line.text) and len(candidates) > 1:
            return candidates[-2] if candidates[-2].sections else latest
        return latest

    def _promote(self, draft: Draft) -> None:
        """Make a report the current one: it receives the next lines."""
        self._open.remove(draft)
        self._open.append(draft)

    def _continued(
        self, draft: Draft | None, opened: tuple[Opener, re.Match[str]], line: Line,
    ) -> Draft | None:
        """Return the report that an opening line merely continues, or None."""
        opener = opened[0]
        if opener.kind is Kind.PANIC:
            last = self.drafts[-1] if self.drafts else None
            return last if last and not _too_late(last, line) else None
        if draft is None:
            return None
        fresh = not draft.sections
        if fresh and draft.kind is Kind.WARNING and opener.kind in REFINEMENTS:
            draft.opener, draft.found = opened
            return draft
        at_most_ip = all(each.pid is None and len(each.frames) <= 1 for each in draft.sections)
        continues = (
            (opener.kind in {Kind.OOPS, Kind.GENERAL_PROTECTION}
             and at_most_ip and draft.kind in DETAILED_BY_OOPS)
            or (opener.kind in {Kind.WARNING, Kind.BUG} and fresh and draft.kind in PREAMBLES)
            or (opener.kind is Kind.MEMORY_LEAK and opener.bare
                and draft.kind is Kind.MEMORY_LEAK)
            or (opener.kind is Kind.RCU_STALL and opener.bare and draft.kind is Kind.RCU_STALL)
            or (opener.kind is Kind.OUT_OF_MEMORY and draft.kind is Kind.OUT_OF_MEMORY
                and "Kill" in line.text)
        )
        return draft if continues else None


def _too_late(draft: Draft, line: Line) -> bool:
    return (
        line.time is not None and draft.last_time is not None
        and line.time - draft.last_time > (
            STALL_GAP_MAX if draft.kind is Kind.RCU_STALL else GAP_MAX)
    )
