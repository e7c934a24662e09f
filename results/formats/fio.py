# SPDX-License-Identifier: GPL-2.0-or-later
"""Directories that fio-plot draws from: DIR/SCENARIO/RW-iodepth-D-numjobs-N_lat.1.log.

The logs are fio's own, of all its threads, in the order of time; ``fio-plot -g -t lat`` reads them.
"""

from __future__ import annotations

from pathlib import Path

from results.charts import FIO_LOGS, JOB, log_name, merged
from results.errors import WrongUsageError
from results.history import History
from results.store import HISTORY, Run


def write(run: Run, path: Path) -> Path:
    """Write the directories of the scenarios that have fio's logs; return their parent.

    Raises WrongUsageError when no scenario has logs.
    """
    written = [folder for record in run.scenarios() if (folder := _one(record.path, path))]
    if not written:
        raise WrongUsageError(f"no scenario of {run.path.name} has fio's logs ({FIO_LOGS})")
    return path


def _one(scenario: Path, path: Path) -> Path | None:
    logs = sorted(scenario.glob(FIO_LOGS))
    try:
        history = History.load(scenario / HISTORY)
    except (OSError, ValueError):
        return None
    begin = next((event for event in history.select("workload", "begin")
                  if event.data["job"] == JOB), None)
    if not logs or begin is None:
        return None
    folder = path / scenario.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / log_name(begin.data["options"])).write_text("".join(merged(logs)))
    return folder
