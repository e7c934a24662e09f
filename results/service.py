"""The backend's own time for a command, from having it to answering it.

Of all that can be measured of a target it depends least on how busy the machine is: between
runs of the same smoke suite on a host with changing load the quartile moved by a tenth, the
completion latency by half (results.comparison.noise).
"""

from __future__ import annotations

from collections.abc import Mapping

from results.history import History
from results.verdict import Figure

POINT = "EXEC"
"""The point at which a command is executed; others (parse, free) cost next to nothing."""


def service_times(history: History) -> list[float]:
    """Return in seconds, ascending, how long each command took that was not held."""
    began: dict[tuple[object, object], float] = {}
    seconds = []
    for event in history.select("backend", "step"):
        data = event.data
        if data["point"] != POINT:
            continue
        command = (data.get("device"), data["handle"])
        if data["action"] == "received":
            began[command] = event.time
        elif data["action"] == "held":
            began.pop(command, None)
        elif command in began:
            seconds.append(event.time - began.pop(command))
    return sorted(seconds)


def service_figures(history: History) -> Mapping[str, Figure]:
    """Return the lower quartile and the median of the service times, and their number."""
    seconds = service_times(history)
    quarter, half = len(seconds) // 4, len(seconds) // 2
    return {
        "service_count": Figure(len(seconds), "1"),
        "service_p25": Figure(seconds[quarter] if seconds else None, "s"),
        "service_p50": Figure(seconds[half] if seconds else None, "s"),
    }
