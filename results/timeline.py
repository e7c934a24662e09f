# SPDX-License-Identifier: GPL-2.0-or-later
"""The times of a scenario's marks: its begin, the fault, the fault's end, its own end.

A scenario whose machine was lost is judged only up to its last sign of life: later records of the
harness (failed operations, missed deadlines) prove nothing about the target.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from results.history import Event, History
from results.ladder import Ladder
from results.verdict import Figure

MACHINE_SOURCES = frozenset({"backend", "block", "scsi", "sampler"})
"""Sources whose events come from the machine itself, through its agent: its signs of life.

The console is not among them: a kernel whose agent was killed still logs, but the end of an I/O is
no longer reported.
"""

LOST = "MachineLostError"
"""Family of errors that prove nothing about the target (results.errors)."""

OVER = frozenset({"drain", "recover", "cleanup"})
"""Phases that begin when the fault is over."""


@dataclass(frozen=True)
class Timeline:
    """The marks of a scenario, in seconds of the guest's clock; None for a mark not reached.

    ``fired``: the fault fired. ``over``: the fault is over: the teardown ended, or a later phase
    began. ``end``: the scenario ran to its end. ``lost``: the first event that reports a lost
    machine. ``seen_until``: end of the time for which the history shows the machine's activity.
    """

    begin: float
    fired: float | None
    over: float | None
    end: float | None
    lost: Event | None
    seen_until: float

    @classmethod
    def of(cls, history: History) -> Timeline:
        """Find the marks. Raises ValueError when the history is empty."""
        if not history.events:
            raise ValueError("the history is empty")
        scenario = history.first("harness", "scenario")
        begin = (scenario or history.events[0]).time
        fired = _fired(history)
        lost = next((event for event in history.select("harness") if reports_loss(event)), None)
        end = phase(history, "end")
        return cls(
            begin=begin,
            fired=fired,
            over=None if fired is None else _over(history, begin, fired),
            end=end,
            lost=lost,
            seen_until=end if end is not None and not lost else _last_sign(history, begin),
        )

    def witnessed(self, time: float) -> bool:
        """Return whether the machine was still sending events at that time."""
        return self.lost is None or time <= self.seen_until

    def since_fault(self, time: float) -> float:
        """Return the later of a time and the fault: when the fault's bounds begin to run."""
        return max(time, self.fired) if self.fired is not None else time

    def detected(self, check: str, time: float | None) -> dict[str, Figure]:
        """Return the seconds from the fault to a check's first evidence, as a figure.

        ``time``: of the first evidence in the history. Evidence from before the fault yields no
        figure.
        """
        if self.fired is None or time is None or time < self.fired:
            return {}
        return {f"{check}_detected_after": Figure(time - self.fired, "s")}


def phase(history: History, name: str) -> float | None:
    """Return the time at which the harness first entered a phase, or None."""
    return next(
        (event.time for event in history.select("harness", "phase") if event.data["name"] == name),
        None,
    )


def ladder(history: History) -> Ladder:
    """Return the scenario's ladder. Raises KeyError or TypeError when none was recorded."""
    scenario = history.first("harness", "scenario")
    if scenario is None:
        raise KeyError("the history has no scenario event")
    return Ladder(**scenario.data["ladder"])


def expected(history: History) -> Mapping[str, Any]:
    """Return the fault's permitted consequences, from its ``armed`` event; empty without any."""
    armed = history.first("fault", "armed")
    return (armed.data.get("expect") or {}) if armed else {}


def command_bound(history: History) -> float:
    """Return the bound of a command in seconds: the ladder's rung plus the fault's extension.

    The extension (``armed``'s expect.patience, the name in recorded histories) is for faults whose
    commands only the initiator's timers and error handling end. Raises KeyError or TypeError when
    no ladder was recorded.
    """
    return ladder(history).command + float(expected(history).get("patience") or 0.0)


def operation(history: History, name: str, after: float) -> tuple[Event | None, Event | None]:
    """Return begin and end of the target's first operation of that name after a time."""
    events = (
        event for event in history.select("target", "begin", "end")
        if event.time >= after and event.data["operation"] == name
    )
    begin = next((event for event in events if event.kind == "begin"), None)
    end = next((event for event in events if event.kind == "end"), None)
    return begin, end


def reports_loss(event: Event) -> bool:
    """Return whether an event of the harness reports that the machine is no longer reliable."""
    return event.kind == "lost" or (event.kind == "error" and event.data["family"] == LOST)


def _fired(history: History) -> float | None:
    """Return the time of the fault, but not before the backend reported the commands as held.

    The harness waits for that report; its clock differs from the guest's by some milliseconds.
    """
    fired = history.first("fault", "fired")
    held = history.first("backend", "held")
    if fired is None:
        return None
    return max(fired.time, held.time) if held else fired.time


def _over(history: History, begin: float, fired: float) -> float | None:
    _, teardown = operation(history, "teardown", begin)
    marks = [teardown.time] if teardown and teardown.time >= fired else []
    marks += [
        event.time for event in history.select("harness", "phase")
        if event.time >= fired and event.data["name"] in OVER
    ]
    return min(marks, default=None)


def _last_sign(history: History, begin: float) -> float:
    return max(
        (event.time for event in history.events if event.source in MACHINE_SOURCES),
        default=begin,
    )
