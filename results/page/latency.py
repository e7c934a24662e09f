# SPDX-License-Identifier: GPL-2.0-or-later
"""Latencies of a scenario for the page: points to draw, and their distribution.

Of the block layer's I/O, and of the commands and functions that bypassed it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from results.block_io import account
from results.history import Event, History
from results.timeline import Timeline, command_bound

FLOOR = 1e-6
"""Seconds: shorter latencies are drawn as this on a logarithmic axis."""

DECADES = (-5, 2)
"""Powers of ten of the distribution's first and last edge, in seconds."""

BINS = 4
"""Bins per decade."""

REQUESTS = {"command": "answer", "function": "response"}
"""Requests that a workload issues past the block layer, and the kind of event that ends each."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One I/O, command or function. Seconds of the guest's clock; ``state``: done, failed, open."""

    issued: float
    seconds: float
    op: str
    state: str

    @property
    def ended(self) -> float:
        """Time of its end; infinite while it is open."""
        return math.inf if self.state == "open" else self.issued + self.seconds


def samples(history: History, timeline: Timeline) -> list[Sample]:
    """Return all I/Os, commands and functions in the order of their issue."""
    until = timeline.seen_until
    found = [
        Sample(io.issued, max(io.seconds(until), 0.0), io.op,
               "open" if io.completed is None else "failed" if io.error else "done")
        for io in account(history).ios
    ]
    found += _requests(history, until)
    return sorted(found, key=lambda sample: sample.issued)


def _requests(history: History, until: float) -> Iterator[Sample]:
    begun: dict[tuple[Any, ...], Event] = {}
    for event in history.select("workload", *REQUESTS, *REQUESTS.values()):
        key = tuple(event.data.get(name) for name in ("job", "disk", "number"))
        if event.kind in REQUESTS:
            begun[key] = event
        elif key in begun:
            first = begun.pop(key)
            state = "failed" if event.data.get("error") else "done"
            yield Sample(first.time, event.time - first.time, first.kind, state)
    for first in begun.values():
        yield Sample(first.time, max(until - first.time, 0.0), first.kind, "open")


def drawing(
    history: History, timeline: Timeline, found: Sequence[Sample], most: int,
) -> dict[str, Any]:
    """Return the data of the chart of latency over time; times from the fault.

    ``most``: approximate maximum of points. ``fault``, ``teardown``: spans. ``deadline``: bound of
    a command in seconds, or None where no ladder was recorded.
    """
    origin = timeline.begin if timeline.fired is None else timeline.fired
    kinds = sorted({f"{each.op} {each.state}" for each in found})
    shown = thinned(found, most)
    over = timeline.seen_until if timeline.over is None else timeline.over
    return {
        "since": "begin" if timeline.fired is None else "fault",
        "fault": None if timeline.fired is None else [0, _short(max(over - origin, 0.0))],
        "teardown": _teardown(history, origin),
        "deadline": _deadline(history),
        "span": [_short(timeline.begin - origin), _short(_end(history, timeline) - origin)],
        "kinds": kinds,
        "points": [[_short(each.issued - origin), _short(max(each.seconds, FLOOR)),
                    kinds.index(f"{each.op} {each.state}")] for each in shown],
        "of": len(found),
    }


def thinned(found: Sequence[Sample], most: int) -> list[Sample]:
    """Return at most so many samples: longest and shortest of stretches of equal number.

    Open and failed samples come first, up to half of the number.
    """
    if len(found) <= most:
        return list(found)
    notable = [each for each in found if each.state == "open"]
    notable += [each for each in found if each.state == "failed"]
    notable = thinned_evenly(sorted(notable, key=lambda each: each.issued), most // 2)
    rest = [each for each in found if each.state == "done"]
    kept = [*notable, *thinned_evenly(rest, most - len(notable))]
    return sorted(kept, key=lambda each: each.issued)


def thinned_evenly(found: Sequence[Sample], most: int) -> list[Sample]:
    """Return the longest and the shortest of each of ``most / 2`` stretches."""
    if len(found) <= most:
        return list(found)
    stretches = max(most // 2, 1)
    kept = []
    for number in range(stretches):
        part = found[number * len(found) // stretches:(number + 1) * len(found) // stretches]
        kept.append(max(part, key=lambda each: each.seconds))
        kept.append(min(part, key=lambda each: each.seconds))
    return kept[:most]


def distribution(timeline: Timeline, found: Sequence[Sample]) -> list[dict[str, Any]]:
    """Return the distribution of durations before the fault, during it, and issued after it."""
    periods: dict[str, list[Sample]] = {"before": [], "during": [], "after": []}
    over = timeline.seen_until if timeline.over is None else timeline.over
    for each in found:
        if timeline.fired is None or each.ended <= timeline.fired:
            periods["before"].append(each)
        else:
            periods["during" if each.issued <= over else "after"].append(each)
    if timeline.fired is None:
        periods = {"whole": periods["before"]}
    return [_spread(name, members) for name, members in periods.items()]


def _spread(name: str, members: Sequence[Sample]) -> dict[str, Any]:
    ended = sorted(each.seconds for each in members if each.state != "open")
    counts = [0] * ((DECADES[1] - DECADES[0]) * BINS)
    for seconds in ended:
        at = int((math.log10(max(seconds, FLOOR)) - DECADES[0]) * BINS)
        counts[min(max(at, 0), len(counts) - 1)] += 1
    return {
        "name": name, "ended": len(ended),
        "failed": sum(each.state == "failed" for each in members),
        "open": len(members) - len(ended),
        **{word: _short(_quantile(ended, share)) if ended else None
           for word, share in (("median", 0.5), ("p90", 0.9), ("p99", 0.99), ("longest", 1.0))},
        "counts": counts,
    }


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def _teardown(history: History, origin: float) -> list[float | None] | None:
    """Return the teardown's begin and end; the end is None where it was not recorded."""
    events = [event for event in history.select("target", "begin", "end")
              if event.data.get("operation") == "teardown"]
    begin = next((each.time for each in events if each.kind == "begin"), None)
    end = next((each.time for each in events if each.kind == "end"), None)
    if begin is None:
        return None
    return [_short(begin - origin), None if end is None else _short(end - origin)]


def _deadline(history: History) -> float | None:
    try:
        return command_bound(history)
    except (KeyError, TypeError):
        return None


def _end(history: History, timeline: Timeline) -> float:
    return timeline.end if timeline.end is not None else history.events[-1].time


def _short(value: float) -> float:
    """Round to the resolution of a chart, so that the page stays small."""
    return float(f"{value:.4g}")
