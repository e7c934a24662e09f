# SPDX-License-Identifier: GPL-2.0-or-later
"""A run's record, complete or not: the common source of all formats."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results.index import UNJUDGED
from results.judge import Judgement, interrupted
from results.store import STALLED, Run

CONTROL = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
"""Characters that XML 1.0 (section 2.2) cannot hold, and a terminal's control characters."""


@dataclass(frozen=True)
class Recorded:
    """One scenario of a run: its folder and its judgement."""

    folder: Path
    judgement: Judgement

    @property
    def name(self) -> str:
        """The scenario's name in the run: its id, and the suffix of a repetition."""
        return self.folder.name

    @property
    def seconds(self) -> float:
        """Duration in seconds on the host; 0 where it is not known."""
        wall = self.judgement.figures.get("wall_time")
        return wall.value if wall and wall.value else 0.0

    def files(self) -> list[Path]:
        """Return the files of the scenario's folder and of its evidence."""
        return files_in(self.folder)


def files_in(folder: Path) -> list[Path]:
    """Return the files of a scenario's folder and of its evidence, but not of a kept guest."""
    return sorted(path for path in folder.rglob("*") if path.is_file()
                  and path.parent.name != STALLED and not path.name.startswith("."))


def scenarios(run: Run) -> Iterator[Recorded]:
    """Yield the scenarios of a run; one without a readable verdict is UNKNOWN."""
    for record in run.scenarios():
        yield Recorded(record.path, _judgement(record.path.name, record.verdict))


def _judgement(name: str, verdict: Path) -> Judgement:
    scenario = name.partition("~")[0]
    try:
        return Judgement.from_json(json.loads(verdict.read_bytes()))
    except FileNotFoundError:
        return interrupted(scenario, UNJUDGED)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return interrupted(scenario, f"its verdict cannot be read: {error}")


def identity(run: Run) -> dict[str, str]:
    """Return the facts that identify this run, as text by name."""
    record = record_of(run)
    target = _table(record, "target")
    version = " ".join(str(target[key]) for key in ("version", "commit") if target.get(key))
    kernels = [each for each in record.get("kernels") or () if isinstance(each, dict)]
    words = {
        "run": run.path.name,
        "started": record.get("started"),
        "ended": record.get("ended"),
        "target": target.get("name"),
        "target version": version,
        "kernel": ", ".join(str(each.get("release")) for each in kernels),
        "accelerator": _table(record, "accelerator").get("name"),
        "host": _table(record, "host").get("name"),
        "kernel command line": _table(record, "options").get("append"),
        "memory checks": _table(record, "options").get("memory_checks"),
        "seed": record.get("seed"),
    }
    return {name: clean(value) for name, value in words.items() if value not in (None, "")}


def record_of(run: Run) -> Mapping[str, Any]:
    """Return the content of run.json, empty where it cannot be read."""
    try:
        record = run.record()
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _table(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = record.get(name)
    return value if isinstance(value, dict) else {}


def clean(value: object) -> str:
    """Return text with the characters escaped that XML cannot hold or a terminal interprets."""
    return CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", str(value))


def counts(found: Sequence[Recorded]) -> dict[str, int]:
    """Return the number of scenarios by outcome, for the outcomes that occur."""
    outcomes = [str(each.judgement.outcome) for each in found]
    return {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))}
