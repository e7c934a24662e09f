# SPDX-License-Identifier: GPL-2.0-or-later
"""The backend's own time for a command, from its receipt to its answer.

Of all times measured on a target it depends least on the machine's load: between runs of the same
smoke suite on a host with changing load the quartile moved by a tenth, the completion latency by
half (results.comparison.noise). In units of the fixed work that the backend did for the same
command (results.calibration) it depends on the host's speed even less.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from results.history import History
from results.verdict import Figure

POINT = "EXEC"
"""The point at which a command is executed; others (parse, free) cost next to nothing."""

IN_SPINS = "service_spins"
"""The figure's name in verdict.json."""


@dataclass(frozen=True)
class Service:
    """A command that was not held, with its times in seconds.

    ``seconds``: the backend's time for it. ``spin``: time of the fixed work done for it, or None.
    """

    seconds: float
    spin: float | None


def services(history: History) -> list[Service]:
    """Return the commands that were not held, in the order in which they were answered."""
    began: dict[tuple[object, object], tuple[float, float | None]] = {}
    found = []
    for event in history.select("backend", "step"):
        data = event.data
        if data["point"] != POINT:
            continue
        command = (data.get("device"), data["handle"])
        if data["action"] == "received":
            began[command] = event.time, data.get("spin")
        elif data["action"] == "held":
            began.pop(command, None)
        elif command in began:
            since, spin = began.pop(command)
            found.append(Service(event.time - since, spin))
    return found


def service_figures(history: History) -> Mapping[str, Figure]:
    """Return lower quartile, median and number of the service times, and the quartile in spins."""
    commands = services(history)
    seconds = sorted(each.seconds for each in commands)
    spins = sorted(each.seconds / each.spin for each in commands if each.spin)
    quarter, half = len(seconds) // 4, len(seconds) // 2
    return {
        "service_count": Figure(len(seconds), "1"),
        "service_p25": Figure(seconds[quarter] if seconds else None, "s"),
        "service_p50": Figure(seconds[half] if seconds else None, "s"),
        IN_SPINS: Figure(spins[len(spins) // 4] if spins else None, "1"),
    }
