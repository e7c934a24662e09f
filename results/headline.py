# SPDX-License-Identifier: GPL-2.0-or-later
"""The headline of a FAIL: the earliest cause in the evidence, and its consequences.

Each failed check yields findings. They are ordered by what can cause what (``Rank``), then by time:
a kernel report counts from its own time, a command without an end from its deadline. A late
teardown explains no unanswered command, but an unanswered command explains a late teardown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from math import inf
from typing import Any

from results.block_io import account
from results.checkers import (
    deadline,
    expectations,
    kernel_health,
    ledger,
    operations,
    outcome,
    recovery,
    resources,
    task_management,
    teardown,
    threads,
)
from results.fate import fate, held_to_the_end, unanswered
from results.history import History
from results.kernel_log import Kind
from results.standstill import SPINS, STALLS, Row, Stalled, quoted
from results.timeline import Timeline, command_bound
from results.verdict import Check, Verdict

CONSEQUENCES_MAX = 12
"""Consequences that a headline keeps; the checks have all of them."""


class Rank(IntEnum):
    """Kinds of findings: each may be the cause of all later ones.

    BREACH: an event that must not occur, or a command that nobody answered. SPIN, WAIT: a task
    that stands still. OPERATION: an operation that failed or did not end. REMAINS: leftovers.
    """

    BREACH = 0
    SPIN = 1
    WAIT = 2
    OPERATION = 3
    REMAINS = 4


RANKS: Mapping[str, Rank] = {
    teardown.NAME: Rank.OPERATION, operations.NAME: Rank.OPERATION,
    recovery.NAME: Rank.OPERATION, resources.NAME: Rank.REMAINS,
}
"""Rank of a check's finding; BREACH for all others, except kernel_health and threads."""

STANDSTILL = frozenset({Rank.SPIN, Rank.WAIT, Rank.OPERATION})
"""Ranks whose cause may be a command that the target still has."""

UNANSWERED: Mapping[str, str] = {
    ledger.NAME: "open", deadline.NAME: "late", outcome.NAME: "no answer",
    task_management.NAME: "late"}
"""Checks that find commands without an end of the target's, with the kind of the signature."""


@dataclass(frozen=True)
class Finding:
    """One thing that a check found wrong. ``time``: seconds of the guest's clock, None: unknown.

    ``unanswered``: it is a command that the target did not answer in time.
    """

    check: str
    rank: Rank
    time: float | None
    words: str
    unanswered: bool = False


