# SPDX-License-Identifier: GPL-2.0-or-later
"""The chart of a scenario's past: a duration over runs, by outcome, with changes of version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from results.errors import WrongUsageError
from results.index import UNITLESS
from results.queries import Past
from results.verdict import Outcome

COLOURS = {
    Outcome.PASS: "tab:green", Outcome.FIXED: "tab:olive", Outcome.KNOWN: "tab:cyan",
    Outcome.UNKNOWN: "tab:orange", Outcome.FAIL: "tab:red",
}

MARKERS = "osD^vP*X"
"""Markers, one for each kernel in turn."""

LABELS_MAX = 30
"""Maximum number of runs with each date shown on the axis."""


def draw(past: Sequence[Past], title: str, figure: str, path: Path) -> None:
    """Draw a figure of a scenario's recorded runs, in its unit, into a file.

    Raises WrongUsageError when the file cannot be written or its kind is not supported.
    """
    runs = list(dict.fromkeys(each.run for each in past))
    place = {run: number for number, run in enumerate(runs)}
    drawing = Figure(figsize=(10, 4.5), layout="constrained")
    axes = drawing.add_subplot()
    kernels = list(dict.fromkeys(each.kernel for each in past))
    for number, kernel in enumerate(kernels):
        values = [(each, each.figures.get(figure)) for each in past if each.kernel == kernel]
        _points(axes, values, place, MARKERS[number % len(MARKERS)])
    _versions(axes, past, place)
    axes.set_ylabel(figure.replace("_", " ") + ("" if figure in UNITLESS else ", s"))
    axes.set_ylim(bottom=0)
    axes.set_title(title.replace("$", r"\$"))
    step = max(1, len(runs) // LABELS_MAX + bool(len(runs) % LABELS_MAX))
    shown = range(0, len(runs), step)
    axes.set_xticks(list(shown), [runs[number][:13] for number in shown], rotation=60,
                    ha="right", fontsize="x-small")
    axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    try:
        drawing.savefig(path, dpi=110)
    except (OSError, ValueError) as error:
        raise WrongUsageError(f"{path} cannot be drawn: {error}") from error


def _points(
    axes: Axes, past: Sequence[tuple[Past, float | None]], place: Mapping[str, int], marker: str,
) -> None:
    kernel = past[0][0].kernel or "no kernel"
    for outcome, colour in COLOURS.items():
        found = [(place[each.run], value) for each, value in past if each.outcome is outcome]
        values = [(run, value) for run, value in found if value is not None]
        if found:
            axes.scatter([run for run, _ in values], [value for _, value in values], s=28,
                         color=colour, marker=marker, label=f"{outcome}, {kernel}")
        for run in (run for run, value in found if value is None):  # no measured value
            axes.axvline(run, color=colour, linestyle=":", alpha=0.6)


def _versions(axes: Axes, past: Sequence[Past], place: Mapping[str, int]) -> None:
    """Draw a line before each run whose target has another version or identity than the last."""
    last = None
    for each in past:
        if last is not None and (each.version, each.identity) != last:
            axes.axvline(place[each.run] - 0.5, color="tab:gray", linewidth=0.8)
            words = each.version if each.version != last[0] else each.identity
            axes.annotate(words[-16:].replace("$", r"\$"), (place[each.run] - 0.45, 0.98),
                          xycoords=("data", "axes fraction"), fontsize="x-small", va="top",
                          rotation=90, color="tab:gray")
        last = each.version, each.identity
