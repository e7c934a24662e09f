"""The judge: runs every checker over a history and says what verdict.json will hold.

::

    {"scenario": id, "verdict": "FAIL", "decided_by": "ledger",
     "checks": [{"name": ..., "verdict": ..., "reason": ..., "evidence": [...]}],
     "figures": {"longest_command": {"value": 5.2, "unit": "s"}, ...}}
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from results.checkers import (
    deadline,
    kernel_health,
    ledger,
    machine,
    operations,
    recovery,
    teardown,
    threads,
)
from results.history import History
from results.verdict import Check, Figure, Verdict, compose, deciding

Checker = Callable[[History], Check]

CHECKERS: Mapping[str, Checker] = {
    module.NAME: module.check
    for module in (
        machine, kernel_health, ledger, deadline, threads, teardown, recovery, operations,
    )
}
"""In the order in which they name the cause: of several with the scenario's verdict the first
decides. ``machine`` never says FAIL; a kernel's own report names a function; then the ladder."""


@dataclass(frozen=True)
class Judgement:
    """What all checkers said of one scenario.

    ``measured``: figures that no history holds, such as the host's ``wall_time`` from before
    the restore until the verdict.
    """

    scenario: str
    checks: tuple[Check, ...]
    measured: Mapping[str, Figure] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """The scenario's verdict: FAIL over UNKNOWN over PASS."""
        return compose(self.checks)

    @property
    def decided_by(self) -> Check | None:
        """The first check whose verdict is the scenario's."""
        return deciding(self.checks)

    @property
    def reason(self) -> str:
        """One line that says which check decided, and why."""
        check = self.decided_by
        return f"{check.name}: {check.reason}" if check else "nothing was checked"

    @property
    def figures(self) -> dict[str, Figure]:
        """The figures of all checks, and those the harness measured."""
        checked = {name: figure for check in self.checks for name, figure in check.figures.items()}
        return {**checked, **self.measured}

    def to_json(self) -> dict[str, Any]:
        """Return the content of verdict.json."""
        return {
            "scenario": self.scenario,
            "verdict": str(self.verdict),
            "decided_by": self.decided_by.name if self.decided_by else None,
            "checks": [
                {"name": check.name, "verdict": str(check.verdict), "reason": check.reason,
                 "evidence": list(check.evidence)}
                for check in self.checks
            ],
            "figures": {
                name: {"value": _finite(figure.value), "unit": figure.unit}
                for name, figure in sorted(self.figures.items())
            },
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Judgement:
        """Read what ``to_json`` wrote; the figures come back with the first check.

        Raises KeyError or ValueError for anything else.
        """
        figures = {
            name: Figure(figure["value"], figure["unit"])
            for name, figure in record["figures"].items()
        }
        checks = [
            Check(check["name"], Verdict(check["verdict"]), check["reason"], check["evidence"],
                  {} if number else figures)
            for number, check in enumerate(record["checks"])
        ]
        return cls(record["scenario"], tuple(checks))


def judge(history: History, checkers: Mapping[str, Checker] = CHECKERS) -> Judgement:
    """Run the checkers. One that raises says UNKNOWN; none of them is skipped."""
    scenario = history.first("harness", "scenario")
    name = str(scenario.data.get("id", "?")) if scenario else "?"
    return Judgement(name, tuple(_run(key, check, history) for key, check in checkers.items()))


def interrupted(scenario: str, reason: str) -> Judgement:
    """Return the judgement of a scenario that has no history to judge."""
    return Judgement(scenario, (Check(machine.NAME, Verdict.UNKNOWN, reason),))


def _run(name: str, check: Checker, history: History) -> Check:
    try:
        return check(history)
    except Exception as error:  # whatever it is, it must not become a pass or hide the others
        return Check(name, Verdict.UNKNOWN, f"the checker crashed: {type(error).__name__}: {error}",
                     _where(error))


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
