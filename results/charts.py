# SPDX-License-Identifier: GPL-2.0-or-later
"""Charts of a scenario's latency: fio-plot's own chart, and one that shows the fault.

fio-plot has no interface but its command line, so it runs as a program. It rewrites the values of a
log whose entries are more than 1 s apart on average (fio_plot/fiolib/dataimport.py,
parse_raw_csv_data). Such logs are refused; the chart with the fault is drawn from the history
instead.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from results.block_io import Io, account
from results.errors import MachineLostError
from results.history import History
from results.store import HISTORY
from results.timeline import Timeline, ladder

SPARSE = 1000
"""Mean gap in ms between two log entries above which fio-plot rewrites the values."""

FIO_PLOT_BOUND = 60.0
"""Seconds until fio-plot is abandoned: a tool's bound, not a target's."""

JOB = "load"
FIO_LOGS = "fio-load_lat*.log"
"""The job's per-I/O latency logs, which the harness keeps beside the history: one, or one for
each of fio's threads."""

OPS = {"write": "tab:blue", "read": "tab:green", "flush": "tab:purple"}
OTHER_OP = "tab:gray"


def draw(folder: Path) -> list[Path]:
    """Draw both charts of a recorded scenario into its directory; return their paths.

    A chart without data is left out. Raises MachineLostError as ``fio_chart`` does.
    """
    history = History.load(folder / HISTORY)
    drawn = []
    if account(history).ios:
        drawn.append(fault_chart(history, folder / "latency.png"))
    begin = next(
        (event for event in history.select("workload", "begin") if event.data["job"] == JOB), None
    )
    logs = sorted(folder.glob(FIO_LOGS))
    if begin and logs:
        options = begin.data["options"]
        drawn.append(fio_chart(logs, folder / "fio-latency.png", folder.name, options))
    return drawn


def fio_chart(
    logs: Sequence[Path], path: Path, title: str, options: Mapping[str, Any],
) -> Path:
    """Draw a job's per-I/O latency logs with fio-plot; return ``path``.

    ``options``: the job's; rw, iodepth and numjobs are used. Raises MachineLostError with
    fio-plot's last line of output when it draws nothing, or when it would alter the log's values.
    """
    entries = merged(logs)
    if gap(entries) > SPARSE:
        raise MachineLostError("the latency log has too few entries: fio-plot would alter them")
    rw, iodepth, numjobs = (str(options[name]) for name in ("rw", "iodepth", "numjobs"))
    with tempfile.TemporaryDirectory(prefix="stf-fio-plot-") as folder:
        (Path(folder) / log_name(options)).write_text("".join(entries))
        _fio_plot(
            "-i", folder, "-T", title, "-r", rw, "-d", iodepth, "-n", numjobs, "-g", "-t", "lat",
            "-o", str(path.absolute()), "--disable-fio-version",
        )
    if not path.exists():
        raise MachineLostError("fio-plot ended without a word, and without a chart")
    return path


def log_name(options: Mapping[str, Any]) -> str:
    """Return the file name that fio-plot expects for the latency log of a job with such options."""
    return (f"{options['rw']}-iodepth-{options['iodepth']}-numjobs-{options['numjobs']}"
            "_lat.1.log")


def merged(logs: Sequence[Path]) -> list[str]:
    """Return the entries of a job's latency logs (one log for each thread), sorted by time."""
    return sorted((line for log in logs for line in _entries(log)), key=_milliseconds)


def _entries(log: Path) -> list[str]:
    """Return the complete lines of a log; the last line may be cut."""
    return [line for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]


def _milliseconds(entry: str) -> int:
    return int(entry.partition(",")[0])


def gap(entries: Sequence[str]) -> float:
    """Return the mean gap in ms between the entries of a log; infinite for fewer than two."""
    if len(entries) < 2:
        return float("inf")
    return (_milliseconds(entries[-1]) - _milliseconds(entries[0])) / (len(entries) - 1)


def _fio_plot(*arguments: str) -> None:
    try:
        done = subprocess.run(
            [sys.executable, "-m", "fio_plot", *arguments], check=False, capture_output=True,
            text=True, errors="replace", timeout=FIO_PLOT_BOUND,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MachineLostError(f"fio-plot: {error}") from error
    if done.returncode:
        words = (done.stdout + done.stderr).split("\n")
        last = next((line.strip() for line in reversed(words) if line.strip()), "")
        raise MachineLostError(f"fio-plot ended with status {done.returncode}: {last}")


def fault_chart(history: History, path: Path) -> Path:
    """Draw every I/O's latency over the time of its issue, with the fault and the deadline.

    Both axes are in seconds. Time 0 is the fault, or the scenario's begin without a fault. Raises
    KeyError when the history has no ladder.
    """
    timeline = Timeline.of(history)
    origin = timeline.begin if timeline.fired is None else timeline.fired
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.add_subplot()
    _shade(axes, timeline, origin)
    axes.axhline(ladder(history).command, color="tab:red", linestyle="--",
                 label="command deadline")
    _scatter(axes, account(history).ios, timeline, origin)
    axes.set_yscale("log")
    axes.set_xlabel("time of issue, seconds from the fault")
    axes.set_ylabel("latency, s")
    scenario = history.first("harness", "scenario")
    axes.set_title(str(scenario.data["id"]) if scenario else path.stem)
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=110)
    return path


def _shade(axes: Axes, timeline: Timeline, origin: float) -> None:
    if timeline.fired is not None:
        over = timeline.seen_until if timeline.over is None else timeline.over
        axes.axvspan(timeline.fired - origin, over - origin, color="tab:orange", alpha=0.2,
                     label="fault")


def _scatter(axes: Axes, ios: Iterable[Io], timeline: Timeline, origin: float) -> None:
    groups: dict[tuple[str, str], list[Io]] = {}
    for io in ios:
        state = "open" if io.completed is None else "failed" if io.error else "done"
        groups.setdefault((io.op, state), []).append(io)
    markers = {"done": "o", "failed": "x", "open": "^"}
    for (op, state), members in sorted(groups.items()):
        axes.scatter(
            [io.issued - origin for io in members],
            [max(io.seconds(timeline.seen_until), 1e-6) for io in members],
            s=14, marker=markers[state], color=OPS.get(op, OTHER_OP), label=f"{op} {state}",
        )


def main(arguments: Sequence[str]) -> None:
    """Draw the charts of the scenarios in the given directories."""
    try:
        for folder in arguments:
            draw(Path(folder))
    except MachineLostError as error:
        sys.exit(f"charts: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
