# SPDX-License-Identifier: GPL-2.0-or-later
"""Durations of scenarios in past runs: from their verdicts, the newest run first."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from results.store import LATEST, RUN, VERDICT

RUNS_MAX = 10
"""Number of past runs that are read: older ones predict less."""

WALL_TIME = re.compile(r'"wall_time":\s*\{\s*"value":\s*(?P<seconds>\d+(?:\.\d+)?)')


def wall_times(results: Path, scenarios: Iterable[str]) -> dict[str, float]:
    """Return the wall time in seconds of each scenario that any of the last runs has judged."""
    missing = set(scenarios)
    found: dict[str, float] = {}
    for run in _runs(results):
        for name in sorted(missing):
            with suppress(OSError):
                match = WALL_TIME.search((run / name / VERDICT).read_text(errors="replace"))
                if match:
                    found[name] = float(match["seconds"])
        missing.difference_update(found)
        if not missing:
            break
    return found


def _runs(results: Path) -> list[Path]:
    with suppress(OSError):
        runs = [path for path in results.iterdir()
                if path.name != LATEST and (path / RUN).is_file()]
        return sorted(runs, reverse=True)[:RUNS_MAX]
    return []