@dataclass(frozen=True)
class Headline:
    """The earliest cause. ``check``: the name of the check that found it. Each text: a sentence."""

    check: str
    cause: str
    consequences: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the headline as a JSON object."""
        return {"check": self.check, "cause": self.cause, "consequences": list(self.consequences)}

    @classmethod
    def from_json(cls, record: object) -> Headline | None:
        """Return the headline that ``to_json`` wrote, None for anything else."""
        if not isinstance(record, dict):
            return None
        return cls(str(record.get("check")), str(record.get("cause")),
                   tuple(map(str, record.get("consequences") or ())))


def headline(
    checks: Sequence[Check], history: History, stuck: Sequence[Row] | None = None,
    waiters: Sequence[Row] | None = None,
) -> Headline | None:
    """Return the headline of a FAIL; None for another verdict.

    ``stuck``, ``waiters``: the target's commands and the tasks that wait, as read from a stalled
    guest; None for those in the history's event ``evidence``.
    """
    failed = [check for check in checks if check.verdict is Verdict.FAIL]
    if not failed:
        return None
    first, *rest = findings(checks, history)
    stalled = Stalled.of(failed, history, stuck, waiters)
    words = [first.words]
    if first.unanswered:
        words += [*_carrier(failed, first, history), *stalled.commands_words(),
                  *stalled.tasks_words()]
        rest = [each for each in rest if each.rank is not Rank.WAIT]
    elif first.rank in STANDSTILL and stalled.commands:
        words = [*stalled.commands_words(), *stalled.tasks_words()]
        rest = [first, *rest]
    elif first.rank in STANDSTILL:
        words += [*(stalled.spins_in() if first.rank is Rank.SPIN else []), *unanswered(history)]
        words += _open(history) if first.rank is Rank.OPERATION else []
    elif first.check == expectations.NAME:  # what the scenario itself watches for may be a stall
        words += stalled.commands_words()
    elif stalled.commands:
        rest.append(Finding(first.check, Rank.WAIT, None, "; ".join(stalled.commands_words())))
    cause = "; ".join(words)
    return Headline(first.check, cause, tuple(_consequences(first, cause, rest)))


def findings(checks: Sequence[Check], history: History) -> list[Finding]:
    """Return the findings of the failed checks, the cause first."""
    figures = {name: figure.value for check in checks for name, figure in check.figures.items()}
    fired = Timeline.of(history).fired if history.events else None
    found = [each for check in checks if check.verdict is Verdict.FAIL
             for each in _findings(check, _time(check, figures, fired), history)]
    return sorted(found, key=lambda each: (
        each.rank, inf if each.time is None else each.time))


def _findings(check: Check, time: float | None, history: History) -> Iterator[Finding]:
    if check.name == kernel_health.NAME and quoted([check]):
        yield from _reports(check)
    elif check.name == threads.NAME and check.evidence:
        yield from _tasks(check)
    elif (ios := _ios(check)) and _is_unanswered(check) and all(
            held_to_the_end(history, each) for each in ios):
        yield Finding(check.name, Rank.REMAINS, time,
                      f"{check.reason}; the test's own backend holds it, for want of a release")
    else:
        yield Finding(check.name, RANKS.get(check.name, Rank.BREACH), time, check.reason,
                      _is_unanswered(check))


def _is_unanswered(check: Check) -> bool:
    kind = UNANSWERED.get(check.name)
    return bool(kind and check.signatures and check.signatures[0].kind == kind)


def _reports(check: Check) -> Iterator[Finding]:
    """Yield the reports of a kind that may be a cause as one finding, those of stalls as others."""
    kinds: dict[Rank, list[Mapping[str, Any]]] = {}
    for each in quoted([check]):
        kinds.setdefault(_rank(each["kind"]), []).append(each)
    for rank, reports in kinds.items():
        reports.sort(key=lambda each: inf if each["time"] is None else float(each["time"]))
        titles = dict.fromkeys(str(each["title"]) for each in reports)
        yield Finding(check.name, rank, reports[0]["time"], "; ".join(titles))


def _rank(kind: object) -> Rank:
    if kind not in STALLS:
        return Rank.BREACH
    return Rank.SPIN if kind in SPINS or kind == Kind.RCU_STALL else Rank.WAIT


def _tasks(check: Check) -> Iterator[Finding]:
    spins = [each["spinning"] for each in check.evidence if "spinning" in each]
    words = check.reason.split("; ")
    if spins:
        yield Finding(check.name, Rank.SPIN, min(float(each["begin"]) for each in spins),
                      "; ".join(words[:len(spins)]))
    if words[len(spins):]:
        # The samples show for how long a task waits, but not since when it should not.
        yield Finding(check.name, Rank.WAIT, None, "; ".join(sorted(
            words[len(spins):], key=_waits_for_others)))


def _waits_for_others(words: str) -> bool:
    """Return whether a task waits for something else than commands: for another task, or a lock.

    The wait for commands is named by its function: target_wait_for_cmds, scst_wait_for_cmds.
    """
    top = words.partition("(")[2].split(" < ")[:2]
    return not any("cmd" in function for function in top)


def _time(
    check: Check, figures: Mapping[str, float | None], fired: float | None,
) -> float | None:
    """Return the time of a check's first evidence."""
    after = figures.get(f"{check.name}_detected_after")
    if fired is not None and after is not None:
        return fired + after
    times = [each[key] for each in check.evidence if isinstance(each, Mapping)
             for key in ("time", "completed") if isinstance(each.get(key), int | float)]
    return min(times, default=None)


def _carrier(failed: Sequence[Check], first: Finding, history: History) -> list[str]:
    """Return the fate in the backend of the first I/O that never ended, as text."""
    check = next(each for each in failed if each.name == first.check)
    ios = _ios(check)
    words = fate(history, ios[0]) if ios else ""
    return [words] if words else []


def _open(history: History) -> list[str]:
    """Return the I/Os that no check judges, the fault never having fired, as texts."""
    timeline = Timeline.of(history)
    late = [io for io in account(history).open
            if io.seconds(timeline.seen_until) > command_bound(history)]
    if not late:
        return []
    words = (f"{len(late)} I/Os had no end, first: {late[0].describe()}, open for "
             f"{late[0].seconds(timeline.seen_until):.1f} s")
    return [words, *filter(None, [fate(history, late[0].evidence())])]


def _ios(check: Check) -> list[Mapping[str, Any]]:
    return [each for each in check.evidence if isinstance(each, Mapping) and {
        "op", "sector", "bytes", "issued"} <= each.keys()]


def _consequences(first: Finding, cause: str, rest: Sequence[Finding]) -> Iterator[str]:
    """Yield the other findings as "check: words", without those that repeat another."""
    shown = [cause]
    for each in rest[:CONSEQUENCES_MAX]:
        if each.check == deadline.NAME and first.check == ledger.NAME and first.unanswered:
            continue  # the same commands
        if any(each.words in words for words in shown):
            continue
        shown.append(each.words)
        yield f"{each.check}: {each.words.partition(teardown.IN_D_STATE)[0]}"

