# SPDX-License-Identifier: GPL-2.0-or-later
"""The judge: runs every checker over a history; the result is the content of verdict.json.

::

    {"scenario": id, "verdict": "FAIL", "decided_by": "ledger",
     "headline": {"check": "ledger", "cause": ..., "consequences": [...]},
     "outcome": "KNOWN", "known": {"id": ..., "link": ..., "matched": [...]},
     "checks": [{"name": ..., "verdict": ..., "reason": ..., "evidence": [...],
                 "signatures": [{"kind": "open", "anchors": ["write"]}]}],
     "slow": [{"figure": "teardown_time", "measure": "teardown", "value": 5.4, "usual": 0.4,
               "most": 0.6, "runs": 8}],
     "figures": {"longest_command": {"value": 5.2, "unit": "s"}, ...}}
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from results import command_facts
from results.checkers import (
    allocations,
    deadline,
    expectations,
    integrity,
    kernel_health,
    leaks,
    ledger,
    machine,
    operations,
    order,
    outcome,
    partition,
    pdus,
    protocol,
    recovery,
    resources,
    task_management,
    teardown,
    threads,
)
from results.headline import Headline, headline
from results.history import History
from results.known_issues import KnownIssue
from results.rounds import in_rounds
from results.verdict import (
    Check,
    Figure,
    Outcome,
    Signature,
    Slow,
    Verdict,
    compose,
    deciding,
)

Checker = Callable[[History], Check | None]
"""From a history to a check, or to None when the check does not apply to the scenario."""

BY_ROUND = frozenset({order.NAME, outcome.NAME, task_management.NAME, teardown.NAME})
"""Checkers that judge each round of a repeated scenario by itself (results.rounds)."""

CHECKERS: Mapping[str, Checker] = {
    module.NAME: in_rounds(module.check) if module.NAME in BY_ROUND else module.check
    for module in (
        machine, kernel_health, integrity, expectations, protocol, ledger, order, outcome, deadline,
        partition, task_management, threads, teardown, recovery, resources, leaks, operations, pdus,
        allocations,
    )
}
"""In the order in which a verdict lists them. Of several with UNKNOWN the first decides; of several
with FAIL the earliest cause does (``results.headline``). ``machine`` never returns FAIL."""


@dataclass(frozen=True)
class Judgement:
    """The results of all checkers for one scenario.

    ``measured``: figures that no history contains, such as the host's ``wall_time`` from before the
    restore until the verdict. ``known``: the known issue that explains a FAIL, or that was expected
    when the verdict is PASS (``results.known_issues.apply``). ``matched``: the evidence by which a
    FAIL is recognised as that issue, in words. ``facts``: facts about the commands that tell one
    issue from its like (``results.command_facts``). ``headline``: of a FAIL. ``slow``: times far
    outside the scenario's past, which change no verdict.
    """

    scenario: str
    checks: tuple[Check, ...]
    measured: Mapping[str, Figure] = field(default_factory=dict)
    known: KnownIssue | None = None
    headline: Headline | None = None
    matched: tuple[str, ...] = ()
    facts: tuple[Signature, ...] = ()
    slow: tuple[Slow, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The scenario's verdict: FAIL over UNKNOWN over PASS."""
        return compose(self.checks)

    @property
    def outcome(self) -> Outcome:
        """The verdict's meaning for the run: a known issue does not fail it."""
        if self.known is None or self.verdict is Verdict.UNKNOWN:
            return Outcome(self.verdict.value)
        return Outcome.KNOWN if self.verdict is Verdict.FAIL else Outcome.FIXED

    @property
    def decided_by(self) -> Check | None:
        """The check that found the cause of a FAIL; else the first with the scenario's verdict."""
        named = self.headline.check if self.headline else None
        return next((check for check in self.checks
                     if check.name == named and check.verdict is Verdict.FAIL),
                    deciding(self.checks))

    @property
    def cause(self) -> str:
        """One sentence: the earliest cause of a FAIL; else the deciding check's reason."""
        check = self.decided_by
        if check is None:
            return "nothing was checked"
        led = self.headline and check.verdict is Verdict.FAIL and check.name == self.headline.check
        return self.headline.cause if self.headline and led else check.reason

    @property
    def consequences(self) -> tuple[str, ...]:
        """The other findings of a FAIL, each as "check: sentence"."""
        failed = self.headline and self.verdict is Verdict.FAIL
        return self.headline.consequences if self.headline and failed else ()

    @property
    def reason(self) -> str:
        """One line: the deciding check and the cause."""
        check = self.decided_by
        return f"{check.name}: {self.cause}" if check else self.cause

    @property
    def recognised(self) -> str:
        """The evidence of the known issue, to be appended to its name; "" where there is none."""
        return f", by {'; '.join(self.matched)}" if self.matched else ""

    @property
    def figures(self) -> dict[str, Figure]:
        """The figures of all checks, and the harness's measurements."""
        checked = {name: figure for check in self.checks for name, figure in check.figures.items()}
        return {**checked, **self.measured}

    def to_json(self) -> dict[str, Any]:
        """Return the content of verdict.json."""
        return {
            "scenario": self.scenario,
            "verdict": str(self.verdict),
            "outcome": str(self.outcome),
            "known": {"id": self.known.id, "link": self.known.link,
                      "matched": list(self.matched)} if self.known else None,
            "decided_by": self.decided_by.name if self.decided_by else None,
            "headline": self.headline.to_json() if self.headline else None,
            "checks": [
                {"name": check.name, "verdict": str(check.verdict), "reason": check.reason,
                 "evidence": list(check.evidence),
                 "signatures": [{"kind": each.kind, "anchors": list(each.anchors)}
                                for each in check.signatures]}
                for check in self.checks
            ],
            "slow": [asdict(each) for each in self.slow],
            "figures": {
                name: {"value": _finite(figure.value), "unit": figure.unit}
                for name, figure in sorted(self.figures.items())
            },
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Judgement:
        """Return the judgement that ``to_json`` wrote.

        The first check carries all figures; a known issue has only its id and link. Raises KeyError
        or ValueError for anything else.
        """
        figures = {
            name: Figure(figure["value"], figure["unit"])
            for name, figure in record["figures"].items()
        }
        checks = [
            Check(check["name"], Verdict(check["verdict"]), check["reason"], check["evidence"],
                  {} if number else figures,
                  [Signature(each["kind"], tuple(each["anchors"]))
                   for each in check.get("signatures", ())])
            for number, check in enumerate(record["checks"])
        ]
        known = record.get("known")
        return cls(record["scenario"], tuple(checks),
                   known=KnownIssue(known["id"], known["link"]) if known else None,
                   headline=Headline.from_json(record.get("headline")),
                   matched=tuple(known.get("matched", ())) if known else (),
                   slow=tuple(Slow(**each) for each in record.get("slow", ())))


def judge(history: History, checkers: Mapping[str, Checker] = CHECKERS) -> Judgement:
    """Run the checkers. One that raises yields UNKNOWN; one that does not apply is left out."""
    scenario = history.first("harness", "scenario")
    name = str(scenario.data.get("id", "?")) if scenario else "?"
    found = (_run(key, check, history) for key, check in checkers.items())
    checks = tuple(check for check in found if check)
    return Judgement(name, checks, headline=_headline(checks, history),
                     facts=_facts(history))


def _headline(checks: Sequence[Check], history: History) -> Headline | None:
    try:
        return headline(checks, history)
    except Exception as error:  # as a checker's: it must not hide the verdict
        first = deciding(checks)
        return None if first is None else Headline(first.name, first.reason, (
            f"no headline: {type(error).__name__}: {error}",))


def interrupted(scenario: str, reason: str) -> Judgement:
    """Return the judgement of a scenario without a history to judge."""
    return Judgement(scenario, (Check(machine.NAME, Verdict.UNKNOWN, reason),))


def _run(name: str, check: Checker, history: History) -> Check | None:
    try:
        return check(history)
    except Exception as error:  # any error: it must not become a PASS or hide the other checks
        return Check(name, Verdict.UNKNOWN, f"the checker crashed: {type(error).__name__}: {error}",
                     _where(error))


def _facts(history: History) -> tuple[Signature, ...]:
    """Return the facts about the commands; none where the record is not what it should be."""
    try:
        return command_facts.facts(history)
    except (KeyError, TypeError, ValueError):  # no fact: then no known issue that needs one
        return ()


def _where(error: BaseException) -> Sequence[str]:
    places = []
    traceback = error.__traceback__
    while traceback:
        code = traceback.tb_frame.f_code
        places.append(f"{code.co_filename}:{traceback.tb_lineno} {code.co_name}")
        traceback = traceback.tb_next
    return places[-5:]


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 6)
