# SPDX-License-Identifier: GPL-2.0-or-later
"""The history of a scenario: its actions and observations, time-stamped, append-only.

One JSON object per line in ``history.jsonl``::

    {"time": 12.345678, "source": "backend", "kind": "step", "data": {...}}

``time`` is in seconds of the CLOCK_MONOTONIC of the target's machine. Times of another machine and
of the host are converted with the offsets measured when the scenario began (the event ``clock``).

``results.events`` declares every source and kind with the fields of its data; the documentation
lists them (docs/events.md).
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from results.errors import MachineLostError

Json = Any
"""A JSON value. ``Any``: mypy cannot follow a recursive type through ``json.loads``."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event. ``time``: seconds of the guest's CLOCK_MONOTONIC."""

    time: float
    source: str
    kind: str
    data: Mapping[str, Json] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the event as one line of JSON, without the newline."""
        return json.dumps(
            {"time": round(self.time, 6), "source": self.source, "kind": self.kind,
             "data": self.data},
            separators=(",", ":"),
        )

    @classmethod
    def from_json(cls, line: str) -> Event:
        """Parse one line. Raises ValueError when it is not an event."""
        try:
            raw = json.loads(line)
            event = cls(float(raw["time"]), str(raw["source"]), str(raw["kind"]), raw["data"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not an event: {line[:80]!r}") from error
        if not isfinite(event.time) or not isinstance(event.data, dict):
            raise ValueError(f"not an event: {line[:80]!r}")
        return event


@dataclass(frozen=True)
class History:
    """The events of one scenario, in the order of their times."""

    events: tuple[Event, ...]

    @classmethod
    def of(cls, events: Iterable[Event]) -> History:
        """Sort events by time (stable, so equal times keep their order of arrival)."""
        return cls(tuple(sorted(events, key=lambda event: event.time)))

    @classmethod
    def load(cls, path: Path) -> History:
        """Read ``history.jsonl``. Drop a last line that a crash cut short; raise for any other."""
        lines = path.read_text(errors="replace").split("\n")
        complete = lines[:-1]  # the part after the last newline is incomplete
        return cls.of(Event.from_json(line) for line in complete if line)

    @classmethod
    def salvage(cls, path: Path, wanted: Callable[[bytes], bool] | None = None) -> Salvage:
        """Read ``history.jsonl`` line by line; count lines that are no events instead of raising.

        ``wanted``: predicate on a raw line; lines that it rejects are not parsed. Raises OSError
        only.
        """
        events = []
        broken = 0
        with path.open("rb") as lines:
            for line in lines:
                if not line.strip() or (wanted and not wanted(line)):
                    continue
                try:
                    events.append(Event.from_json(line.decode(errors="replace")))
                except ValueError:
                    # The last line may be cut: its writer was killed, or the disk was full.
                    broken += line.endswith(b"\n")
        return Salvage(cls.of(events), broken)

    def select(self, source: str, *kinds: str) -> Iterator[Event]:
        """Yield the events of one source, of the given kinds (of any kind when none is given)."""
        return (
            event for event in self.events
            if event.source == source and (not kinds or event.kind in kinds)
        )

    def first(self, source: str, *kinds: str) -> Event | None:
        """Return the first event that ``select`` yields, or None."""
        return next(self.select(source, *kinds), None)

    def last(self, source: str, *kinds: str) -> Event | None:
        """Return the last event that ``select`` yields, or None."""
        found = None
        for found in self.select(source, *kinds):  # noqa: B007
            pass
        return found


@dataclass(frozen=True)
class Salvage:
    """The events of a history file. ``broken``: number of complete lines that are no events."""

    history: History
    broken: int


class Recorder:
    """Append events to ``history.jsonl`` as they happen; safe from several threads.

    Every event reaches the kernel before ``record`` returns, so a killed pytest loses none.
    ``follow`` is called with each event that is recorded by itself.
    """

    def __init__(self, path: Path, follow: Callable[[Event], None] | None = None) -> None:
        self._follow = follow
        self._file: IO[bytes] = path.open("ab", buffering=0)
        self._lock = threading.Lock()
        self._events: list[Event] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def record(self, time: float, source: str, kind: str, **data: Json) -> Event:
        """Append one event. ``time``: seconds of the guest's CLOCK_MONOTONIC."""
        event = Event(time, source, kind, data)
        self.extend([event])
        if self._follow is not None:
            self._follow(event)
        return event

    def extend(self, events: Iterable[Event]) -> None:
        """Append several events, all of them or none.

        Raises MachineLostError when they cannot be written, for example on a full disk: that is not
        the target's failure.
        """
        batch = list(events)
        text = "".join(event.to_json() + "\n" for event in batch)
        with self._lock:
            if self._file.closed:  # late events of a machine whose scenario is over
                return
            self._events.extend(batch)
            try:
                self._write(text.encode(errors="replace"))
            except OSError as error:
                raise MachineLostError(
                    f"the history cannot be written: {error.strerror}") from error

    def _write(self, data: bytes) -> None:
        begin = os.fstat(self._file.fileno()).st_size
        try:
            while data:  # an almost full disk accepts only a part
                data = data[self._file.write(data):]
        except OSError:
            os.ftruncate(self._file.fileno(), begin)
            raise

    def history(self) -> History:
        """Return the events recorded so far."""
        with self._lock:
            return History.of(self._events)

    def close(self) -> None:
        """Close the file; later events are dropped."""
        with self._lock:
            self._file.close()
